"""The values the plan reads are computed from. Shapes only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One patient's treatment plan. Days are local to the patient; ``ended_on`` is None while it runs."""

    id: int
    name: str
    status: str
    time_zone: str  # the patient's, IANA
    started_on: date
    ended_on: date | None
    frequency_per_week: int
    sessions_total: int
    sessions_completed: int
    sessions_skipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """One treatment session. ``day`` is the patient's local day it started on."""

    id: int
    number: int
    status: str
    day: date
    started_at: datetime
    completed_at: datetime | None
    pain_level_before: int | None
    pain_level_after: int | None
    perceived_difficulty: int | None
    duration_seconds: int | None
    exercises_completed: int | None
    exercises_total: int | None
    incomplete: bool  # a stream of one of its exercises ended without the patient ending it
    revision: int | None  # the newest result applied to any of its exercises; None while there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class ExercisePerformance:
    """One exercise over the plan's completed sessions. Sums and counts, so that means over exercises stay exact."""

    exercise_id: int
    name: str
    total: int  # sessions that have a log of it
    done: int  # of these, in which it was done (core.counts_as_done)
    skipped: int  # of these, in which it was skipped; what is neither was only started, or left
    incomplete: int  # of these, with a stream that nobody ended
    watch_percent_sum: Decimal
    watch_count: int
    form_score_sum: Decimal
    form_count: int
