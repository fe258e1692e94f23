"""How long a session's replay is kept: flagged as clinically relevant, or not, inside the caller's transaction.

The row decides; the object's tag follows it (``core_api.retag``). Only the replay blob: the media events object beside
it keeps its own tag. Taking the flag off a session whose replay the default period would have removed already removes
it, so that is asked back first.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from core_api import access, audit
from core_api.audit import Author
from core_api.database import Row, Tx, one, run, the
from core_api.errors import Problem
from core_api.identity import Actor
from pipelines.retention.policy import Policy

CLINICAL, DEFAULT = "clinical", "default"


def kept_for(policy: Policy, retention: str) -> timedelta:
    """How long a replay of this retention is kept, from the moment it was sealed. Raises ``LookupError``."""
    for rule in policy.objects:
        if rule.tag == retention:
            return timedelta(days=rule.kept_days)
    raise LookupError(f"the policy has no objects tagged {retention!r}")


def without_replay(session: Row) -> Problem:
    """What to answer for a session that has no blob (any more): 410 ``replay_gone`` where retention or an erasure took
    it, else 404 ``replay_not_found``. What is left of an expired one is how large it was.
    """
    if session["state"] == "erased" or session["blob_bytes"] is not None:
        return Problem(410, "replay_gone", "the session's replay has expired or was deleted")
    return Problem(404, "replay_not_found", "the session never had a replay")


def flag(tx: Tx, actor: Actor, author: Author, session_id: UUID) -> Row:
    """Keep the session's replay as long as clinical records. Saying it again changes nothing. Raises ``Problem`` 404
    or 410 for a session that has no replay (any more), 404 for another's.
    """
    session = access.session(tx, actor, session_id)
    if session["blob_key"] is None and session["state"] in ("finalised", "erased"):
        raise without_replay(session)
    if one(tx, "set_retention", {"session_id": session_id, "retention": CLINICAL}) is not None:
        _owe(tx, session_id, session["blob_key"] is not None, None)
        audit.record(tx, author, "session.flag_clinical", "telemetry.sessions", session_id, session_id=session_id)
    return access.session(tx, actor, session_id)


def unflag(
    tx: Tx, actor: Actor, author: Author, session_id: UUID, *, policy: Policy, now: datetime, is_confirmed: bool
) -> Row:
    """Keep the session's replay no longer than any other. Raises ``Problem`` 404; 409 while the session is the
    patient's reference, or where the replay would go at once and that is not confirmed.
    """
    session = access.session(tx, actor, session_id)
    if one(tx, "reference_of_session", {"session_id": session_id}) is not None:
        raise Problem(409, "session_is_reference", "the patient's reference keeps its replay: choose another first")
    if session["retention"] == DEFAULT:
        return session
    goes = _is_past(session, kept_for(policy, DEFAULT), now)
    if goes and not is_confirmed:
        detail = f"its replay is older than {kept_for(policy, DEFAULT).days} days and would be deleted for good"
        raise Problem(409, "confirmation_needed", f"{detail}: repeat with confirm=delete-replay")
    run(tx, "set_retention", {"session_id": session_id, "retention": DEFAULT})
    deleted_key = the(tx, "forget_replay", {"session_id": session_id})["deleted_key"] if goes else None
    _owe(tx, session_id, session["blob_key"] is not None, deleted_key)
    audit.record(
        tx,
        author,
        "session.unflag_clinical",
        "telemetry.sessions",
        session_id,
        session_id=session_id,
        replay_deleted=goes,
    )
    return access.session(tx, actor, session_id)


def _is_past(session: Row, kept: timedelta, now: datetime) -> bool:
    """Whether the default period, counted from when the blob was sealed, is over."""
    if session["blob_key"] is None or session["finalised_at"] is None:
        return False
    sealed_at: datetime = session["finalised_at"]
    return now - sealed_at >= kept


def _owe(tx: Tx, session_id: UUID, has_object: bool, deleted_key: str | None) -> None:
    # A session that is not sealed yet owes nothing: the seal looks at the row when it tags.
    if has_object:
        run(tx, "insert_retag", {"session_id": session_id, "deleted_key": deleted_key})
