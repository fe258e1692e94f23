"""Gzip members back to frames, for a whole session at once.

Ingest has checked every value before it acknowledged; here only what disk and transport could have done is checked
again: each payload's hash. One pass decompresses, one copies into the arrays; no work is done per frame.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from pipelines.pose.wire import LANDMARK_COUNT, VALUE_COUNT, VERSION, WireLimits, decompress
from pipelines.replay.canonical import Member, order

_HEADER = struct.Struct("<BII")
_FLOATS_PER_FRAME = LANDMARK_COUNT * VALUE_COUNT
_FLOAT_BYTES_PER_FRAME = _FLOATS_PER_FRAME * 4
_BYTES_PER_FRAME = _FLOAT_BYTES_PER_FRAME + 4


class DamagedBatchError(Exception):
    """A stored batch is not what was acknowledged."""


class SessionFrames(NamedTuple):
    """``members`` in canonical order; ``landmarks_m`` float32 [N, 33, 4] and ``timestamp_ms`` uint32 [N], strictly
    increasing: of frames with the same timestamp the canonically first is kept.
    """

    members: list[Member]
    landmarks_m: npt.NDArray[np.float32]
    timestamp_ms: npt.NDArray[np.uint32]


def decode(bodies: Mapping[bytes, bytes], limits: WireLimits) -> SessionFrames:
    """All frames of the batches in ``bodies`` (payload hash -> gzip member). Raises ``DamagedBatchError``."""
    payloads: dict[bytes, bytes | bytearray] = {}
    members = []
    for payload_hash, body in bodies.items():
        opened, payloads[payload_hash] = _opened(payload_hash, body, limits)
        members.append(opened)
    members = order(members)
    ordered = [payloads[member.payload_hash] for member in members]
    timestamp_ms = np.concatenate([_timestamps(payload) for payload in ordered]) if ordered else np.empty(0, np.uint32)
    landmarks = np.empty(len(timestamp_ms) * _FLOATS_PER_FRAME, np.float32)
    position = 0
    for payload in ordered:
        count = _frame_count(payload) * _FLOATS_PER_FRAME
        landmarks[position : position + count] = np.frombuffer(payload, "<f4", count, _HEADER.size)
        position += count
    landmarks_m = landmarks.reshape(-1, LANDMARK_COUNT, VALUE_COUNT)
    if len(timestamp_ms) > 1 and not (timestamp_ms[1:] > timestamp_ms[:-1]).all():
        timestamp_ms, first = np.unique(timestamp_ms, return_index=True)
        landmarks_m = landmarks_m[first]
    return SessionFrames(members, landmarks_m, timestamp_ms)


def member(payload_hash: bytes, body: bytes, limits: WireLimits) -> Member:
    """One batch as a member of the blob. Raises ``DamagedBatchError``."""
    return _opened(payload_hash, body, limits)[0]


def _opened(payload_hash: bytes, body: bytes, limits: WireLimits) -> tuple[Member, bytes | bytearray]:
    payload = decompress(body, limits.decompressed_max_bytes)
    if xxhash.xxh3_128_digest(payload) != payload_hash:
        raise DamagedBatchError(f"batch {payload_hash.hex()} decompresses to something else")
    timestamps = _timestamps(payload)
    return Member(int(timestamps[0]), int(timestamps[-1]), payload_hash, body), payload


def _frame_count(payload: bytes | bytearray) -> int:
    return (len(payload) - _HEADER.size) // _BYTES_PER_FRAME


def _timestamps(payload: bytes | bytearray) -> npt.NDArray[np.uint32]:
    version, frame_count, _ = _HEADER.unpack_from(payload)
    if version != VERSION or frame_count != _frame_count(payload):
        raise DamagedBatchError(f"not a version {VERSION} payload of {frame_count} frames")
    return np.frombuffer(payload, "<u4", frame_count, _HEADER.size + frame_count * _FLOAT_BYTES_PER_FRAME)
