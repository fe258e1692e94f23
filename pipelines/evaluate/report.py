"""What an evaluation comes to: a row an exercise of a data set, and the overall figures. Measures nothing itself.

``auc`` is always of subjects that the scoring profile never saw, and ``auc_evidence`` says how that was made sure. What
the profiles reach on the very subjects they were fitted to is ``auc_in_sample``, and is no evidence of anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pipelines.evaluate.metrics import auc, mean, spread_about_offset
from pipelines.evaluate.robustness import VariantFigures
from pipelines.evaluate.run import FormScores, Judged

DECIMALS: Final = 4
# The two systems that recorded the same repetitions at the same time, told by their data sets' names.
CAMERA, MARKERS = "Kinect", "Vicon"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One exercise of one data set; None where nothing there can be measured."""

    dataset: str
    exercise: str
    sequences: int
    mae: float | None
    off_by_one: float | None
    auc: float | None
    auc_evidence: str | None  # "left_out", "unseen", or both
    auc_in_sample: float | None
    boundary_within_250_ms: float | None
    peak_rom_offset_deg: float | None  # against the reference angles; positive: more is measured here
    peak_rom_error_deg: float | None  # what is left once the offset is taken out
    peak_rom_paired_error_deg: float | None  # the same against the marker system's landmarks, by the same definition


class SubjectCounting(msgspec.Struct, frozen=True, kw_only=True):
    """Counting of one subject of one data set, over the same sequences as the overall figures."""

    dataset: str
    subject: str
    sequences: int
    mae: float | None
    off_by_one: float | None
    boundary_within_250_ms: float | None


class Overall(msgspec.Struct, frozen=True, kw_only=True):
    """Counting and boundaries over all cuts (over whole recordings where none can be cut); AUC: mean over rows."""

    mae: float | None
    off_by_one: float | None
    boundary_within_250_ms: float | None
    auc: float | None
    auc_by_dataset: dict[str, float]
    auc_lowest_by_dataset: dict[str, float]
    auc_in_sample: float | None
    peak_rom_error_deg: float | None
    peak_rom_paired_error_deg: float | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    rows: list[Row]
    counting_by_subject: list[SubjectCounting]
    overall: Overall
    variants: list[VariantFigures] = []


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)


def _auc(scores: Sequence[FormScores]) -> float | None:
    return _rounded(
        auc(
            [score for each in scores for score in each.correct],
            [score for each in scores for score in each.incorrect],
        )
    )


def _paired_errors(judged: Sequence[Judged], by_markers: dict[tuple[str, str, str | None], Judged]) -> list[float]:
    """Signed differences of repetitions that both systems recorded and both found."""
    errors: list[float] = []
    for each in judged:
        other = by_markers.get((each.exercise, each.subject, each.label))
        if CAMERA not in each.dataset or other is None or len(other.rom_deg) != len(each.rom_deg):
            continue
        pairs = zip(each.rom_deg, other.rom_deg, strict=True)
        errors += [own - reference for own, reference in pairs if own is not None and reference is not None]
    return errors


def _row(dataset: str, exercise: str, judged: Sequence[Judged], paired: Sequence[float]) -> Row:
    errors = [error for each in judged for error in each.rom_errors_deg]
    told = [each for each in judged if each.evidence and (each.judged.correct or each.judged.incorrect)]
    against, beside = spread_about_offset(errors), spread_about_offset(paired)
    fitted_to = [each.shipped for each in judged if each.evidence != "unseen"]
    return Row(
        dataset=dataset,
        exercise=exercise,
        sequences=len(judged),
        mae=_rounded(mean([each.error for each in judged if each.error is not None])),
        off_by_one=_rounded(mean([each.off_by_one for each in judged if each.off_by_one is not None])),
        auc=_auc([each.judged for each in told]),
        auc_evidence=" and ".join(sorted({str(each.evidence) for each in told})) or None,
        auc_in_sample=_auc(fitted_to),
        boundary_within_250_ms=_rounded(mean([hit for each in judged for hit in each.boundaries])),
        peak_rom_offset_deg=_rounded(against[0]) if against else None,
        peak_rom_error_deg=_rounded(against[1]) if against else None,
        peak_rom_paired_error_deg=_rounded(beside[1]) if beside else None,
    )


def _by_subject(counted: Sequence[Judged]) -> list[SubjectCounting]:
    """Sorted by data set and subject; recordings of nobody in particular are left out."""
    groups: dict[tuple[str, str], list[Judged]] = {}
    for each in counted:
        if each.subject:
            groups.setdefault((each.dataset, each.subject), []).append(each)
    return [
        SubjectCounting(
            dataset=dataset,
            subject=subject,
            sequences=len(group),
            mae=_rounded(mean([each.error for each in group if each.error is not None])),
            off_by_one=_rounded(mean([each.off_by_one for each in group if each.off_by_one is not None])),
            boundary_within_250_ms=_rounded(mean([hit for each in group for hit in each.boundaries])),
        )
        for (dataset, subject), group in sorted(groups.items())
    ]


def report(judged: Iterable[Judged]) -> Report:
    """Rows sorted by data set and exercise, and the overall figures."""
    groups: dict[tuple[str, str], list[Judged]] = {}
    for each in judged:
        groups.setdefault((each.dataset, each.exercise), []).append(each)
    every = [each for group in groups.values() for each in group]
    by_markers = {
        (each.exercise, each.subject, each.label): each for each in every if MARKERS in each.dataset and not each.cut
    }
    rows = [
        _row(dataset, exercise, group, _paired_errors(group, by_markers))
        for (dataset, exercise), group in sorted(groups.items())
    ]
    counted = [each for each in every if each.cut] or every
    by_dataset: dict[str, list[float]] = {}
    for row in rows:
        if row.auc is not None:
            by_dataset.setdefault(row.dataset, []).append(row.auc)
    overall = Overall(
        mae=_rounded(mean([each.error for each in counted if each.error is not None])),
        off_by_one=_rounded(mean([each.off_by_one for each in counted if each.off_by_one is not None])),
        boundary_within_250_ms=_rounded(mean([hit for each in counted for hit in each.boundaries])),
        auc=_rounded(mean([row.auc for row in rows if row.auc is not None])),
        auc_by_dataset={dataset: round(sum(own) / len(own), DECIMALS) for dataset, own in by_dataset.items()},
        auc_lowest_by_dataset={dataset: min(own) for dataset, own in by_dataset.items()},
        auc_in_sample=_rounded(mean([row.auc_in_sample for row in rows if row.auc_in_sample is not None])),
        peak_rom_error_deg=_rounded(
            mean([row.peak_rom_error_deg for row in rows if row.peak_rom_error_deg is not None])
        ),
        peak_rom_paired_error_deg=_rounded(
            mean([row.peak_rom_paired_error_deg for row in rows if row.peak_rom_paired_error_deg is not None])
        ),
    )
    return Report(rows=rows, counting_by_subject=_by_subject(counted), overall=overall)
