"""The specialist's analytics of one plan: adherence, duration, video, exercises, pain evolution, weeks, attrition.

Means are over completed sessions. Exercise figures leave out skipped logs and unknown values: means of what is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from core_api.clinical.adherence import Adherence, adherence
from core_api.clinical.pain import PainEvolution, pain_evolution
from core_api.clinical.plan import ExercisePerformance, Plan, Sitting
from core_api.clinical.rounding import half_up
from core_api.clinical.weeks import PlanWeek, plan_weeks


@dataclass(frozen=True, slots=True)
class ExerciseLine:
    """One row of the exercise table: done of total, skipped, video and form (None where nothing is known).

    ``total`` is the completed sessions with a log of it; ``unfinished`` of these were neither done nor skipped.
    """

    exercise_id: int
    name: str
    done: int
    total: int
    skipped: int
    unfinished: int
    incomplete: int
    video_watch_percent: int | None
    form_score: Decimal | None


@dataclass(frozen=True, slots=True)
class SessionShown:
    """One completed session, in the order of the pain values. ``revision`` is None where no stream has a result."""

    treatment_session_id: int
    session_number: int
    day: date
    duration_seconds: int | None
    perceived_difficulty: int | None
    incomplete: bool
    revision: int | None


@dataclass(frozen=True, slots=True)
class Attrition:
    """What was lost on the way, beside the outcomes it may flatter."""

    sessions_skipped: int
    sessions_incomplete: int
    sessions_remaining: int
    days_since_last_session: int | None


@dataclass(frozen=True, slots=True)
class Analytics:
    """What ``GET .../analytics`` answers beside the patient's name."""

    patient_treatment_plan_id: int
    treatment_plan: str
    status: str
    time_zone: str
    today: date
    adherence: Adherence
    average_duration_seconds: int | None
    average_duration_minutes: int | None
    average_video_watch_percent: int | None
    exercises: tuple[ExerciseLine, ...]
    sessions: tuple[SessionShown, ...]
    pain_before: PainEvolution
    pain_after: PainEvolution
    weekly_adherence: tuple[PlanWeek, ...]
    attrition: Attrition


def analytics(
    plan: Plan, sittings: Sequence[Sitting], exercises: Sequence[ExercisePerformance], today: date
) -> Analytics:
    """``sittings`` in session order, ``exercises`` in the plan's order; ``today`` is the patient's local day.

    An ended plan owes nothing after the day it ended.
    """
    completed = [each for each in sittings if each.status == "completed"]
    until = today if plan.ended_on is None else min(plan.ended_on, today)
    durations = [each.duration_seconds for each in completed if each.duration_seconds is not None]
    return Analytics(
        patient_treatment_plan_id=plan.id,
        treatment_plan=plan.name,
        status=plan.status,
        time_zone=plan.time_zone,
        today=today,
        adherence=adherence(
            plan.sessions_completed, plan.frequency_per_week, (until - plan.started_on).days, plan.sessions_total
        ),
        average_duration_seconds=_mean(Decimal(sum(durations)), len(durations)),
        average_duration_minutes=_mean(Decimal(sum(durations)), 60 * len(durations)),
        average_video_watch_percent=_mean(
            sum((each.watch_percent_sum for each in exercises), Decimal(0)), sum(each.watch_count for each in exercises)
        ),
        exercises=tuple(_line(each) for each in exercises),
        sessions=tuple(
            SessionShown(
                each.id,
                each.number,
                each.day,
                each.duration_seconds,
                each.perceived_difficulty,
                each.incomplete,
                each.revision,
            )
            for each in completed
        ),
        pain_before=pain_evolution([each.pain_level_before for each in completed]),
        pain_after=pain_evolution([each.pain_level_after for each in completed]),
        weekly_adherence=plan_weeks(
            started_on=plan.started_on,
            ended_on=plan.ended_on,
            today=today,
            frequency_per_week=plan.frequency_per_week,
            sessions_total=plan.sessions_total,
            completed_on=[each.day for each in completed],
            skipped_on=[each.day for each in sittings if each.status == "skipped"],
        ),
        attrition=Attrition(
            sessions_skipped=plan.sessions_skipped,
            sessions_incomplete=sum(each.incomplete for each in completed),
            sessions_remaining=max(plan.sessions_total - plan.sessions_completed - plan.sessions_skipped, 0),
            days_since_last_session=(today - max(each.day for each in completed)).days if completed else None,
        ),
    )


def _line(exercise: ExercisePerformance) -> ExerciseLine:
    form_score = exercise.form_score_sum / exercise.form_count if exercise.form_count else None
    return ExerciseLine(
        exercise_id=exercise.exercise_id,
        name=exercise.name,
        done=exercise.done,
        total=exercise.total,
        skipped=exercise.skipped,
        unfinished=exercise.total - exercise.done - exercise.skipped,
        incomplete=exercise.incomplete,
        video_watch_percent=_mean(exercise.watch_percent_sum, exercise.watch_count),
        form_score=half_up(form_score, 1),
    )


def _mean(total: Decimal, count: int) -> int | None:
    mean = half_up(total / count) if count else None
    return None if mean is None else int(mean)
