"""The pose envelope: round trips, limits, and one golden file a defect."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.pose import wire

GOLDEN = Path(__file__).parent / "golden" / "wire"
OUT_OF_BOUNDS = {
    "decompressed_too_large",
    "frame_count_out_of_bounds",
    "fps_out_of_bounds",
    "coordinate_not_finite",
    "visibility_out_of_bounds",
    "timestamp_decreasing",
    "timestamp_out_of_bounds",
}


def _motion(frame_count: int, seed: int) -> tuple[wire.Landmarks, wire.Timestamps]:
    rng = np.random.default_rng(seed)
    landmarks = rng.normal(0.0, 0.5, (frame_count, 33, 4)).astype(np.float32)
    landmarks[:, :, 3] = rng.random((frame_count, 33))
    return landmarks, np.cumsum(rng.integers(0, 60, frame_count)).astype(np.uint32)


@given(st.integers(1, 600), st.integers(0, 2**32 - 1), st.integers(1, 120))
@settings(deadline=None, max_examples=50)
def test_what_is_encoded_is_decoded(frame_count: int, seed: int, fps_hint: int) -> None:
    landmarks, timestamp_ms = _motion(frame_count, seed)
    body = wire.encode(landmarks, timestamp_ms, fps_hint)
    batch = wire.decode(body)
    assert (batch.frame_count, batch.fps_hint) == (frame_count, fps_hint)
    np.testing.assert_array_equal(batch.landmarks, landmarks)
    np.testing.assert_array_equal(batch.timestamp_ms, timestamp_ms)
    assert batch.payload_hash == xxhash.xxh3_128_digest(gzip.decompress(body))
    assert not batch.landmarks.flags.writeable
    assert not batch.timestamp_ms.flags.writeable
    assert body == wire.encode(landmarks, timestamp_ms, fps_hint)


@given(st.integers(1, 9), st.binary(max_size=40))
@settings(deadline=None)
def test_the_hash_names_the_payload_whatever_compressed_it(level: int, name: bytes) -> None:
    landmarks, timestamp_ms = _motion(5, 1)
    body = wire.encode(landmarks, timestamp_ms, 30)
    payload = gzip.decompress(body)
    deflater = zlib.compressobj(level, zlib.DEFLATED, -15)
    stream = deflater.compress(payload) + deflater.flush()
    file_name = name.replace(b"\0", b"") + b"\0"
    trailer = struct.pack("<II", zlib.crc32(payload), len(payload))
    other = b"\x1f\x8b\x08\x08\0\0\0\0\0\x03" + file_name + stream + trailer
    assert wire.decode(other).payload_hash == wire.decode(body).payload_hash


@given(st.binary(max_size=2000))
@settings(deadline=None)
def test_any_bytes_give_a_batch_or_a_blame(body: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(body)


@given(st.binary(max_size=2000))
@settings(deadline=None)
def test_any_payload_gives_a_batch_or_a_blame(payload: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(gzip.compress(payload, mtime=0))


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_one_changed_byte_never_passes_for_the_same_batch(data: st.DataObject) -> None:
    body = bytearray(wire.encode(*_motion(2, 3), 30))
    position = data.draw(st.integers(0, len(body) - 1))
    body[position] ^= data.draw(st.integers(1, 255))
    try:
        batch = wire.decode(bytes(body))
    except wire.WireError:
        return
    # Only the wrapper's free fields (flags without content, time, compression level, system) may change unnoticed.
    assert position < 10
    np.testing.assert_array_equal(batch.landmarks, _motion(2, 3)[0])


@given(st.binary(min_size=1, max_size=64))
@settings(deadline=None)
def test_nothing_may_follow_the_member(tail: bytes) -> None:
    body = wire.encode(*_motion(2, 3), 30)
    with pytest.raises(wire.WireUndecodable) as caught:
        wire.decode(body + tail)
    assert caught.value.code == "gzip_trailing_bytes"


@given(st.binary(min_size=4, max_size=64))
@settings(deadline=None)
def test_nothing_may_follow_the_member_even_if_it_ends_like_one(tail: bytes) -> None:
    body = wire.encode(*_motion(2, 3), 30)
    with pytest.raises(wire.WireUndecodable) as caught:
        wire.decode(body + tail + body[-4:])
    assert caught.value.code == "gzip_trailing_bytes"


@given(st.integers(1, 2000))
@settings(deadline=None)
def test_every_truncation_is_told_apart(cut_bytes: int) -> None:
    body = wire.encode(*_motion(2, 3), 30)
    cut = body[: max(2, len(body) - cut_bytes)]
    with pytest.raises(wire.WireUndecodable) as caught:
        wire.decode(cut)
    assert caught.value.code == "gzip_truncated"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.*.bin")), ids=lambda path: path.stem)
def test_golden_defect(path: Path) -> None:
    code = path.name.split(".")[0]
    expected = wire.WireOutOfBounds if code in OUT_OF_BOUNDS else wire.WireUndecodable
    for read in (wire.decode, wire.identify):
        with pytest.raises(wire.WireError) as caught:
            read(path.read_bytes())
        assert caught.value.code == code
        assert type(caught.value) is expected


def test_golden_good_body_still_reads() -> None:
    batch = wire.decode((GOLDEN / "good.bin").read_bytes())
    assert batch.frame_count == 3
    assert batch.payload_hash.hex() == "9c325dcbb311095d378b133a2057f054"
    assert batch.timestamp_ms.tolist() == [0, 33, 66]
    assert wire.identify((GOLDEN / "good.bin").read_bytes()) == batch.payload_hash


def test_every_code_has_a_golden_file() -> None:
    source = Path(wire.__file__).read_text()
    codes = {path.name.split(".")[0] for path in GOLDEN.glob("*.*.bin")}
    assert codes >= OUT_OF_BOUNDS
    assert all(f'"{code}"' in source for code in codes)


def test_huge_but_finite_coordinates_are_finite() -> None:
    landmarks, timestamp_ms = _motion(2, 3)
    landmarks[0, 0, 0] = np.finfo(np.float32).max
    assert wire.decode(wire.encode(landmarks, timestamp_ms, 30)).landmarks[0, 0, 0] == np.finfo(np.float32).max


def test_limits_are_inclusive_and_settable() -> None:
    landmarks, _ = _motion(600, 3)
    timestamp_ms = np.full(600, 10_799_999, np.uint32)
    body = wire.encode(landmarks, timestamp_ms, 120)
    assert wire.decode(body).frame_count == 600
    with pytest.raises(wire.WireOutOfBounds, match="frame_count_out_of_bounds"):
        wire.decode(body, wire.WireLimits(frame_count_max=599))
    with pytest.raises(wire.WireOutOfBounds, match="decompressed_too_large"):
        wire.decode(body, wire.WireLimits(decompressed_max_bytes=600 * 532 + 8))
    with pytest.raises(wire.WireOutOfBounds, match="timestamp_out_of_bounds"):
        wire.decode(body, wire.WireLimits(timestamp_end_ms=10_799_999))


def test_a_bomb_costs_no_more_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self, wbits: int) -> None:
            self._inner = real(wbits)

        def decompress(self, body: bytes, max_length: int) -> bytes:
            asked.append(max_length)
            return self._inner.decompress(body, max_length)

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    with pytest.raises(wire.WireOutOfBounds):
        wire.decode((GOLDEN / "decompressed_too_large.bomb.bin").read_bytes())
    assert asked == [1_048_577]
    # A size field that lies small must not get the bomb past the bound either.
    lying = (GOLDEN / "decompressed_too_large.bomb.bin").read_bytes()[:-4] + struct.pack("<I", 1000)
    with pytest.raises(wire.WireOutOfBounds):
        wire.decode(lying)


def test_encode_refuses_other_shapes() -> None:
    landmarks, timestamp_ms = _motion(3, 1)
    with pytest.raises(ValueError, match="landmarks"):
        wire.encode(landmarks[:, :32], timestamp_ms, 30)
    with pytest.raises(ValueError, match="timestamp_ms"):
        wire.encode(landmarks, timestamp_ms[:2], 30)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2 * 132 - 1))
@settings(deadline=None, max_examples=300)
def test_values_are_judged_as_arithmetic_judges_them(bits: int, place: int) -> None:
    """Any float32 at all, at any place: the checks by bit patterns say what comparisons of numbers say."""
    landmarks, timestamp_ms = _motion(2, 3)
    landmarks.reshape(-1).view(np.uint32)[place] = bits
    value = float(np.uint32(bits).view(np.float32))
    code = None
    if not np.isfinite(value):
        code = "coordinate_not_finite"
    elif place % 4 == 3 and not 0.0 <= value <= 1.0:
        code = "visibility_out_of_bounds"
    body = wire.encode(landmarks, timestamp_ms, 30)
    if code is None:
        assert wire.decode(body).frame_count == 2
        return
    with pytest.raises(wire.WireOutOfBounds) as caught:
        wire.decode(body)
    assert caught.value.code == code


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, 1e-45, np.nextafter(np.float32(1), np.float32(0))])
def test_visibilities_at_the_bounds_are_within(value: float) -> None:
    landmarks, timestamp_ms = _motion(2, 3)
    landmarks[1, 32, 3] = value
    assert wire.decode(wire.encode(landmarks, timestamp_ms, 30)).landmarks[1, 32, 3] == np.float32(value)


@pytest.mark.parametrize("value", [-1e-45, np.nextafter(np.float32(1), np.float32(2)), -1.0, 2.0])
def test_visibilities_beyond_the_bounds_are_not(value: float) -> None:
    landmarks, timestamp_ms = _motion(2, 3)
    landmarks[1, 32, 3] = value
    with pytest.raises(wire.WireOutOfBounds, match="visibility_out_of_bounds"):
        wire.decode(wire.encode(landmarks, timestamp_ms, 30))
