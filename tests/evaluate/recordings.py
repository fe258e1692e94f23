"""Made-up recordings with human labels for the evaluation's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.evaluate.dataset import Entry, Sequence
from tests.pose.synthetic import repetitions_deg, squatting, timestamps

PERIOD_S = 3.0


def recording(sequence_id: str, *, peak_deg: float, label: str, exercise: str = "deep_squat") -> Sequence:
    """Six marked repetitions, each a little different, without any rest between them."""
    rng = np.random.default_rng(sum(sequence_id.encode()))
    angle = np.concatenate(
        [repetitions_deg(1, peak_deg=peak_deg + rng.uniform(-4, 4), period_s=PERIOD_S, idle_s=0.0) for _ in range(6)]
    )
    body = squatting(angle)
    starts = np.arange(6, dtype=np.int64) * 3000
    return Sequence(
        entry=Entry(
            sequence_id=sequence_id,
            path=Path(f"{sequence_id}.npz"),
            dataset="Made up",
            subject=sequence_id.split("_", maxsplit=1)[0],
            exercise=exercise,
            true_reps=6,
            label=label,
            coord="mp_world_m",
            frame_w=None,
            frame_h=None,
            licence="CC0-1.0",
        ),
        landmarks_m=body,
        timestamp_ms=timestamps(len(body)),
        rep_start_ms=starts,
        rep_end_ms=starts + 2966,
        rep_correct=np.full(6, label == "correct"),
    )


def squats() -> list[Sequence]:
    """Three subjects, each deep (correct) and shallow (incorrect)."""
    return [
        recording(f"{subject}_{label}", peak_deg=peak_deg, label=label)
        for subject in ("anna", "boris", "clara")
        for label, peak_deg in (("correct", 125.0), ("incorrect", 75.0))
    ]


def save(sequences: list[Sequence], folder: Path) -> Path:
    """The recordings as a data set on disk."""
    lines = ["sequence_id,file,dataset,licence,subject,exercise,true_reps,label,coord"]
    for each in sequences:
        assert each.rep_start_ms is not None
        assert each.rep_end_ms is not None
        assert each.rep_correct is not None
        entry = each.entry
        np.savez(
            folder / entry.path.name,
            landmarks=np.asfortranarray(each.landmarks_m),
            timestamp_ms=each.timestamp_ms,
            rep_start_ms=each.rep_start_ms,
            rep_end_ms=each.rep_end_ms,
            rep_label=each.rep_correct.astype(np.int8),
        )
        lines.append(
            f"{entry.sequence_id},{entry.path.name},{entry.dataset},{entry.licence},{entry.subject},"
            f"{entry.exercise},{entry.true_reps},{entry.label},{entry.coord}"
        )
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder
