"""Writes the golden bodies of this folder: one defect a file, and one without. Run by hand; the files are committed.

``python tests/pose/golden/wire/make.py`` rewrites every file, so a change of a golden body shows in review.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def payload(
    *,
    version: int = 1,
    frame_count: int | None = None,
    fps_hint: int = 30,
    landmarks: np.ndarray | None = None,
    timestamp_ms: np.ndarray | None = None,
) -> bytes:
    rng = np.random.default_rng(20)
    if landmarks is None:
        landmarks = rng.normal(0.0, 0.4, (3, 33, 4)).astype("<f4")
        landmarks[:, :, 3] = rng.random((3, 33))
    if timestamp_ms is None:
        timestamp_ms = np.arange(len(landmarks)) * 33
    header = struct.pack("<BII", version, len(landmarks) if frame_count is None else frame_count, fps_hint)
    return header + landmarks.tobytes() + timestamp_ms.astype("<u4").tobytes()


def member(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def with_value(frame: int, landmark: int, value: int, content: float) -> bytes:
    landmarks = np.frombuffer(payload(), "<f4", offset=9, count=3 * 132).copy().reshape(3, 33, 4)
    landmarks[frame, landmark, value] = content
    return member(payload(landmarks=landmarks))


def bodies() -> dict[str, bytes]:
    good = member(payload())
    empty = np.zeros((0, 33, 4), "<f4")
    still = np.zeros((601, 33, 4), "<f4")
    return {
        "good": good,
        "not_gzip.bad_magic": b"\x1f\x8c" + good[2:],
        "not_gzip.plain_payload": payload(),
        "not_gzip.json": b'{"version": 1, "frames": []}',
        "not_gzip.empty": b"",
        "gzip_truncated.half": good[: len(good) // 2],
        "gzip_truncated.last_byte": good[:-1],
        "gzip_truncated.header_only": good[:10],
        "gzip_corrupt.bad_crc": good[:-8] + bytes([good[-8] ^ 1]) + good[-7:],
        "gzip_corrupt.bad_size": good[:-4] + struct.pack("<I", len(payload()) + 1),
        "gzip_corrupt.bad_block": good[:10] + b"\xff" * 20 + good[30:],
        "gzip_trailing_bytes.one_byte": good + b"\0",
        "gzip_trailing_bytes.second_member": good + member(b"more"),
        "gzip_trailing_bytes.same_member_twice": good + good,
        "gzip_trailing_bytes.trailer_repeated": good + good[-8:],
        "version_unknown.two": member(payload(version=2)),
        "version_unknown.zero": member(payload(version=0)),
        "version_unknown.two_layers": member(good),
        "length_wrong.count_too_large": member(payload(frame_count=4)),
        "length_wrong.count_too_small": member(payload(frame_count=2)),
        "length_wrong.count_enormous": member(payload(frame_count=2**32 - 1)),
        "length_wrong.extra_byte": member(payload() + b"\0"),
        "length_wrong.header_short": member(payload()[:8]),
        "length_wrong.empty_payload": member(b""),
        "decompressed_too_large.bomb": member(bytes(20_000_000)),
        "frame_count_out_of_bounds.none": member(payload(landmarks=empty)),
        "frame_count_out_of_bounds.many": member(payload(landmarks=still)),
        "fps_out_of_bounds.zero": member(payload(fps_hint=0)),
        "fps_out_of_bounds.large": member(payload(fps_hint=121)),
        "coordinate_not_finite.nan": with_value(1, 5, 0, float("nan")),
        "coordinate_not_finite.infinite": with_value(2, 32, 2, float("-inf")),
        "coordinate_not_finite.visibility_nan": with_value(0, 0, 3, float("nan")),
        "visibility_out_of_bounds.negative": with_value(0, 0, 3, -0.001),
        "visibility_out_of_bounds.above_one": with_value(2, 32, 3, 1.001),
        "timestamp_decreasing.by_one": member(payload(timestamp_ms=np.array([10, 9, 11]))),
        "timestamp_out_of_bounds.three_hours": member(payload(timestamp_ms=np.array([0, 1, 10_800_000]))),
    }


if __name__ == "__main__":
    for name, body in bodies().items():
        (HERE / f"{name}.bin").write_bytes(body)
