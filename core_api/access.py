"""What an actor reaches: a patient their own rows, staff their organisation's. Everything else does not exist (404).

The organisation is the transaction's (row-level security); what is decided here is within it.
"""

from __future__ import annotations

from uuid import UUID

from core_api.database import Row, Tx, one, the
from core_api.errors import Problem, not_found
from core_api.identity import Actor


def _only_principal(actor: Actor) -> UUID | None:
    return actor.principal_id if actor.role == "patient" else None


def plan(tx: Tx, actor: Actor, plan_id: int, *, lock: bool) -> Row:
    """A patient treatment plan with its patient; ``lock`` holds it to the transaction's end. Raises ``Problem`` 404."""
    name = "plan_locked" if lock else "plan"
    row = one(tx, name, {"plan_id": plan_id, "principal_id": _only_principal(actor)})
    if row is None:
        raise not_found("patient_treatment_plan")
    return row


def treatment_session(tx: Tx, actor: Actor, treatment_session_id: int, *, lock: bool) -> Row:
    """A treatment session with its plan and patient; ``lock`` holds it and its plan. Raises ``Problem`` 404."""
    name = "treatment_session_locked" if lock else "treatment_session"
    row = one(tx, name, {"treatment_session_id": treatment_session_id, "principal_id": _only_principal(actor)})
    if row is None:
        raise not_found("treatment_session")
    return row


def patient(tx: Tx, actor: Actor, patient_id: int, *, lock: bool) -> Row:
    """A patient; ``lock`` makes writers of the patient's consents take turns. Raises ``Problem`` 404."""
    name = "patient_locked" if lock else "patient"
    row = one(tx, name, {"patient_id": patient_id, "principal_id": _only_principal(actor)})
    if row is None:
        raise not_found("patient")
    return row


def not_being_erased(tx: Tx, patient_id: int) -> None:
    """Nothing new is begun for a patient whose erasure is open: it would have to go round again for it. Raises
    ``Problem`` 409. What slips in beside the request is taken up by the erasure (``core.erasure_reopen``).
    """
    if the(tx, "is_being_erased", {"patient_id": patient_id})["is_being_erased"]:
        raise Problem(409, "erasure_open", "the patient's erasure was asked for: nothing new is begun")


def session(tx: Tx, actor: Actor, session_id: UUID) -> Row:
    """An exercise session with its log and exercise. Raises ``Problem`` 404."""
    row = one(tx, "session", {"session_id": session_id, "principal_id": _only_principal(actor)})
    if row is None:
        raise not_found("session")
    return row
