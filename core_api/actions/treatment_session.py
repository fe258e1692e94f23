"""A treatment session's life: opened, then completed or skipped, with the plan's counters and status following."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from core_api import access, audit
from core_api.bodies import CompleteSession, ReportedExercise
from core_api.database import Row, Tx, every, one, run, the
from core_api.errors import Problem
from core_api.identity import Actor

ENTITY = "core.patient_session_completions"


def open_session(
    tx: Tx,
    actor: Actor,
    author: audit.Author,
    plan_id: int,
    *,
    pain_level_before: int | None,
    started_at: datetime,
    now: datetime,
) -> tuple[Row, bool]:
    """The plan's treatment session in progress, and whether it was opened now. Raises ``Problem`` 404 or 409."""
    plan = access.plan(tx, actor, plan_id, lock=True)
    if plan["status"] != "active":
        raise Problem(409, "plan_not_active", f"the plan is {plan['status']}")
    exercises = every(tx, "prescribed_exercises", {"treatment_plan_id": plan["treatment_plan_id"]})
    session = one(tx, "treatment_session_in_progress", {"plan_id": plan_id})
    if session is not None:
        return {**session, "exercises": exercises}, False
    session = the(
        tx,
        "insert_treatment_session",
        {
            "organisation_id": plan["organisation_id"],
            "plan_id": plan_id,
            "patient_id": plan["patient_id"],
            "treatment_plan_id": plan["treatment_plan_id"],
            "pain_level_before": pain_level_before,
            "started_at": started_at,
            "now": now,
        },
    )
    audit.record(tx, author, "treatment_session.open", ENTITY, session["id"], plan_id=plan_id)
    return {**session, "exercises": exercises}, True


def complete_session(
    tx: Tx,
    actor: Actor,
    author: audit.Author,
    treatment_session_id: int,
    report: CompleteSession,
    *,
    completed_at: datetime,
    now: datetime,
) -> Row:
    """Complete it, or, where it is completed already, say so again. Raises ``Problem`` 404, 409 or 422."""
    session = access.treatment_session(tx, actor, treatment_session_id, lock=True)
    if session["status"] == "completed":
        return _state(tx, actor, treatment_session_id)
    _check_in_progress(session)
    if completed_at < session["started_at"]:
        raise Problem(422, "time_out_of_range", "completed_at: before the treatment session started")
    _record_exercises(tx, session, report.exercises, now)
    parameters = {
        "treatment_session_id": treatment_session_id,
        "status": "completed",
        "completed_at": completed_at,
        "pain_level_after": report.pain_level_after,
        "perceived_difficulty": report.perceived_difficulty,
        "duration_seconds": int((completed_at - session["started_at"]).total_seconds()),
    }
    run(tx, "finish_treatment_session", parameters)
    plan = _count(tx, session, completed=1, skipped=0, ended_at=completed_at)
    audit.record(
        tx, author, "treatment_session.complete", ENTITY, treatment_session_id, plan_id=plan["id"], plan=plan["status"]
    )
    return _state(tx, actor, treatment_session_id)


def skip_session(tx: Tx, actor: Actor, author: audit.Author, treatment_session_id: int, *, now: datetime) -> Row:
    """Skip it, or, where it is skipped already, say so again. Raises ``Problem`` 404 or 409."""
    session = access.treatment_session(tx, actor, treatment_session_id, lock=True)
    if session["status"] == "skipped":
        return _state(tx, actor, treatment_session_id)
    _check_in_progress(session)
    parameters: dict[str, Any] = {
        "treatment_session_id": treatment_session_id,
        "status": "skipped",
        "completed_at": None,
        "pain_level_after": None,
        "perceived_difficulty": None,
        "duration_seconds": None,
    }
    run(tx, "finish_treatment_session", parameters)
    plan = _count(tx, session, completed=0, skipped=1, ended_at=now)
    audit.record(
        tx, author, "treatment_session.skip", ENTITY, treatment_session_id, plan_id=plan["id"], plan=plan["status"]
    )
    return _state(tx, actor, treatment_session_id)


def _check_in_progress(session: Row) -> None:
    if session["status"] != "in_progress":
        raise Problem(409, "session_not_in_progress", f"the treatment session is {session['status']}")


def _record_exercises(tx: Tx, session: Row, reported: list[ReportedExercise], now: datetime) -> None:
    """Give every prescribed exercise a log, and the reported ones what was reported."""
    scope = {"treatment_session_id": session["id"], "treatment_plan_id": session["treatment_plan_id"]}
    ids = [each.exercise_id for each in reported]
    unknown = every(tx, "unknown_exercises", {**scope, "exercise_ids": ids})
    if unknown:
        raise Problem(
            422, "exercise_not_in_plan", f"exercise {unknown[0]['exercise_id']} is not part of this treatment session"
        )
    done = [each.exercise_id for each in reported if not each.skipped]
    missing = {**scope, "done_exercise_ids": done, "started_at": session["started_at"], "now": now}
    run(tx, "insert_missing_logs", missing)
    values = {
        "treatment_session_id": session["id"],
        "exercise_ids": ids,
        "actual_sets": [each.actual_sets for each in reported],
        "actual_reps": [each.actual_reps for each in reported],
        "skipped": [each.skipped for each in reported],
    }
    run(tx, "report_exercises", values)


def _count(tx: Tx, session: Row, *, completed: int, skipped: int, ended_at: datetime) -> Row:
    plan_id = session["patient_treatment_plan_id"]
    parameters = {"plan_id": plan_id, "completed": completed, "skipped": skipped, "ended_at": ended_at}
    return {"id": plan_id, **the(tx, "count_finished_session", parameters)}


def _state(tx: Tx, actor: Actor, treatment_session_id: int) -> Row:
    row = access.treatment_session(tx, actor, treatment_session_id, lock=False)
    hidden = ("organisation_id", "patient_id", "principal_id", "treatment_plan_id")
    return {name: value for name, value in row.items() if name not in hidden}
