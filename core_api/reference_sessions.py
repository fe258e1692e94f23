"""The session a patient's later ones are compared with: supervised, and chosen by a specialist; one an exercise.

Its replay is the reference, so it is kept as a clinical record from then on. Here: which session it is. Not here: the
comparison, which is the movement analysis's.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from core_api import access, audit, replay_retention
from core_api.audit import Author
from core_api.database import Row, Tx, every, one
from core_api.errors import Problem
from core_api.identity import Actor


def mark(tx: Tx, actor: Actor, author: Author, session_id: UUID, now: datetime) -> Row:
    """Make the session its patient's reference for its exercise, in place of any other. Raises ``Problem`` 404, 409."""
    session = access.session(tx, actor, session_id)
    movement = one(tx, "session_pose", {"session_id": session_id, "started_at": session["started_at"]})
    if session["state"] != "finalised" or session["incomplete"] or session["blob_key"] is None:
        raise Problem(409, "session_not_usable", "a reference is a finished, complete session that has its replay")
    if movement is None or not movement["rep_count"]:
        raise Problem(409, "session_not_usable", "a reference needs at least one counted repetition")
    marked = {
        "patient_id": session["patient_id"],
        "exercise_id": session["exercise_id"],
        "organisation_id": session["organisation_id"],
        "session_id": session_id,
        "marked_by": actor.principal_id,
        "marked_at": now,
    }
    if one(tx, "mark_reference", marked) is not None:
        audit.record(
            tx,
            author,
            "reference_session.mark",
            "core.reference_sessions",
            session_id,
            session_id=session_id,
            exercise_id=session["exercise_id"],
        )
    replay_retention.flag(tx, actor, author, session_id)
    return reference(tx, actor, session_id)


def unmark(tx: Tx, actor: Actor, author: Author, session_id: UUID) -> None:
    """The session is no reference any more; its replay stays flagged. Raises ``Problem`` 404 for another's session."""
    access.session(tx, actor, session_id)
    if one(tx, "unmark_reference", {"session_id": session_id}) is not None:
        audit.record(
            tx, author, "reference_session.unmark", "core.reference_sessions", session_id, session_id=session_id
        )


def reference(tx: Tx, actor: Actor, session_id: UUID) -> Row:
    """The reference this session is. Raises ``Problem`` 404 where it is none."""
    session = access.session(tx, actor, session_id)
    for each in every(tx, "references_of_patient", {"patient_id": session["patient_id"]}):
        if each["session_id"] == session_id:
            return each
    raise Problem(404, "reference_session_not_found", "the session is not a reference")


def references(tx: Tx, actor: Actor, patient_id: int) -> list[Row]:
    """A patient's references, by exercise name. Raises ``Problem`` 404."""
    access.patient(tx, actor, patient_id, lock=False)
    return every(tx, "references_of_patient", {"patient_id": patient_id})
