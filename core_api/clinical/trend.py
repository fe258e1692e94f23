"""One exercise over a plan's sessions: each session's movement and form, and how they changed from the first.

Floats stay as they were stored; a change is last minus first of what is known, and None with fewer than two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendPoint:
    """One log of the exercise. ``day`` is the patient's local day; movement figures are None where there are none.

    ``revision`` and ``incomplete`` are the exercise session's and say little where ``session_id`` is None (no stream).
    """

    session_number: int
    treatment_session_id: int
    exercise_log_id: int
    session_id: UUID | None
    day: date
    started_at: datetime
    skipped: bool
    incomplete: bool
    revision: int | None
    prescribed_sets: int | None
    prescribed_reps: int | None
    actual_sets: int | None
    actual_reps: int | None
    actual_reps_source: str | None
    video_watch_percentage: Decimal | None
    form_score: Decimal | None
    rep_count: int | None
    rom_mean_deg: Decimal | None
    rom_max_deg: Decimal | None
    tempo_mean_ms: Decimal | None
    symmetry_percent: Decimal | None
    smoothness_sparc: Decimal | None
    tracking_quality: Decimal | None


@dataclass(frozen=True, slots=True)
class TrendChange:
    """From the first known figure to the last."""

    form_score: Decimal | None
    rom_mean_deg: Decimal | None
    rom_max_deg: Decimal | None


@dataclass(frozen=True, slots=True)
class ExerciseTrend:
    """``points`` in session order. Skipped logs are shown and count in no change."""

    points: tuple[TrendPoint, ...]
    change: TrendChange


def exercise_trend(points: Sequence[TrendPoint]) -> ExerciseTrend:
    """``points`` in session order."""
    done = [each for each in points if not each.skipped]
    return ExerciseTrend(
        points=tuple(points),
        change=TrendChange(
            form_score=_change(done, lambda each: each.form_score),
            rom_mean_deg=_change(done, lambda each: each.rom_mean_deg),
            rom_max_deg=_change(done, lambda each: each.rom_max_deg),
        ),
    )


def _change(points: Sequence[TrendPoint], figure: Callable[[TrendPoint], Decimal | None]) -> Decimal | None:
    known = [value for each in points if (value := figure(each)) is not None]
    return known[-1] - known[0] if len(known) > 1 else None
