"""Recorded sequences on disk: ``manifest.csv``, ``.npz`` files and, where there is one, ``reps.csv``. Measures nothing.

Columns that a manifest leaves out, or leaves blank, are unknown (None); only ``file`` and ``exercise`` must be there.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.pose.coordinates import WORLD_M, to_world_m

# Angles need the picture's shape; where a manifest does not say, it is taken for the usual landscape video.
USUAL_FRAME: Final = (16.0, 9.0)
CORRECT, INCORRECT = "correct", "incorrect"


class DatasetError(ValueError):
    """The folder is not a data set that can be read; the message says where and why."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the manifest."""

    sequence_id: str
    path: Path
    dataset: str
    subject: str
    exercise: str
    licence: str | None = None
    true_reps: int | None
    label: str | None  # "correct", "incorrect"
    coord: str
    frame_w: float | None
    frame_h: float | None


class Sequence(msgspec.Struct, frozen=True, kw_only=True):
    """One recording, in world metres."""

    entry: Entry
    landmarks_m: NDArray[np.float32]  # [N, 33, 4]
    timestamp_ms: NDArray[np.int64]  # [N]
    rep_start_ms: NDArray[np.int64] | None = None
    rep_end_ms: NDArray[np.int64] | None = None
    rep_correct: NDArray[np.bool_] | None = None


class ReferenceRep(msgspec.Struct, frozen=True, kw_only=True):
    """Peak angles of one repetition from the reference system, degrees, by column name ("knee_flex_L")."""

    start_ms: float
    end_ms: float
    peak_deg: dict[str, float]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def read_manifest(folder: Path) -> list[Entry]:
    """Every sequence of the folder, in the manifest's order.

    Raises:
        DatasetError: there is no manifest, or a row names no file or no exercise.
    """
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise DatasetError(f"{folder} has no manifest.csv")
    entries: list[Entry] = []
    for number, row in enumerate(_rows(manifest), start=2):
        if not row.get("file") or not row.get("exercise"):
            raise DatasetError(f"{manifest}, line {number}: file or exercise is missing")
        true_reps = _number(row.get("true_reps"))
        label = (row.get("label") or "").strip().lower()
        entries.append(
            Entry(
                sequence_id=row.get("sequence_id") or Path(row["file"]).stem,
                path=folder / row["file"],
                dataset=row.get("dataset") or folder.name,
                subject=row.get("subject") or "",
                exercise=row["exercise"],
                licence=row.get("licence") or None,
                true_reps=None if true_reps is None else int(true_reps),
                label=label if label in (CORRECT, INCORRECT) else None,
                coord=row.get("coord") or WORLD_M,
                frame_w=_number(row.get("frame_w")),
                frame_h=_number(row.get("frame_h")),
            )
        )
    return entries


def read_sequence(entry: Entry) -> Sequence:
    """The recording itself.

    Raises:
        DatasetError: the file is missing, not an ``.npz``, lacks an array, or holds another shape.
    """
    width, height = (entry.frame_w, entry.frame_h) if entry.frame_w and entry.frame_h else USUAL_FRAME
    try:
        with np.load(entry.path, allow_pickle=False) as arrays:
            landmarks_m = to_world_m(arrays["landmarks"], entry.coord, width, height)
            timestamp_ms = np.asarray(arrays["timestamp_ms"], dtype=np.int64)
            bounds = "rep_start_ms" in arrays and "rep_end_ms" in arrays
            return Sequence(
                entry=entry,
                landmarks_m=landmarks_m,
                timestamp_ms=timestamp_ms,
                rep_start_ms=np.asarray(arrays["rep_start_ms"], dtype=np.int64) if bounds else None,
                rep_end_ms=np.asarray(arrays["rep_end_ms"], dtype=np.int64) if bounds else None,
                rep_correct=arrays["rep_label"] == 1 if "rep_label" in arrays else None,
            )
    except (OSError, KeyError, ValueError) as error:
        raise DatasetError(f"{entry.path}: {error}") from error


def read_references(folder: Path) -> dict[str, list[ReferenceRep]]:
    """Reference peak angles by sequence id, from ``reps.csv``; empty where there is none.

    The reference is the marker system (columns ``vicon_*``), not the camera that is being judged.
    """
    path = folder / "reps.csv"
    references: dict[str, list[ReferenceRep]] = {}
    for row in _rows(path) if path.is_file() else []:
        start, end = _number(row.get("start_ms")), _number(row.get("end_ms"))
        peaks = {
            name.removeprefix("vicon_"): value
            for name, text in row.items()
            if name.startswith("vicon_") and not name.endswith("_ms") and (value := _number(text)) is not None
        }
        if start is None or end is None or not peaks:
            continue
        references.setdefault(row.get("sequence_id", ""), []).append(
            ReferenceRep(start_ms=start, end_ms=end, peak_deg=peaks)
        )
    return references
