"""The pose batch on the wire: bytes to arrays and back. Belongs here: the envelope, its limits and its checks.

Does not belong here: HTTP statuses (the ingest service maps the two error types), storage, and what the movement means.

The body is exactly one gzip member over, little-endian::

    uint8 version (1) | uint32 frame_count N | uint32 fps_hint
    float32[N][33][4] x, y, z, visibility | uint32[N] timestamp_ms

Coordinates are MediaPipe *world* landmarks (metres, origin mid-hip); ``timestamp_ms`` is elapsed time since the
session's start. Everything wrong with a body is the sender's: ``WireUndecodable`` when it cannot be read at all,
``WireOutOfBounds`` when it can be read and says something no session may say.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from typing import NamedTuple

import deflate
import numpy as np
import numpy.typing as npt
import xxhash

from pipelines.pose import libdeflate

VERSION = 1
LANDMARK_COUNT = 33
VALUE_COUNT = 4  # x, y, z, visibility

_HEADER = struct.Struct("<BII")
_FLOATS_PER_FRAME = LANDMARK_COUNT * VALUE_COUNT
_BYTES_PER_FRAME = _FLOATS_PER_FRAME * 4 + 4
_VALUES_AT = 16  # where the floats lie in our buffer: at offset 9 every pass over them would pay for misalignment
_LEAD_BYTES = _VALUES_AT - _HEADER.size
_FLOAT, _WORD = np.dtype("<f4"), np.dtype("<u4")
_ONE_BITS = 0x3F80_0000  # as float32
_GZIP_SIZE = struct.Struct("<I")  # the last field of a member: the payload's size modulo 2**32 (RFC 1952, 2.3.1)
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_MIN_BYTES = 18
_ZLIB_GZIP_ONLY = 31  # window bits asking zlib for the gzip wrapper and nothing else

Landmarks = npt.NDArray[np.float32]
Timestamps = npt.NDArray[np.uint32]


class WireError(ValueError):
    """A body that is not an acceptable batch. ``code`` is stable and public; ``detail`` is for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class WireUndecodable(WireError):  # noqa: N818 - the name says whose fault it is
    """Not one gzip member over a version 1 envelope of the length it declares."""


