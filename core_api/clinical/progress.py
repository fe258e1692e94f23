"""The patient's progress: sessions done, pain before and after each, this plan week, and the streak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from core_api.clinical.adherence import DAYS_PER_WEEK
from core_api.clinical.plan import Plan, Sitting
from core_api.clinical.rounding import percent
from core_api.clinical.streak import streak_days
from core_api.clinical.weeks import expected_in_week, week_number, week_span


@dataclass(frozen=True, slots=True)
class SessionsDone:
    """``percent`` is of ``total``."""

    completed: int
    skipped: int
    total: int
    percent: int | None


@dataclass(frozen=True, slots=True)
class PainPoint:
    """One completed session on the pain trend. ``revision`` counts the results its streams had, None without any."""

    treatment_session_id: int
    session_number: int
    completed_at: datetime | None
    before: int | None
    after: int | None
    incomplete: bool
    revision: int | None


@dataclass(frozen=True, slots=True)
class ThisWeek:
    """The seven days, counted from the plan's first, that today lies in, against what the plan expects in them.

    Before the plan's first week and after the one it ended in no plan week runs: ``number`` is None, and nothing is
    expected.
    """

    number: int | None
    starts_on: date
    ends_on: date
    completed: int
    expected: int


@dataclass(frozen=True, slots=True)
class Progress:
    """What ``GET .../progress`` answers."""

    patient_treatment_plan_id: int
    treatment_plan: str
    status: str
    time_zone: str
    today: date
    sessions: SessionsDone
    pain_trend: tuple[PainPoint, ...]
    this_week: ThisWeek
    streak_days: int


def progress(plan: Plan, sittings: Sequence[Sitting], today: date) -> Progress:
    """``sittings`` in session order; ``today`` is the patient's local day."""
    completed = [each for each in sittings if each.status == "completed"]
    return Progress(
        patient_treatment_plan_id=plan.id,
        treatment_plan=plan.name,
        status=plan.status,
        time_zone=plan.time_zone,
        today=today,
        sessions=SessionsDone(
            plan.sessions_completed,
            plan.sessions_skipped,
            plan.sessions_total,
            percent(plan.sessions_completed, plan.sessions_total),
        ),
        pain_trend=tuple(
            PainPoint(
                each.id,
                each.number,
                each.completed_at,
                each.pain_level_before,
                each.pain_level_after,
                each.incomplete,
                each.revision,
            )
            for each in completed
        ),
        this_week=_this_week(plan, [each.day for each in completed], today),
        streak_days=streak_days([each.day for each in completed], today),
    )


def _this_week(plan: Plan, completed_on: Sequence[date], today: date) -> ThisWeek:
    since_start = (today - plan.started_on).days // DAYS_PER_WEEK + 1  # 0 and below before the plan's first day
    starts_on, ends_on = week_span(plan.started_on, since_start)
    if since_start < 1 or (plan.ended_on is not None and plan.ended_on < starts_on):
        done = sum(starts_on <= day <= ends_on for day in completed_on)
        return ThisWeek(None, starts_on, ends_on, done, 0)
    done = sum(week_number(plan.started_on, day) == since_start for day in completed_on)
    expected = expected_in_week(since_start, plan.frequency_per_week, plan.sessions_total)
    return ThisWeek(since_start, starts_on, ends_on, done, expected)
