"""One ``session.finalised`` event, applied inside the caller's transaction.

A revision replaces every row of the session at once; one that is not newer than what was applied changes nothing, so
applying twice, or out of order, equals applying the newest once. Rows are keyed by the session's own ``started_at``,
so a revision never changes partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from core_api.queries import query
from pipelines.finalise.payload import SessionFinalised

_REPLACED = ("pose_session", "pose_reps", "media_views", "media_stalls")


class ResultRefused(ValueError):  # noqa: N818
    """A result that does not belong to the session it names; applying it again will not help."""


def apply_result(transaction: Connection[Any], result: SessionFinalised) -> bool:
    """Apply ``result``; False where it is not newer than what was applied, or the session is erased.

    ``transaction`` runs as role ``restartix_subscriber`` with the result's organisation as its tenant.
    Raises ``ResultRefused``.
    """
    session = _lock(transaction, result.session_id)
    _check(session, result)
    if result.revision <= session["applied_revision"] or session["state"] == "erased":
        return False
    scope = {
        "session_id": result.session_id,
        "started_at": session["started_at"],
        "organisation_id": session["organisation_id"],
        "patient_id": session["patient_id"],
        "exercise_id": session["exercise_id"],
        "patient_exercise_log_id": session["patient_exercise_log_id"],
        "revision": result.revision,
    }
    transaction.execute(query("hold_sitting"), scope)  # before its log, as a completion does
    for what in _REPLACED:
        transaction.execute(query(f"delete_{what}"), scope)
    _insert_pose(transaction, scope, result)
    _insert_media(transaction, scope, result)
    transaction.execute(
        query("fill_exercise_log"),
        {
            **scope,
            "counted_reps": result.pose.rep_count if result.pose else None,
            "pose_accuracy_score": result.pose.average_form_score if result.pose else None,
            "video_watch_percentage": result.media.watch_percentage if result.media else None,
            "incomplete": result.incomplete,
        },
    )
    transaction.execute(query("recount_exercises"), scope)
    transaction.execute(query("mark_applied"), scope)
    return True


def _lock(transaction: Connection[Any], session_id: UUID) -> dict[str, Any]:
    with transaction.cursor(row_factory=dict_row) as cursor:
        session = cursor.execute(query("session_to_apply"), {"session_id": session_id}).fetchone()
    if session is None:
        raise ResultRefused(f"no session {session_id} in this organisation")
    return session


def _check(session: dict[str, Any], result: SessionFinalised) -> None:
    for name in ("organisation_id", "patient_id", "exercise_id", "patient_exercise_log_id", "started_at"):
        if getattr(result, name) != session[name]:
            raise ResultRefused(f"session {result.session_id}: {name} differs from the session's")


def _insert_pose(transaction: Connection[Any], scope: dict[str, Any], result: SessionFinalised) -> None:
    if result.pose is None:
        return
    pose = msgspec.structs.asdict(result.pose)
    values = {**pose, **scope, "end_reason": result.end_reason, "incomplete": result.incomplete}
    transaction.execute(query("insert_pose_session"), values)
    ranges = result.rep_byte_ranges or (None,) * len(result.pose.reps)
    rows = [
        {
            **msgspec.structs.asdict(rep),
            **scope,
            "byte_offset": None if span is None else span.offset,
            "byte_length": None if span is None else span.length,
        }
        for rep, span in zip(result.pose.reps, ranges, strict=True)
    ]
    _insert_all(transaction, "insert_pose_reps", rows)


def _insert_media(transaction: Connection[Any], scope: dict[str, Any], result: SessionFinalised) -> None:
    if result.media is None:
        return
    views = [
        {**msgspec.structs.asdict(view), **scope, "quality_seconds": Jsonb(view.quality_seconds)}
        for view in result.media.views
    ]
    _insert_all(transaction, "insert_media_views", views)
    stalls = [{**msgspec.structs.asdict(stall), **scope} for stall in result.media.stalls]
    _insert_all(transaction, "insert_media_stalls", stalls)


def _insert_all(transaction: Connection[Any], name: str, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        with transaction.cursor() as cursor:
            cursor.executemany(query(name), rows)
