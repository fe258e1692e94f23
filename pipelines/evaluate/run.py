"""One evaluation: every recording, and cuts and joins of them, through ``summarise``, gathered into rows.

A row is one exercise of one data set. Counting is judged on whole recordings and on cuts; form scores on repetitions of
whole recordings, because a label belongs to a repetition (where only the recording is labelled, to all of its own), and
because ten scores say more than their mean. No file is written and nothing printed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import numpy as np

from pipelines.evaluate.cuts import MOST_REPETITIONS, cut_and_join
from pipelines.evaluate.dataset import CORRECT, Entry, ReferenceRep, Sequence
from pipelines.evaluate.metrics import auc, boundaries_within, count_error, match, mean
from pipelines.pose.model import PoseSummary, Prescription, RepMetrics
from pipelines.pose.profile import MovementProfile, UnknownProfileError, load
from pipelines.pose.summary import summarise

DECIMALS: Final = 4
# The columns of the reference that measure the same angle as ours.
REFERENCE_COLUMN: Final = {
    "knee_flexion": "knee_flex",
    "hip_flexion": "hip_flex",
    "shoulder_elevation": "arm_elev",
    "elbow_flexion": "elbow_flex",
}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One exercise of one data set; None where nothing there can be measured."""

    dataset: str
    exercise: str
    sequences: int
    mae: float | None
    off_by_one: float | None
    auc: float | None
    boundary_within_250_ms: float | None
    peak_rom_error_deg: float | None


class Overall(msgspec.Struct, frozen=True, kw_only=True):
    """Counting over all cuts (over whole recordings where none can be cut); ``auc`` is the mean over rows."""

    mae: float | None
    off_by_one: float | None
    auc: float | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    rows: list[Row]
    overall: Overall


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What one sequence gave."""

    dataset: str
    exercise: str
    cut: bool
    error: float | None = None
    off_by_one: bool | None = None
    boundaries: tuple[bool, ...] = ()
    rom_errors_deg: tuple[float, ...] = ()
    correct_scores: tuple[float, ...] = ()
    incorrect_scores: tuple[float, ...] = ()


def profile_for(exercise: str) -> MovementProfile | None:
    """The exercise's profile; None, for one found from the motion, where there is none."""
    try:
        return load(exercise)
    except UnknownProfileError:
        return None


def _scores(
    sequence: Sequence, summary: PoseSummary, matched: list[RepMetrics | None]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Form scores of the correct and of the incorrect repetitions; a repetition that was not counted has none."""
    if sequence.rep_correct is not None and len(matched) == len(sequence.rep_correct):
        pairs = [
            (rep.form_score, bool(right))
            for rep, right in zip(matched, sequence.rep_correct, strict=True)
            if rep is not None
        ]
    elif sequence.entry.label is not None:
        pairs = [(rep.form_score, sequence.entry.label == CORRECT) for rep in summary.reps]
    else:
        pairs = []
    return tuple(score for score, right in pairs if right), tuple(score for score, right in pairs if not right)


def _rom_errors(
    summary: PoseSummary, profile: MovementProfile | None, references: list[ReferenceRep]
) -> tuple[float, ...]:
    column = REFERENCE_COLUMN.get(profile.primary.angle) if profile and profile.primary.rom == "peak" else None
    if column is None:
        return ()
    errors: list[float] = []
    matched = match(summary.reps, [rep.start_ms for rep in references], [rep.end_ms for rep in references])
    for rep, reference in zip(matched, references, strict=True):
        sides = {"left": ("L",), "right": ("R",)}.get(rep.side, ("L", "R")) if rep else ()
        peaks = [reference.peak_deg[f"{column}_{side}"] for side in sides if f"{column}_{side}" in reference.peak_deg]
        if rep is not None and peaks:
            errors.append(abs(rep.peak_rom_deg - sum(peaks) / len(peaks)))
    return tuple(errors)


def judge(sequence: Sequence, references: list[ReferenceRep], *, cut: bool) -> Judged:
    """Runs one sequence; ``references`` may be empty."""
    entry = sequence.entry
    profile = profile_for(entry.exercise)
    summary = summarise(sequence.landmarks_m, sequence.timestamp_ms, profile, Prescription())
    matched: list[RepMetrics | None] = []
    boundaries: list[bool] = []
    if sequence.rep_start_ms is not None and sequence.rep_end_ms is not None:
        matched = match(summary.reps, sequence.rep_start_ms, sequence.rep_end_ms)
        boundaries = boundaries_within(matched, sequence.rep_start_ms, sequence.rep_end_ms)
    correct, incorrect = ((), ()) if cut else _scores(sequence, summary, matched)
    counted, true_reps = summary.rep_count, entry.true_reps
    return Judged(
        dataset=entry.dataset,
        exercise=entry.exercise,
        cut=cut,
        error=None if true_reps is None or counted is None else count_error(counted, true_reps),
        off_by_one=None if true_reps is None or counted is None else abs(counted - true_reps) <= 1,
        boundaries=tuple(boundaries),
        rom_errors_deg=() if cut else _rom_errors(summary, profile, references),
        correct_scores=correct,
        incorrect_scores=incorrect,
    )


def judge_entry(
    entry: Entry,
    read: Callable[[Entry], Sequence],
    references: list[ReferenceRep],
    cuts: int,
    seed: int,
) -> list[Judged]:
    """One recording as it is, then ``cuts`` cuts and joins of it where its repetitions are marked.

    The seed and the sequence id alone decide the cuts, so leaving a recording out changes nothing for the others.
    """
    sequence = read(entry)
    judged = [judge(sequence, references, cut=False)]
    if sequence.rep_start_ms is not None and len(sequence.rep_start_ms):
        random = np.random.default_rng([seed, *entry.sequence_id.encode()])
        for _ in range(cuts):
            count = int(random.integers(MOST_REPETITIONS + 1))
            judged.append(judge(cut_and_join(sequence, count, random), [], cut=True))
    return judged


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)


def _row(dataset: str, exercise: str, judged: list[Judged]) -> Row:
    return Row(
        dataset=dataset,
        exercise=exercise,
        sequences=len(judged),
        mae=_rounded(mean([each.error for each in judged if each.error is not None])),
        off_by_one=_rounded(mean([each.off_by_one for each in judged if each.off_by_one is not None])),
        auc=_rounded(
            auc(
                [score for each in judged for score in each.correct_scores],
                [score for each in judged for score in each.incorrect_scores],
            )
        ),
        boundary_within_250_ms=_rounded(mean([hit for each in judged for hit in each.boundaries])),
        peak_rom_error_deg=_rounded(mean([error for each in judged for error in each.rom_errors_deg])),
    )


def report(judged: Iterable[Judged]) -> Report:
    """Rows sorted by data set and exercise, and the overall figures."""
    groups: dict[tuple[str, str], list[Judged]] = {}
    for each in judged:
        groups.setdefault((each.dataset, each.exercise), []).append(each)
    rows = [_row(dataset, exercise, group) for (dataset, exercise), group in sorted(groups.items())]
    every = [each for group in groups.values() for each in group]
    counted = [each for each in every if each.cut] or every
    overall = Overall(
        mae=_rounded(mean([each.error for each in counted if each.error is not None])),
        off_by_one=_rounded(mean([each.off_by_one for each in counted if each.off_by_one is not None])),
        auc=_rounded(mean([row.auc for row in rows if row.auc is not None])),
    )
    return Report(rows=rows, overall=overall)
