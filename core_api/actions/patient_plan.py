"""A patient's treatment plan: assigned, changed while it is active, cancelled. Completing it is the last treatment
session's doing (``treatment_session``), expiring it the calendar's (``core.expire_plans``).
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from core_api import access, audit, conditional
from core_api.actions.catalogue import reference_missing
from core_api.bodies import AssignPlan, ChangePatientPlan
from core_api.database import Row, Tx, one, run, the
from core_api.encryption import ColumnCipher, Place
from core_api.errors import Problem
from core_api.identity import Actor

ENTITY = "core.patient_treatment_plans"
END_NOTE = "core.patient_treatment_plans.end_note_encrypted"
FIRST_DAY = date(2000, 1, 1)
AHEAD_MAX = timedelta(days=3660)  # a plan may start or end within ten years
_REFERENCES = {"specialist_id": "specialist", "service_plan_id": "service_plan"}
_FIELDS = (
    *("id", "patient_id", "treatment_plan_id", "treatment_plan_name", "specialist_id", "service_plan_id"),
    *("sessions_total", "sessions_completed", "sessions_skipped", "frequency_per_week", "status"),
    *("started_on", "ends_on", "ended_at", "end_note"),
)


def represent(tx: Tx, cipher: ColumnCipher, row: Row) -> Row:
    """A row of ``patient_plan.sql`` as everybody who may see it sees it."""
    place = Place(row["organisation_id"], END_NOTE, str(row["id"]))
    note = cipher.unseal(tx, row["end_note_encrypted"], place)
    return {name: note if name == "end_note" else row[name] for name in _FIELDS}


def plan(tx: Tx, actor: Actor, cipher: ColumnCipher, plan_id: int) -> Row:
    """The plan's representation. Raises ``Problem`` 404."""
    access.plan(tx, actor, plan_id, lock=False)
    return _plan(tx, cipher, plan_id)


def _plan(tx: Tx, cipher: ColumnCipher, plan_id: int) -> Row:
    return represent(tx, cipher, the(tx, "patient_plan", {"plan_id": plan_id}))


def assign(tx: Tx, actor: Actor, author: audit.Author, cipher: ColumnCipher, *, body: AssignPlan, now: datetime) -> Row:
    """Give a patient a treatment plan. Raises ``Problem`` 422 for what is not there, or an impossible day."""
    patient = one(tx, "patient", {"patient_id": body.patient_id, "principal_id": None})
    if patient is None:
        raise reference_missing("patient_id", "patient")
    access.not_being_erased(tx, body.patient_id)
    if one(tx, "treatment_plan", {"treatment_plan_id": body.treatment_plan_id}) is None:
        raise reference_missing("treatment_plan_id", "treatment plan")
    values: Row = msgspec.structs.asdict(body)
    _check_references(tx, values)
    today = now.astimezone(ZoneInfo(patient["time_zone"])).date()
    started_on = body.started_on or today
    _check_days(started_on, body.ends_on, today)
    organisation = {"organisation_id": actor.organisation_id, "now": now}
    made = the(tx, "insert_patient_treatment_plan", {**values, **organisation, "started_on": started_on})
    audit.record(
        tx,
        author,
        "patient_treatment_plan.assign",
        ENTITY,
        made["id"],
        patient_id=body.patient_id,
        treatment_plan_id=body.treatment_plan_id,
    )
    return _plan(tx, cipher, made["id"])


def change(
    tx: Tx,
    actor: Actor,
    author: audit.Author,
    cipher: ColumnCipher,
    *,
    plan_id: int,
    body: ChangePatientPlan,
    if_match: str,
    now: datetime,
) -> Row:
    """Change an active plan. Raises ``Problem`` 404, 409, 412 or 422."""
    row = _locked_active(tx, actor, cipher, plan_id, if_match)
    said: Row = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET}
    changed = {**row, **said}
    _check_references(tx, said)
    if changed["sessions_total"] <= row["sessions_completed"] + row["sessions_skipped"]:
        raise _impossible("sessions_total", "the plan has had as many sessions already")
    today = now.astimezone(ZoneInfo(row["time_zone"])).date()
    if "ends_on" in said and said["ends_on"] is not None:
        _check_days(row["started_on"], said["ends_on"], today)
    run(tx, "change_patient_plan", changed)
    audit.record(tx, author, "patient_treatment_plan.change", ENTITY, plan_id, fields=sorted(said))
    return _plan(tx, cipher, plan_id)


def cancel(
    tx: Tx,
    actor: Actor,
    author: audit.Author,
    cipher: ColumnCipher,
    *,
    plan_id: int,
    note: str | None,
    if_match: str,
    now: datetime,
) -> Row:
    """End an active plan early. A treatment session in progress may still be completed, and counts. Raises ``Problem``
    404, 409 or 412.
    """
    row = _locked_active(tx, actor, cipher, plan_id, if_match)
    if note is not None:
        access.not_being_erased(tx, row["patient_id"])
    place = Place(row["organisation_id"], END_NOTE, str(plan_id))
    sealed = None if note is None else cipher.seal(tx, note, place)
    run(tx, "cancel_patient_plan", {"plan_id": plan_id, "now": now, "end_note_encrypted": sealed})
    audit.record(tx, author, "patient_treatment_plan.cancel", ENTITY, plan_id)
    return _plan(tx, cipher, plan_id)


def _locked_active(tx: Tx, actor: Actor, cipher: ColumnCipher, plan_id: int, if_match: str) -> Row:
    row = access.plan(tx, actor, plan_id, lock=True)
    conditional.check(if_match, _plan(tx, cipher, plan_id))
    if row["status"] != "active":
        raise Problem(409, "plan_not_active", f"the plan is {row['status']}")
    return row


def _check_references(tx: Tx, values: Row) -> None:
    for field, what in _REFERENCES.items():
        if values.get(field) is not None and one(tx, what, {field: values[field]}) is None:
            raise reference_missing(field, what.replace("_", " "))


def _check_days(started_on: date, ends_on: date | None, today: date) -> None:
    if not FIRST_DAY <= started_on <= today + AHEAD_MAX:
        raise _impossible("started_on", f"not between {FIRST_DAY} and ten years ahead")
    if ends_on is None:
        return
    if ends_on < started_on:
        raise _impossible("ends_on", "before the plan starts")
    if not today <= ends_on <= today + AHEAD_MAX:
        raise _impossible("ends_on", "over already, or more than ten years ahead")


def _impossible(field: str, message: str) -> Problem:
    errors: list[dict[str, str]] = [{"field": field, "message": message}]
    return Problem(422, "time_out_of_range", f"{field}: {message}", errors=errors)