class WireOutOfBounds(WireError):  # noqa: N818 - as above
    """A readable batch whose values are outside the limits."""


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Bounds of one batch, inclusive unless said otherwise."""

    decompressed_max_bytes: int = 1_048_576
    frame_count_max: int = 600
    fps_max: int = 120
    timestamp_end_ms: int = 3 * 60 * 60 * 1000  # exclusive


_DEFAULT_LIMITS = WireLimits()


class Batch(NamedTuple):
    """One decoded batch. Arrays are read-only.

    ``landmarks``: float32 [N, 33, 4], metres and visibility; ``timestamp_ms``: uint32 [N]; ``payload_hash``: xxh3-128
    of the decompressed payload, 16 bytes big-endian: the batch's identity.
    """

    frame_count: int
    fps_hint: int
    landmarks: Landmarks
    timestamp_ms: Timestamps
    payload_hash: bytes


def encode(landmarks: Landmarks, timestamp_ms: npt.NDArray[np.integer], fps_hint: int) -> bytes:
    """The body for ``landmarks`` [N, 33, 4] and ``timestamp_ms`` [N]: one gzip member, no time stamp, so equal input
    gives equal bytes. Does not check limits (a test must be able to break them);
    raises ``ValueError`` for other shapes.
    """
    frame_count = len(landmarks)
    if landmarks.shape != (frame_count, LANDMARK_COUNT, VALUE_COUNT):
        raise ValueError(f"landmarks must be [N, {LANDMARK_COUNT}, {VALUE_COUNT}], not {landmarks.shape}")
    if timestamp_ms.shape != (frame_count,):
        raise ValueError(f"timestamp_ms must be [{frame_count}], not {timestamp_ms.shape}")
    payload = b"".join(
        (
            _HEADER.pack(VERSION, frame_count, fps_hint),
            np.ascontiguousarray(landmarks, dtype="<f4").tobytes(),
            np.ascontiguousarray(timestamp_ms, dtype="<u4").tobytes(),
        )
    )
    return bytes(deflate.gzip_compress(payload, 6))  # libdeflate writes a zero time stamp


def decode(body: bytes, limits: WireLimits = _DEFAULT_LIMITS) -> Batch:
    """Read and check one body.

    Raises ``WireUndecodable`` or ``WireOutOfBounds``. Costs at most ``limits.decompressed_max_bytes`` of memory and the
    time to decompress that much, whatever the body claims.
    """
    frozen, frame_count, fps_hint = _checked(body, limits)
    float_count = frame_count * _FLOATS_PER_FRAME
    shape = (frame_count, LANDMARK_COUNT, VALUE_COUNT)
    landmarks: Landmarks = np.ndarray(shape, _FLOAT, frozen, _VALUES_AT)
    timestamp_ms: Timestamps = np.ndarray((frame_count,), _WORD, frozen, _VALUES_AT + float_count * 4)
    return Batch(frame_count, fps_hint, landmarks, timestamp_ms, _hash(frozen))


def identify(body: bytes, limits: WireLimits = _DEFAULT_LIMITS) -> bytes:
    """``decode(body, limits).payload_hash``, for who wants no more of a batch than to know that it is one."""
    return _hash(_checked(body, limits)[0])


def _checked(body: bytes, limits: WireLimits) -> tuple[memoryview, int, int]:
    """The lead and the payload of a body that passes, which nothing can write to; its frame count and fps hint."""
    # Arrays over a view that cannot be written through cannot be either.
    frozen = memoryview(_decompressed(body, limits.decompressed_max_bytes)).toreadonly()
    frame_count, fps_hint = _read_header(frozen, limits)
    _check_values(frozen, frame_count * _FLOATS_PER_FRAME)
    _check_timestamps(_timestamps_of(frame_count).unpack_from(frozen, len(frozen) - frame_count * 4), limits)
    return frozen, frame_count, fps_hint


def _hash(frozen: memoryview) -> bytes:
    return xxhash.xxh3_128_digest(frozen[_LEAD_BYTES:])


def decompress(body: bytes, max_bytes: int) -> bytes:
    """The payload of a body that is exactly one gzip member of at most ``max_bytes``. Raises as ``decode`` does."""
    return bytes(memoryview(_decompressed(body, max_bytes))[_LEAD_BYTES:])


def _decompressed(body: bytes, max_bytes: int) -> bytearray:
    """``_LEAD_BYTES`` bytes, then the payload.

    libdeflate needs the size in advance. The trailer says it: untrusted, so it is bounded, and whatever then is not
    exactly one member of that size goes to zlib, which knows where it stopped and why.
    """
    if len(body) >= _GZIP_MIN_BYTES:
        (size_bytes,) = _GZIP_SIZE.unpack_from(body, len(body) - _GZIP_SIZE.size)
        if 0 < size_bytes <= max_bytes:
            buffer = libdeflate.read_member(body, size_bytes, _LEAD_BYTES)
            if buffer is not None:
                return buffer
    return bytearray(_LEAD_BYTES) + _decompress_and_diagnose(body, max_bytes)


def _decompress_and_diagnose(body: bytes, max_bytes: int) -> bytes:
    if not body.startswith(_GZIP_MAGIC):
        raise WireUndecodable("not_gzip", "the body does not begin with the gzip magic bytes")
    inflater = zlib.decompressobj(_ZLIB_GZIP_ONLY)
    try:
        payload = inflater.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise WireUndecodable("gzip_corrupt", f"the gzip member cannot be read: {error}") from None
    if len(payload) > max_bytes:
        raise WireOutOfBounds("decompressed_too_large", f"the body decompresses to more than {max_bytes} bytes")
    if not inflater.eof:
        raise WireUndecodable("gzip_truncated", "the gzip member is cut short")
    if inflater.unused_data:
        what = "a second gzip member" if inflater.unused_data.startswith(_GZIP_MAGIC) else "trailing bytes"
        raise WireUndecodable("gzip_trailing_bytes", f"{what} after the gzip member")
    return payload


def _read_header(buffer: memoryview, limits: WireLimits) -> tuple[int, int]:
    payload_bytes = len(buffer) - _LEAD_BYTES
    if payload_bytes < _HEADER.size:
        raise WireUndecodable("length_wrong", f"{payload_bytes} bytes are too few for the {_HEADER.size}-byte header")
    version: int
    version, frame_count, fps_hint = _HEADER.unpack_from(buffer, _LEAD_BYTES)
    if version != VERSION:
        raise WireUndecodable("version_unknown", f"version {version} is not known; this is version {VERSION}")
    expected_bytes = _HEADER.size + frame_count * _BYTES_PER_FRAME
    if payload_bytes != expected_bytes:
        raise WireUndecodable(
            "length_wrong", f"{frame_count} frames take {expected_bytes} bytes decompressed, not {payload_bytes}"
        )
    if not 1 <= frame_count <= limits.frame_count_max:
        raise WireOutOfBounds(
            "frame_count_out_of_bounds", f"frame_count {frame_count} not in 1..{limits.frame_count_max}"
        )
    if not 1 <= fps_hint <= limits.fps_max:
        raise WireOutOfBounds("fps_out_of_bounds", f"fps_hint {fps_hint} not in 1..{limits.fps_max}")
    return frame_count, fps_hint


@np.errstate(all="ignore")  # the sum of squares overflows where a coordinate is huge or infinite
def _check_values(frozen: memoryview, float_count: int) -> None:
    values: Landmarks = np.ndarray((float_count,), _FLOAT, frozen, _VALUES_AT)
    # What is not finite makes the sum of squares so too. So may a finite 1e19 m, which is looked at again.
    if not isfinite(values.dot(values)) and not np.isfinite(values).all():
        raise WireOutOfBounds("coordinate_not_finite", "a coordinate or visibility is NaN or infinite")
    # As unsigned integers floats are ordered by their bits: what is not in [+0, 1] is greater than 1's bits, negative
    # numbers above all. Only -0.0 alarms this falsely.
    visibility = values[VALUE_COUNT - 1 :: VALUE_COUNT]
    if np.maximum.reduce(visibility.view(_WORD)) > _ONE_BITS and (visibility.min() < 0.0 or visibility.max() > 1.0):
        raise WireOutOfBounds("visibility_out_of_bounds", "a visibility is outside [0, 1]")


@lru_cache(maxsize=1024)
def _timestamps_of(frame_count: int) -> struct.Struct:
    return struct.Struct(f"<{frame_count}I")


def _check_timestamps(moments_ms: tuple[int, ...], limits: WireLimits) -> None:
    if list(moments_ms) != sorted(moments_ms):
        raise WireOutOfBounds("timestamp_decreasing", "timestamp_ms decreases within the batch")
    if moments_ms[-1] >= limits.timestamp_end_ms:
        raise WireOutOfBounds("timestamp_out_of_bounds", f"timestamp_ms {moments_ms[-1]} >= {limits.timestamp_end_ms}")
