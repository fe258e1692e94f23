"""Recorded landmarks: the value, and reading and writing it as a file.

Belongs here: ``.npz`` (``landmarks``, ``timestamp_ms`` and, where known, ``rep_start_ms`` and ``rep_end_ms``) with the
``manifest.csv`` found beside it or above, and ``.parquet``. Does not belong here: coordinate systems
(``pipelines.pose.coordinates``), making a recording (``performance.py``).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from numpy.typing import NDArray

from pipelines.pose.coordinates import WORLD_M, to_world_m
from pipelines.pose.landmarks import COLUMN_COUNT, LANDMARK_COUNT, NAMES

# Of image coordinates whose frame nobody tells; only the ratio matters.
USUAL_FRAME: Final = (16.0, 9.0)
MAX_DURATION_MS: Final = 3 * 3600 * 1000
MAX_FRAMES: Final = 3 * 3600 * 120
_COLUMNS: Final = ("x", "y", "z", "visibility")


class RecordingUnreadable(ValueError):  # noqa: N818  named after the file's state
    """A file that is no landmark recording; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A patient's movement as a camera saw it, and what is known about its repetitions."""

    name: str  # the exercise's
    landmarks: NDArray[np.float32]  # [N, 33, 4] world metres and visibility
    timestamp_ms: NDArray[np.uint32]  # [N], strictly increasing, from the session's start
    true_reps: int | None = None
    rep_bounds_ms: NDArray[np.int64] | None = None  # [R, 2] start and end

    @property
    def duration_ms(self) -> int:
        return int(self.timestamp_ms[-1]) if len(self.timestamp_ms) else 0

    @property
    def fps(self) -> int:
        """Frames a second, the median, 1 to 120."""
        if len(self.timestamp_ms) < 2:
            return 30
        gap_ms = float(np.median(np.diff(self.timestamp_ms.astype(np.int64))))
        return int(np.clip(round(1000 / max(gap_ms, 1.0)), 1, 120))

    def batches(self, batch_s: float = 1.0) -> list[slice]:
        """Cut into batches of about ``batch_s`` seconds, as the portal buffers; none is empty, none over 600 frames."""
        window = self.timestamp_ms // np.uint32(max(1, round(batch_s * 1000)))
        edges = np.flatnonzero(np.diff(window)) + 1
        cuts = [0, *edges.tolist(), len(window)]
        return [slice(start, min(start + 600, stop)) for low, stop in pairwise(cuts) for start in range(low, stop, 600)]


def load(path: Path, coord: str | None = None, frame_w: float | None = None, frame_h: float | None = None) -> Recording:
    """A recording in world metres, timed from 0. What is not given is taken from the manifest, else world metres
    (or, for image coordinates, a 16:9 frame).

    Raises ``RecordingUnreadable``.
    """
    row = _manifest_row(path)
    coord = coord or row.get("coord") or WORLD_M
    if frame_w is None or frame_h is None:
        frame_w, frame_h = _number(row.get("frame_w")), _number(row.get("frame_h"))
    if frame_w is None or frame_h is None:
        frame_w, frame_h = USUAL_FRAME
    try:
        arrays = _read_parquet(path) if path.suffix == ".parquet" else _read_npz(path)
        landmarks = to_world_m(arrays["landmarks"].astype(np.float32), coord, frame_w, frame_h)
        times = arrays["timestamp_ms"].astype(np.int64)
    except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile, pa.ArrowException) as error:
        raise RecordingUnreadable(f"{path.name}: {error}") from error
    if len(times) != len(landmarks) or not 1 <= len(times) <= MAX_FRAMES:
        raise RecordingUnreadable(f"{path.name}: {len(landmarks)} frames and {len(times)} times")
    if np.any(np.diff(times) < 0) or not np.all(np.isfinite(landmarks)):
        raise RecordingUnreadable(f"{path.name}: times go back, or a coordinate is not a number")
    if times[-1] - times[0] >= MAX_DURATION_MS:
        raise RecordingUnreadable(f"{path.name}: longer than the three hours a session may last")
    bounds = None
    if "rep_start_ms" in arrays and "rep_end_ms" in arrays:
        bounds = np.stack((arrays["rep_start_ms"], arrays["rep_end_ms"]), axis=1).astype(np.int64) - times[0]
    true_reps = _number(row.get("true_reps"))
    return Recording(
        name=row.get("exercise") or path.stem,
        landmarks=landmarks,
        timestamp_ms=(times - times[0]).astype(np.uint32),
        true_reps=int(true_reps) if true_reps is not None else None if bounds is None else len(bounds),
        rep_bounds_ms=bounds,
    )


def save(recording: Recording, path: Path) -> None:
    """Write a recording as ``.npz`` or ``.parquet``, by the file's ending. Raises ``ValueError`` for another ending."""
    if path.suffix == ".parquet":
        flat = pa.array(recording.landmarks.reshape(-1))
        landmarks = pa.FixedSizeListArray.from_arrays(flat, LANDMARK_COUNT * COLUMN_COUNT)
        table = pa.table({"timestamp_ms": pa.array(recording.timestamp_ms), "landmarks": landmarks})
        pq.write_table(table, path)
    elif path.suffix == ".npz":
        arrays: dict[str, NDArray[np.generic]] = {
            "landmarks": recording.landmarks,
            "timestamp_ms": recording.timestamp_ms.astype(np.int64),
        }
        if recording.rep_bounds_ms is not None:
            arrays["rep_start_ms"] = recording.rep_bounds_ms[:, 0]
            arrays["rep_end_ms"] = recording.rep_bounds_ms[:, 1]
        np.savez_compressed(path, allow_pickle=False, **arrays)
    else:
        raise ValueError(f"{path.name}: a recording is written as .npz or .parquet")


def _read_npz(path: Path) -> dict[str, NDArray[np.generic]]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _read_parquet(path: Path) -> dict[str, NDArray[np.generic]]:
    """``timestamp_ms`` and ``landmarks`` (lists of 132), or a column each: ``left_hip_x``, ``left_hip_visibility``."""
    table = pq.read_table(path)
    times = table["timestamp_ms"].to_numpy()
    if "landmarks" in table.column_names:
        flat = table["landmarks"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    else:
        columns = [table[f"{name}_{column}"].to_numpy() for name in NAMES for column in _COLUMNS]
        flat = np.stack(columns, axis=1).reshape(-1)
    landmarks = flat.astype(np.float32).reshape(-1, LANDMARK_COUNT, COLUMN_COUNT)
    return {"landmarks": landmarks, "timestamp_ms": times}


def _manifest_row(path: Path) -> dict[str, str]:
    for folder in (path.parent, path.parent.parent):
        manifest = folder / "manifest.csv"
        if manifest.is_file():
            with manifest.open(newline="", encoding="utf-8") as lines:
                for row in csv.DictReader(lines):
                    if Path(row.get("file") or "").name == path.name:
                        return row
    return {}


def _number(text: str | None) -> float | None:
    return float(text) if text else None
