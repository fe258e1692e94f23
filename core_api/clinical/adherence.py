"""Adherence: completed sessions against those expected to date.

Expected to date = frequency x full weeks + floor(frequency x remaining days / 7), at most the plan's total. Days are
full local days since the plan began: the running day is not owed yet. A patient ahead of the plan is above 100 %.
"""

from __future__ import annotations

from dataclasses import dataclass

from core_api.clinical.rounding import percent

DAYS_PER_WEEK = 7


@dataclass(frozen=True, slots=True)
class Adherence:
    """``percent`` is None while nothing is expected yet."""

    completed: int
    expected: int
    percent: int | None


def expected_to_date(frequency_per_week: int, elapsed_days: int, sessions_total: int) -> int:
    """Sessions expected after ``elapsed_days`` full days (negative counts as none)."""
    weeks, days = divmod(max(elapsed_days, 0), DAYS_PER_WEEK)
    return min(frequency_per_week * weeks + frequency_per_week * days // DAYS_PER_WEEK, sessions_total)


def adherence(completed: int, frequency_per_week: int, elapsed_days: int, sessions_total: int) -> Adherence:
    """Adherence after ``elapsed_days`` full days."""
    expected = expected_to_date(frequency_per_week, elapsed_days, sessions_total)
    return Adherence(completed, expected, percent(completed, expected))
