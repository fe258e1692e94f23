"""Plan weeks: week 1 begins on the local day the plan begins, each lasts seven local days, empty ones are shown.

A session belongs to the local day it started on; one before the plan's first day counts in week 1. A week expects the
plan's frequency until the plan's total is used up. The running week is marked and measured against the whole week.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from core_api.clinical.adherence import DAYS_PER_WEEK
from core_api.clinical.rounding import percent

WEEKS_MAX = 520  # ten years; a plan left open longer shows its last ten


@dataclass(frozen=True, slots=True)
class PlanWeek:
    """One plan week, ``starts_on`` to ``ends_on`` inclusive. ``percent`` is None where nothing was expected."""

    number: int
    starts_on: date
    ends_on: date
    completed: int
    skipped: int
    expected: int
    percent: int | None
    in_progress: bool


def week_number(started_on: date, day: date) -> int:
    """The plan week, from 1, that ``day`` lies in."""
    return max((day - started_on).days, 0) // DAYS_PER_WEEK + 1


def week_span(started_on: date, number: int) -> tuple[date, date]:
    """First and last day of plan week ``number``."""
    starts_on = started_on + timedelta(days=DAYS_PER_WEEK * (number - 1))
    return starts_on, starts_on + timedelta(days=DAYS_PER_WEEK - 1)


def expected_in_week(number: int, frequency_per_week: int, sessions_total: int) -> int:
    """Sessions week ``number`` expects: the frequency, or what the total leaves."""
    return max(min(frequency_per_week, sessions_total - frequency_per_week * (number - 1)), 0)


def plan_weeks(
    *,
    started_on: date,
    ended_on: date | None,
    today: date,
    frequency_per_week: int,
    sessions_total: int,
    completed_on: Sequence[date],
    skipped_on: Sequence[date],
) -> tuple[PlanWeek, ...]:
    """Every week from the plan's first to the one it runs in or ended in, in order."""
    until = today if ended_on is None else min(ended_on, today)
    last = max(week_number(started_on, day) for day in (until, *completed_on, *skipped_on))
    completed, skipped = [0] * (last + 1), [0] * (last + 1)
    for counts, days in ((completed, completed_on), (skipped, skipped_on)):
        for day in days:
            counts[week_number(started_on, day)] += 1
    weeks = []
    for number in range(max(1, last - WEEKS_MAX + 1), last + 1):
        starts_on, ends_on = week_span(started_on, number)
        expected = expected_in_week(number, frequency_per_week, sessions_total)
        weeks.append(
            PlanWeek(
                number=number,
                starts_on=starts_on,
                ends_on=ends_on,
                completed=completed[number],
                skipped=skipped[number],
                expected=expected,
                percent=percent(completed[number], expected),
                in_progress=ended_on is None and starts_on <= today <= ends_on,
            )
        )
    return tuple(weeks)
