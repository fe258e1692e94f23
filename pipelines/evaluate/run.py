"""One evaluation: every recording, and cuts and joins of them, through ``summarise``. Gathers and writes nothing.

Counting is judged on whole recordings and on cuts; form scores on repetitions of whole recordings, because a label
belongs to a repetition (where only the recording is labelled, to all of its own), and because ten scores say more than
their mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Ordered
from typing import Final, Literal

import msgspec
import numpy as np

from pipelines.evaluate.cuts import MOST_REPETITIONS, cut_and_join
from pipelines.evaluate.dataset import CORRECT, ReferenceRep, Sequence
from pipelines.evaluate.left_out import leave_one_subject_out
from pipelines.evaluate.metrics import boundaries_within, count_error, match
from pipelines.evaluate.profiles import learnt_from, profile_for, written_by_hand
from pipelines.pose.model import PoseSummary, Prescription, RepMetrics
from pipelines.pose.profile import MovementProfile
from pipelines.pose.summary import summarise

# The columns of the reference that measure the same angle as ours.
REFERENCE_COLUMN: Final = {
    "knee_flexion": "knee_flex",
    "hip_flexion": "hip_flex",
    "shoulder_elevation": "arm_elev",
    "elbow_flexion": "elbow_flex",
}

# What a score says of people the profile never saw: "unseen" where the subject was not in its fit, "left_out" where a
# profile was fitted again without that subject. Everything else was fitted to the subject, and is no evidence.
Evidence = Literal["unseen", "left_out"]


class FormScores(msgspec.Struct, frozen=True):
    """Form scores of repetitions that are labelled correct, and of those that are not."""

    correct: tuple[float, ...] = ()
    incorrect: tuple[float, ...] = ()


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What one sequence gave."""

    dataset: str
    exercise: str
    subject: str = ""
    label: str | None = None
    cut: bool
    error: float | None = None
    off_by_one: bool | None = None
    boundaries: tuple[bool, ...] = ()
    rom_errors_deg: tuple[float, ...] = ()  # signed, against the reference system
    rom_deg: tuple[float | None, ...] = ()  # by marked repetition
    shipped: FormScores = FormScores()  # by the profile as it is
    evidence: Evidence | None = None
    judged: FormScores = FormScores()  # by a profile that never saw the subject


def _form_scores(sequence: Sequence, summary: PoseSummary) -> FormScores:
    """A repetition that was not counted has no score."""
    if sequence.rep_correct is not None and sequence.rep_start_ms is not None and sequence.rep_end_ms is not None:
        matched = match(summary.reps, sequence.rep_start_ms, sequence.rep_end_ms)
        labels = sequence.rep_correct.tolist()
        pairs = [(rep.form_score, right) for rep, right in zip(matched, labels, strict=True) if rep is not None]
    elif sequence.entry.label is not None:
        pairs = [(rep.form_score, sequence.entry.label == CORRECT) for rep in summary.reps]
    else:
        pairs = []
    return FormScores(
        correct=tuple(score for score, right in pairs if right),
        incorrect=tuple(score for score, right in pairs if not right),
    )


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
            errors.append(rep.peak_rom_deg - sum(peaks) / len(peaks))
    return tuple(errors)


def judge(
    sequence: Sequence,
    references: list[ReferenceRep],
    *,
    cut: bool,
    left_out: PoseSummary | None = None,
) -> Judged:
    """Runs one sequence.

    Args:
        sequence: the recording, or a cut of one.
        references: its repetitions in the reference system; may be empty.
        cut: only counting is judged.
        left_out: its summary under a profile that was fitted without its subject.
    """
    entry = sequence.entry
    profile = profile_for(entry.exercise)
    summary = summarise(sequence.landmarks_m, sequence.timestamp_ms, profile, Prescription())
    matched: list[RepMetrics | None] = []
    boundaries: list[bool] = []
    if sequence.rep_start_ms is not None and sequence.rep_end_ms is not None:
        matched = match(summary.reps, sequence.rep_start_ms, sequence.rep_end_ms)
        boundaries = boundaries_within(matched, sequence.rep_start_ms, sequence.rep_end_ms)
    counted, true_reps = len(summary.reps), entry.true_reps
    result = Judged(
        dataset=entry.dataset,
        exercise=entry.exercise,
        subject=entry.subject,
        label=entry.label,
        cut=cut,
        error=None if true_reps is None else count_error(counted, true_reps),
        off_by_one=None if true_reps is None else abs(counted - true_reps) <= 1,
        boundaries=tuple(boundaries),
    )
    if cut:
        return result
    shipped = _form_scores(sequence, summary)
    unseen = (entry.dataset, entry.subject) not in learnt_from(profile)
    evidence: Evidence | None = "left_out" if left_out is not None else "unseen" if unseen else None
    return msgspec.structs.replace(
        result,
        rom_errors_deg=_rom_errors(summary, profile, references),
        rom_deg=tuple(None if rep is None else rep.peak_rom_deg for rep in matched),
        shipped=shipped,
        evidence=evidence,
        judged=shipped if left_out is None else _form_scores(sequence, left_out),
    )


def seeded_cuts(sequence: Sequence, cuts: int, seed: int) -> Iterator[Sequence]:
    """``cuts`` cuts and joins of a recording whose repetitions are marked; none of another.

    The seed and the sequence id alone decide the cuts, so leaving a recording out changes nothing for the others.
    """
    if sequence.rep_start_ms is None or not len(sequence.rep_start_ms):
        return
    random = np.random.default_rng([seed, *sequence.entry.sequence_id.encode()])
    for _ in range(cuts):
        yield cut_and_join(sequence, int(random.integers(MOST_REPETITIONS + 1)), random)


def judge_cuts(sequence: Sequence, cuts: int, seed: int) -> list[Judged]:
    """``seeded_cuts`` of a recording, judged by their counts and boundaries."""
    return [judge(cut, [], cut=True) for cut in seeded_cuts(sequence, cuts, seed)]


def left_out_summaries(sequences: Ordered[Sequence]) -> dict[str, PoseSummary]:
    """By sequence id, the summaries of recordings whose subjects their profile was fitted to, each by a fit without.

    Empty where no profile was fitted to anybody in ``sequences``: then every score there is of a subject never seen.
    """
    groups: dict[str, list[Sequence]] = {}
    for sequence in sequences:
        profile = profile_for(sequence.entry.exercise)
        if profile is not None and sequence.entry.label is not None:
            groups.setdefault(profile.name, []).append(sequence)
    summaries: dict[str, PoseSummary] = {}
    for name, group in groups.items():
        seen = learnt_from(profile_for(name))
        known = {each.entry.sequence_id for each in group if (each.entry.dataset, each.entry.subject) in seen}
        if known:
            for scored in leave_one_subject_out(group, written_by_hand(name)):
                if scored.sequence_id in known:
                    summaries[scored.sequence_id] = scored.summary
    return summaries
