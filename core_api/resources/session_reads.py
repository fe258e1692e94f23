"""Routes that read one exercise session, live: its numbers, and where its replay lies."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import falcon
import msgspec

from core_api import access, audit
from core_api.bodies import answer, path_uuid
from core_api.database import Row, Tx, every, one
from core_api.deps import Deps
from core_api.errors import Problem
from core_api.identity import require
from core_api.middleware import author
from core_api.replay import byte_run, cycle_of, rep_ranges
from core_api.replay_retention import without_replay
from core_api.resources.session_answers import (
    ByteStretch,
    LogFigures,
    Member,
    Movement,
    NamedExercise,
    RecordCounts,
    Rep,
    RepBytes,
    Replay,
    SessionDetail,
    Stall,
    UsedReference,
    View,
)
from core_api.surface import PATIENT, SPECIALIST, Operation, Query, Route, parameters

INT_MAX = 2**31 - 1

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=INT_MAX)]


class Stretch(Query, frozen=True, kw_only=True):
    """A repetition by its number, or a stretch of time in ms since the session's start (both ends included)."""

    rep: Annotated[int, msgspec.Meta(ge=1, le=INT_MAX)] | None = None
    from_ms: Milliseconds | None = None
    to_ms: Milliseconds | None = None


class Session:
    """GET /v1/sessions/{session_id}: state, aggregates, repetitions and views. ``pose`` is None while there is none."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, session_id: str) -> None:
        actor = require(req, PATIENT, SPECIALIST)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            detail = _detail(tx, access.session(tx, actor, path_uuid(session_id, "session")))
        answer(resp, 200, detail)


class SessionReplay:
    """GET /v1/sessions/{session_id}/replay: where the landmark stream can be read, for a few minutes."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, session_id: str) -> None:
        actor = require(req, SPECIALIST)
        asked = _checked(parameters(req, Stretch))
        lifetime_s, now = self._deps.settings.replay_url_s, self._deps.now()
        with self._deps.database.tenant(actor.organisation_id) as tx:
            session = access.session(tx, actor, path_uuid(session_id, "session"))
            _check_replayable(session)
            stretch, members, reps = _located(tx, session, asked)
            audit.record(
                tx,
                author(req),
                "replay.mint",
                "telemetry.sessions",
                session["session_id"],
                session_id=session["session_id"],
                revision=session["revision"],
                lifetime_s=lifetime_s,
                **{name: value for name, value in msgspec.structs.asdict(asked).items() if value is not None},
            )
            # Inside the transaction: no URL without its audit row, and a failure to commit gives no URL.
            url = self._deps.blobs.presign(session["blob_key"], session["blob_version_id"] or "null", lifetime_s)
        replay = Replay(
            session_id=session["session_id"],
            revision=session["revision"],
            incomplete=session["incomplete"],
            url=url,
            expires_at=now + timedelta(seconds=lifetime_s),
            version_id=session["blob_version_id"],
            bytes=session["blob_bytes"],
            stretch=stretch,
            members=msgspec.convert(members, list[Member]),
            reps=msgspec.convert(rep_ranges(reps, members), list[RepBytes]),
        )
        answer(resp, 200, replay)


def _checked(asked: Stretch) -> Stretch:
    if asked.rep is not None and (asked.from_ms, asked.to_ms) != (None, None):
        raise _invalid("rep", "a repetition or a stretch of time, not both")
    if asked.from_ms is not None and asked.to_ms is not None and asked.from_ms > asked.to_ms:
        raise _invalid("to_ms", "the stretch ends before it begins")
    return asked


def _invalid(name: str, message: str) -> Problem:
    return Problem(422, "invalid_parameter", f"{name}: {message}", errors=[{"field": name, "message": message}])


def _check_replayable(session: Row) -> None:
    if session["state"] in ("open", "ended"):
        raise Problem(409, "replay_not_ready", "the session is not finalised yet", headers={"Retry-After": "5"})
    if session["blob_key"] is None or session["state"] == "erased":
        raise without_replay(session)


def _located(tx: Tx, session: Row, asked: Stretch) -> tuple[ByteStretch | None, list[Row], list[Row]]:
    """The stretch asked for, the members it lies in and the repetition asked for; without a stretch, all there are."""
    scope = {"session_id": session["session_id"], "started_at": session["started_at"], "revision": session["revision"]}
    if asked.rep is not None:
        rep = one(tx, "session_rep", {**scope, "rep_number": asked.rep})
        if rep is None:
            raise _nothing(f"the session has no repetition {asked.rep}")
        reps, (start_ms, end_ms) = [rep], cycle_of(rep)
    elif (asked.from_ms, asked.to_ms) != (None, None):
        reps, start_ms = [], asked.from_ms or 0
        end_ms = INT_MAX if asked.to_ms is None else asked.to_ms
    else:
        members = every(tx, "blob_members", {**scope, "from_ms": 0, "to_ms": INT_MAX})
        return None, members, every(tx, "session_reps", scope)
    members = every(tx, "blob_members", {**scope, "from_ms": start_ms, "to_ms": end_ms})
    run = byte_run(members, start_ms, end_ms)
    if run is None:
        raise _nothing("no frame of the session lies in that stretch")
    stretch = ByteStretch(
        rep_number=asked.rep,
        start_ms=start_ms,
        end_ms=end_ms,
        byte_offset=run.offset,
        byte_length=run.length,
        http_range=run.http_range,
    )
    return stretch, members, reps


def _nothing(detail: str) -> Problem:
    return Problem(404, "replay_stretch_not_found", detail)


def _detail(tx: Tx, session: Row) -> SessionDetail:
    scope = {"session_id": session["session_id"], "started_at": session["started_at"]}
    shown = {
        **session,
        "exercise": NamedExercise(id=session["exercise_id"], name=session["exercise_name"]),
        "log": msgspec.convert({**session, "id": session["patient_exercise_log_id"]}, LogFigures),
        "counts": msgspec.convert(session, RecordCounts),
        "personal_reference": msgspec.convert(session["personal_reference"], UsedReference | None),
        "pose": msgspec.convert(one(tx, "session_pose", scope), Movement | None),
        "reps": msgspec.convert(every(tx, "session_reps", scope), list[Rep]),
        "views": msgspec.convert(every(tx, "session_views", scope), list[View]),
        "stalls": msgspec.convert(every(tx, "session_stalls", scope), list[Stall]),
    }
    return SessionDetail(**{name: shown[name] for name in SessionDetail.__struct_fields__})


ROUTES = (
    Route(
        "/v1/sessions/{session_id}",
        Session,
        {
            "get": Operation(
                "One exercise session with its repetitions and views",
                {200: SessionDetail},
                (PATIENT, SPECIALIST),
                refusals=("session_not_found",),
            )
        },
    ),
    Route(
        "/v1/sessions/{session_id}/replay",
        SessionReplay,
        {
            "get": Operation(
                "A short-lived URL of the replay, whole or a stretch of it",
                {200: Replay},
                (SPECIALIST,),
                query=Stretch,
                refusals=(
                    "session_not_found",
                    "replay_not_ready",
                    "replay_not_found",
                    "replay_gone",
                    "replay_stretch_not_found",
                ),
                description="With `rep`, or `from_ms` and `to_ms`, `stretch` is the byte range of the whole gzip"
                " members that hold it: one ranged GET of the URL fetches that and nothing else. Each URL is audited.",
            )
        },
    ),
)
