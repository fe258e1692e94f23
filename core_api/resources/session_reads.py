"""Routes that read one exercise session: its numbers, and its replay."""

from __future__ import annotations

from datetime import timedelta

import falcon

from core_api import access, audit
from core_api.bodies import answer, path_uuid
from core_api.database import Row, Tx, every, one
from core_api.deps import Deps
from core_api.errors import Problem
from core_api.identity import require
from core_api.middleware import author
from core_api.replay import rep_ranges

_STATE = (
    "session_id",
    "treatment_session_id",
    "state",
    "started_at",
    "last_received_at",
    "ended_at",
    "end_reason",
    "incomplete",
    "revision",
    "applied_revision",
    "finalised_at",
    "applied_at",
    "algorithm_version",
    "retention",
)
_LOG = (
    "prescribed_sets",
    "prescribed_reps",
    "actual_sets",
    "actual_reps",
    "actual_reps_source",
    "video_watch_percentage",
    "pose_accuracy_score",
    "skipped",
)
_COUNTS = ("accepted_records", "batches_in_blob", "batches_duplicate", "batches_dropped_for_consent")


class Session:
    """GET /v1/sessions/{session_id}: state, aggregates, repetitions and views. ``pose`` is None while there is none."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, session_id: str) -> None:
        actor = require(req, "patient", "specialist")
        with self._deps.database.tenant(actor.organisation_id) as tx:
            detail = _detail(tx, access.session(tx, actor, path_uuid(session_id, "session")))
        answer(resp, 200, detail)


class SessionReplay:
    """GET /v1/sessions/{session_id}/replay: where the landmark stream can be read, for a few minutes."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, session_id: str) -> None:
        actor = require(req, "specialist")
        lifetime_s, now = self._deps.settings.replay_url_s, self._deps.now()
        with self._deps.database.tenant(actor.organisation_id) as tx:
            session = access.session(tx, actor, path_uuid(session_id, "session"))
            _check_replayable(session)
            scope = {name: session[name] for name in ("session_id", "started_at", "revision")}
            members, reps = every(tx, "blob_members", scope), every(tx, "session_reps", scope)
            audit.record(
                tx,
                author(req),
                "replay.mint",
                "telemetry.sessions",
                session["session_id"],
                session_id=session["session_id"],
                revision=session["revision"],
                lifetime_s=lifetime_s,
            )
            # Inside the transaction: no URL without its audit row, and a failure to commit gives no URL.
            url = self._deps.blobs.presign(session["blob_key"], session["blob_version_id"] or "null", lifetime_s)
        body = {
            "session_id": session["session_id"],
            "revision": session["revision"],
            "incomplete": session["incomplete"],
            "url": url,
            "expires_at": now + timedelta(seconds=lifetime_s),
            "version_id": session["blob_version_id"],
            "bytes": session["blob_bytes"],
            "members": members,
            "reps": rep_ranges(reps, members),
        }
        answer(resp, 200, body)


def _check_replayable(session: Row) -> None:
    if session["state"] in ("open", "ended"):
        raise Problem(409, "replay_not_ready", "the session is not finalised yet", headers={"Retry-After": "5"})
    if session["blob_key"] is None or session["state"] == "erased":
        raise Problem(404, "replay_not_found", "the session has no replay")


def _detail(tx: Tx, session: Row) -> Row:
    scope = {"session_id": session["session_id"], "started_at": session["started_at"]}
    return {
        **{name: session[name] for name in _STATE},
        "exercise": {"id": session["exercise_id"], "name": session["exercise_name"]},
        "log": {"id": session["patient_exercise_log_id"], **{name: session[name] for name in _LOG}},
        "counts": {name: session[name] for name in _COUNTS},
        "pose": one(tx, "session_pose", scope),
        "reps": every(tx, "session_reps", scope),
        "views": every(tx, "session_views", scope),
        "stalls": every(tx, "session_stalls", scope),
    }
