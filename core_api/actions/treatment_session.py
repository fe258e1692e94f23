"""A treatment session's life: opened, then completed or skipped, with the plan's counters and status following."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from core_api import access, audit, conditional
from core_api.bodies import CompleteSession, ReportedExercise
from core_api.conditional import Beside
from core_api.database import Row, Tx, every, one, run, the
from core_api.encryption import ColumnCipher, Place
from core_api.errors import Problem
from core_api.identity import Actor

ENTITY = "core.patient_session_completions"
NOTES = "core.patient_session_completions.notes_encrypted"
_HIDDEN = ("organisation_id", "patient_id", "principal_id", "treatment_plan_id", "notes_encrypted")


def treatment_session(tx: Tx, actor: Actor, cipher: ColumnCipher, treatment_session_id: int) -> Beside:
    """The session's representation, with what its plan prescribes, in order; beside it what its exercises' streams
    tell, which arrives when it does. Raises ``Problem`` 404.
    """
    row = access.treatment_session(tx, actor, treatment_session_id, lock=False)
    streams = the(tx, "streams_of_treatment_session", {"treatment_session_id": treatment_session_id})
    return Beside(_represent(tx, cipher, row), streams)


def open_session(
    tx: Tx,
    actor: Actor,
    author: audit.Author,
    cipher: ColumnCipher,
    *,
    plan_id: int,
    pain_level_before: int | None,
    started_at: datetime,
    now: datetime,
) -> tuple[Beside, bool]:
    """The plan's treatment session in progress, and whether it was opened now. Raises ``Problem`` 404 or 409."""
    plan = access.plan(tx, actor, plan_id, lock=True)
    access.not_being_erased(tx, plan["patient_id"])
    _check_active(plan, now)
    found = one(tx, "treatment_session_in_progress", {"plan_id": plan_id})
    if found is not None:
        return treatment_session(tx, actor, cipher, found["id"]), False
    made = the(
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
    audit.record(tx, author, "treatment_session.open", ENTITY, made["id"], plan_id=plan_id)
    return treatment_session(tx, actor, cipher, made["id"]), True


def complete_session(
    tx: Tx,
    actor: Actor,
    author: audit.Author,
    cipher: ColumnCipher,
    *,
    treatment_session_id: int,
    report: CompleteSession,
    if_match: str,
    completed_at: datetime,
    now: datetime,
) -> Beside:
    """Complete a session in progress. Raises ``Problem`` 404, 409, 412 or 422."""
    session = _locked(tx, actor, cipher, treatment_session_id, if_match)
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
        "notes_encrypted": _sealed(tx, cipher, session, report.notes),
    }
    run(tx, "finish_treatment_session", parameters)
    plan = _count(tx, session, completed=1, skipped=0, ended_at=completed_at)
    audit.record(
        tx, author, "treatment_session.complete", ENTITY, treatment_session_id, plan_id=plan["id"], plan=plan["status"]
    )
    return treatment_session(tx, actor, cipher, treatment_session_id)


def skip_session(
    tx: Tx,
    actor: Actor,
    author: audit.Author,
    cipher: ColumnCipher,
    *,
    treatment_session_id: int,
    notes: str | None,
    if_match: str,
    now: datetime,
) -> Beside:
    """Skip a session in progress. Raises ``Problem`` 404, 409 or 412."""
    session = _locked(tx, actor, cipher, treatment_session_id, if_match)
    parameters: dict[str, Any] = {
        "treatment_session_id": treatment_session_id,
        "status": "skipped",
        "completed_at": None,
        "pain_level_after": None,
        "perceived_difficulty": None,
        "duration_seconds": None,
        "notes_encrypted": _sealed(tx, cipher, session, notes),
    }
    run(tx, "finish_treatment_session", parameters)
    plan = _count(tx, session, completed=0, skipped=1, ended_at=now)
    audit.record(
        tx, author, "treatment_session.skip", ENTITY, treatment_session_id, plan_id=plan["id"], plan=plan["status"]
    )
    return treatment_session(tx, actor, cipher, treatment_session_id)


def _check_active(plan: Row, now: datetime) -> None:
    """An end day holds from the next midnight on, before the nightly run has written it down."""
    if plan["status"] != "active":
        raise Problem(409, "plan_not_active", f"the plan is {plan['status']}")
    if plan["ends_on"] is not None and now.astimezone(ZoneInfo(plan["time_zone"])).date() > plan["ends_on"]:
        raise Problem(409, "plan_not_active", f"the plan ended on {plan['ends_on']}")


def _locked(tx: Tx, actor: Actor, cipher: ColumnCipher, treatment_session_id: int, if_match: str) -> Row:
    """The session in progress, as the caller saw it, held to the transaction's end."""
    session = access.treatment_session(tx, actor, treatment_session_id, lock=True)
    # What is over is over, whichever state of it the caller saw; reading it again would not help.
    if session["status"] != "in_progress":
        raise Problem(409, "session_not_in_progress", f"the treatment session is {session['status']}")
    conditional.check(if_match, _represent(tx, cipher, session))
    return session


def _represent(tx: Tx, cipher: ColumnCipher, row: Row) -> Row:
    place = Place(row["organisation_id"], NOTES, str(row["id"]))
    return {
        **{name: value for name, value in row.items() if name not in _HIDDEN},
        "notes": cipher.unseal(tx, row["notes_encrypted"], place),
        "exercises": every(tx, "prescribed_exercises", {"treatment_plan_id": row["treatment_plan_id"]}),
    }


def _sealed(tx: Tx, cipher: ColumnCipher, session: Row, notes: str | None) -> bytes | None:
    """Notes, sealed. Raises ``Problem`` 409 where an erasure would have to remove them again."""
    if notes is None:
        return None
    access.not_being_erased(tx, session["patient_id"])
    return cipher.seal(tx, notes, Place(session["organisation_id"], NOTES, str(session["id"])))


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
