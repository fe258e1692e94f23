"""Rows of one plan, as the values its reads are computed from. Live: nothing here comes from a mart."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from core_api.clinical.plan import ExercisePerformance, Plan, Sitting
from core_api.database import Row, Tx, every


def plan_of(row: Row) -> Plan:
    """A row of ``plan.sql``."""
    zone = ZoneInfo(row["time_zone"])
    ended_at: datetime | None = row["ended_at"]
    return Plan(
        id=row["id"],
        name=row["treatment_plan_name"],
        status=row["status"],
        started_on=row["started_on"],
        ended_on=None if ended_at is None else ended_at.astimezone(zone).date(),
        frequency_per_week=row["frequency_per_week"],
        sessions_total=row["sessions_total"],
        sessions_completed=row["sessions_completed"],
        sessions_skipped=row["sessions_skipped"],
    )


def local_day(row: Row, now: datetime) -> date:
    """Today, where the plan's patient lives."""
    return now.astimezone(ZoneInfo(row["time_zone"])).date()


def sittings_of(tx: Tx, row: Row) -> list[Sitting]:
    """The plan's treatment sessions, in order."""
    zone = ZoneInfo(row["time_zone"])
    return [
        Sitting(
            number=each["session_number"],
            status=each["status"],
            day=each["started_at"].astimezone(zone).date(),
            started_at=each["started_at"],
            completed_at=each["completed_at"],
            pain_level_before=each["pain_level_before"],
            pain_level_after=each["pain_level_after"],
            perceived_difficulty=each["perceived_difficulty"],
            duration_seconds=each["duration_seconds"],
            exercises_completed=each["exercises_completed"],
            exercises_total=each["exercises_total"],
            incomplete=each["incomplete"],
        )
        for each in every(tx, "plan_sittings", {"plan_id": row["id"]})
    ]


def performances_of(tx: Tx, row: Row) -> list[ExercisePerformance]:
    """The plan's exercises, prescribed or logged, in the plan's order."""
    scope = {"plan_id": row["id"], "treatment_plan_id": row["treatment_plan_id"]}
    return [ExercisePerformance(**each) for each in every(tx, "plan_exercises", scope)]
