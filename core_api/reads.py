"""Rows of one plan, as the values its reads are computed from. Live: nothing here comes from a mart."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from core_api.clinical.plan import ExercisePerformance, Plan, Sitting
from core_api.clinical.trend import TrendPoint
from core_api.database import Row, Tx, every, one
from core_api.errors import not_found


def plan_of(row: Row) -> Plan:
    """A row of ``plan.sql``."""
    zone = ZoneInfo(row["time_zone"])
    ended_at: datetime | None = row["ended_at"]
    return Plan(
        id=row["id"],
        name=row["treatment_plan_name"],
        status=row["status"],
        time_zone=row["time_zone"],
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
            id=each["id"],
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
            revision=each["revision"],
        )
        for each in every(tx, "plan_sittings", {"plan_id": row["id"]})
    ]


def performances_of(tx: Tx, row: Row) -> list[ExercisePerformance]:
    """The plan's exercises, prescribed or logged, in the plan's order."""
    scope = {"plan_id": row["id"], "treatment_plan_id": row["treatment_plan_id"]}
    return [ExercisePerformance(**each) for each in every(tx, "plan_exercises", scope)]


def exercise_of(tx: Tx, row: Row, exercise_id: int) -> Row:
    """An exercise of this plan, prescribed or done before. Raises ``Problem`` 404."""
    scope = {"plan_id": row["id"], "treatment_plan_id": row["treatment_plan_id"], "exercise_id": exercise_id}
    exercise = one(tx, "plan_exercise", scope)
    if exercise is None:
        raise not_found("exercise")
    return exercise


def trend_of(tx: Tx, row: Row, exercise_id: int) -> list[TrendPoint]:
    """One exercise's logs over the plan's completed sessions, in order, each with its movement if it has any."""
    zone = ZoneInfo(row["time_zone"])
    logs = every(tx, "exercise_trend", {"plan_id": row["id"], "exercise_id": exercise_id})
    streamed = [each for each in logs if each["session_id"] is not None]
    sessions = {
        "session_ids": [each["session_id"] for each in streamed],
        "started_at": [each["session_started_at"] for each in streamed],
    }
    movement = {each["session_id"]: each for each in every(tx, "movement_of_sessions", sessions)} if streamed else {}
    return [_trend_point(each, movement.get(each["session_id"], {}), zone) for each in logs]


def _trend_point(log: Row, movement: Row, zone: ZoneInfo) -> TrendPoint:
    return TrendPoint(
        session_number=log["session_number"],
        treatment_session_id=log["treatment_session_id"],
        exercise_log_id=log["exercise_log_id"],
        session_id=log["session_id"],
        day=log["started_at"].astimezone(zone).date(),
        started_at=log["started_at"],
        skipped=log["skipped"],
        incomplete=log["incomplete"],
        revision=log["revision"],
        prescribed_sets=log["prescribed_sets"],
        prescribed_reps=log["prescribed_reps"],
        actual_sets=log["actual_sets"],
        actual_reps=log["actual_reps"],
        actual_reps_source=log["actual_reps_source"],
        video_watch_percentage=log["video_watch_percentage"],
        form_score=log["pose_accuracy_score"],
        rep_count=movement.get("rep_count"),
        rom_mean_deg=movement.get("rom_mean_deg"),
        rom_max_deg=movement.get("rom_max_deg"),
        tempo_mean_ms=movement.get("tempo_mean_ms"),
        symmetry_percent=movement.get("symmetry_percent"),
        smoothness_sparc=movement.get("smoothness_sparc"),
        tracking_quality=movement.get("tracking_quality"),
    )
