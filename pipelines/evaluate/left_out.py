"""What a fit is worth on subjects it never saw: each subject's recordings scored by a profile fitted to the others.

The held-out recordings go through ``summarise`` like any session, so nothing that a fit could know of them is used:
neither their labels nor where their repetitions are.
"""

from __future__ import annotations

from collections.abc import Sequence as Ordered

import msgspec
import numpy as np

from pipelines.evaluate.dataset import CORRECT, Sequence
from pipelines.evaluate.fitting import fitted
from pipelines.evaluate.metrics import auc
from pipelines.evaluate.observation import Labelled, observe
from pipelines.pose.model import PoseSummary, Prescription
from pipelines.pose.profile import MovementProfile
from pipelines.pose.summary import summarise


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """One recording's summary under a profile that was not fitted to its subject."""

    dataset: str
    sequence_id: str
    correct: bool
    summary: PoseSummary


def leave_one_subject_out(
    sequences: Ordered[Sequence], profile: MovementProfile, labelled: Labelled | None = None
) -> list[Scored]:
    """Every labelled recording of one exercise, scored by the others' subjects. ``profile`` is the one written by hand.

    A subject is left out of every data set at once, because one person may have been recorded by two cameras. Empty
    where the others' repetitions are not enough to learn from.
    """
    labelled = observe(sequences, profile) if labelled is None else labelled
    if labelled is None:
        return []
    scored: list[Scored] = []
    for subject in np.unique(labelled.subject):
        others = labelled.of(labelled.subject != subject)
        if not others.enough:
            continue
        learnt = fitted(profile, others)
        for sequence in sequences:
            entry = sequence.entry
            if entry.subject == subject and entry.label is not None:
                summary = summarise(sequence.landmarks_m, sequence.timestamp_ms, learnt, Prescription())
                scored.append(
                    Scored(
                        dataset=entry.dataset,
                        sequence_id=entry.sequence_id,
                        correct=entry.label == CORRECT,
                        summary=summary,
                    )
                )
    return scored


def repetition_auc(scored: Ordered[Scored]) -> dict[str, float | None]:
    """AUC over repetitions by data set."""
    result: dict[str, float | None] = {}
    for dataset in sorted({each.dataset for each in scored}):
        own = [each for each in scored if each.dataset == dataset]
        right = [rep.form_score for each in own if each.correct for rep in each.summary.reps]
        wrong = [rep.form_score for each in own if not each.correct for rep in each.summary.reps]
        result[dataset] = auc(right, wrong)
    return result
