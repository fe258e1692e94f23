"""The session a patient's later ones are compared with: supervised, and chosen by a specialist; one an exercise.

Its replay is the reference, so it is kept as a clinical record from then on. Here: which session it is. Not here: what
is learnt from it (``personal_references``), and the comparison, which is the movement analysis's.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from core_api import access, audit, personal_references, replay_retention
from core_api.audit import Author
from core_api.database import Row, Tx, every, one
from core_api.errors import Problem
from core_api.identity import Actor
from core_api.personal_references import Learnt, Source


def to_learn(tx: Tx, session: Row) -> Source | None:
    """What marking the session has to learn from first; None where it is the reference and its result is learnt.

    Raises ``Problem`` 409, 410 or 422, as ``personal_references.source_of``.
    """
    marked = one(tx, "reference_of_session", {"session_id": session["session_id"]})
    if marked is not None and marked["learnt_revision"] == session["revision"]:
        return None
    return personal_references.source_of(tx, session)


def mark(tx: Tx, actor: Actor, author: Author, session_id: UUID, *, learnt: Learnt | None, now: datetime) -> Row:
    """Make the session its patient's reference for its exercise, in place of any other. Raises ``Problem`` 404, 410.

    ``learnt``: what later sessions are scored against; None where that is kept already.
    """
    session = access.session(tx, actor, session_id)
    marked = {
        "patient_id": session["patient_id"],
        "exercise_id": session["exercise_id"],
        "organisation_id": session["organisation_id"],
        "session_id": session_id,
        "marked_by": actor.principal_id,
        "marked_at": now,
    }
    is_new = one(tx, "mark_reference", marked) is not None
    reference_id = None if learnt is None else personal_references.keep(tx, session, learnt, now)
    if is_new or reference_id is not None:
        audit.record(
            tx,
            author,
            "reference_session.mark",
            "core.reference_sessions",
            session_id,
            session_id=session_id,
            exercise_id=session["exercise_id"],
            revision=session["revision"],
            personal_reference_id=reference_id,
        )
    replay_retention.flag(tx, actor, author, session_id)
    return reference(tx, actor, session_id)


def unmark(tx: Tx, actor: Actor, author: Author, session_id: UUID, now: datetime) -> None:
    """The session is no reference any more, and later ones are scored as everybody's; its replay stays flagged.

    Raises ``Problem`` 404 for another's session.
    """
    access.session(tx, actor, session_id)
    marked = one(tx, "unmark_reference", {"session_id": session_id})
    if marked is not None:
        personal_references.end(tx, marked["patient_id"], marked["exercise_id"], now)
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
