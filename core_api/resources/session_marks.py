"""Routes by which a specialist marks a session: clinically relevant, or the patient's own reference.

Each is a small resource with an ETag: read it, then change it under If-Match.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import falcon
import msgspec
import psycopg
import structlog

from core_api import access, conditional, personal_references, reference_sessions, replay_retention
from core_api.bodies import answer, path_id, path_uuid
from core_api.database import Row, Tx, one, run
from core_api.deps import Deps
from core_api.identity import Actor, require
from core_api.middleware import author
from core_api.resources.session_answers import ClinicalFlag, ReferenceMark, ReferenceSession, ReferenceSessions
from core_api.retag import Retagger
from core_api.surface import PATIENT, SPECIALIST, Operation, Query, Route, parameters
from pipelines.retention import policy

log = structlog.get_logger(__name__)


class Confirmation(Query, frozen=True, kw_only=True):
    """Said where taking the flag off would delete the replay at once."""

    confirm: Literal["delete-replay"] | None = None


class SessionFlag:
    """GET, PUT and DELETE /v1/sessions/{session_id}/clinical-flag"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, session_id: str) -> None:
        actor = require(req, SPECIALIST)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            shown = _flag(access.session(tx, actor, path_uuid(session_id, "session")))
        conditional.answer_tagged(req, resp, shown)

    def on_put(self, req: falcon.Request, resp: falcon.Response, session_id: str) -> None:
        actor, if_match = require(req, SPECIALIST), conditional.given(req)
        wanted = path_uuid(session_id, "session")
        with self._deps.database.tenant(actor.organisation_id) as tx:
            conditional.check(if_match, _flag(_locked(tx, actor, wanted)))
            shown = _flag(replay_retention.flag(tx, actor, author(req), wanted))
        _follow(self._deps, actor, wanted)
        _answer_changed(resp, shown)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, session_id: str) -> None:
        actor, if_match = require(req, SPECIALIST), conditional.given(req)
        wanted, said = path_uuid(session_id, "session"), parameters(req, Confirmation)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            conditional.check(if_match, _flag(_locked(tx, actor, wanted)))
            session = replay_retention.unflag(
                tx,
                actor,
                author(req),
                wanted,
                policy=policy.load(),
                now=self._deps.now(),
                is_confirmed=said.confirm is not None,
            )
            shown = _flag(session)
        _follow(self._deps, actor, wanted)
        _answer_changed(resp, shown)


class SessionReference:
    """GET, PUT and DELETE /v1/sessions/{session_id}/reference"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, session_id: str) -> None:
        actor = require(req, SPECIALIST)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            shown = _mark(tx, access.session(tx, actor, path_uuid(session_id, "session")))
        conditional.answer_tagged(req, resp, shown)

    def on_put(self, req: falcon.Request, resp: falcon.Response, session_id: str) -> None:
        actor, if_match = require(req, SPECIALIST), conditional.given(req)
        wanted = path_uuid(session_id, "session")
        with self._deps.database.tenant(actor.organisation_id) as tx:
            session = access.session(tx, actor, wanted)
            conditional.check(if_match, _mark(tx, session))
            source = reference_sessions.to_learn(tx, session)
        # No connection is held while the replay is read; what changed meanwhile, the tag below tells.
        learnt = None if source is None else personal_references.learn(self._deps.blobs, self._deps.heavy_work, source)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            conditional.check(if_match, _mark(tx, _locked(tx, actor, wanted)))
            reference_sessions.mark(tx, actor, author(req), wanted, learnt=learnt, now=self._deps.now())
            shown = _mark(tx, access.session(tx, actor, wanted))
        _follow(self._deps, actor, wanted)
        _answer_changed(resp, shown)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, session_id: str) -> None:
        actor, if_match = require(req, SPECIALIST), conditional.given(req)
        wanted = path_uuid(session_id, "session")
        with self._deps.database.tenant(actor.organisation_id) as tx:
            conditional.check(if_match, _mark(tx, _locked(tx, actor, wanted)))
            reference_sessions.unmark(tx, actor, author(req), wanted, self._deps.now())
            shown = _mark(tx, access.session(tx, actor, wanted))
        _answer_changed(resp, shown)


class PatientReferences:
    """GET /v1/patients/{patient_id}/reference-sessions"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, patient_id: str) -> None:
        actor, wanted = require(req, PATIENT, SPECIALIST), path_id(patient_id, "patient")
        with self._deps.database.tenant(actor.organisation_id) as tx:
            rows = reference_sessions.references(tx, actor, wanted)
        items = msgspec.convert(rows, list[ReferenceSession])
        answer(resp, 200, ReferenceSessions(patient_id=wanted, items=items))


def _follow(deps: Deps, actor: Actor, session_id: UUID) -> None:
    """Bring the object along now if that works; what is owed is written already."""
    try:
        Retagger(deps.database, deps.blobs, deps.metrics).settle(actor.organisation_id, session_id)
    except psycopg.Error as error:
        log.warning("retag_put_off", session_id=str(session_id), error=type(error).__name__)


def _locked(tx: Tx, actor: Actor, session_id: UUID) -> Row:
    """The session, held to the transaction's end together with its patient's other marks. Raises ``Problem`` 404."""
    session = access.session(tx, actor, session_id)
    access.patient(tx, actor, session["patient_id"], lock=True)
    run(tx, "lock_session", {"session_id": session_id})
    return access.session(tx, actor, session_id)


def _flag(session: Row) -> ClinicalFlag:
    is_sealed = session["blob_key"] is not None and session["finalised_at"] is not None
    kept_for = replay_retention.kept_for(policy.load(), session["retention"])
    return ClinicalFlag(
        session_id=session["session_id"],
        revision=session["revision"],
        incomplete=session["incomplete"],
        is_clinical=session["retention"] == replay_retention.CLINICAL,
        has_replay=session["blob_key"] is not None,
        kept_until=session["finalised_at"] + kept_for if is_sealed else None,
    )


def _mark(tx: Tx, session: Row) -> ReferenceMark:
    reference = one(tx, "reference_of_session", {"session_id": session["session_id"]})
    return ReferenceMark(
        session_id=session["session_id"],
        revision=session["revision"],
        incomplete=session["incomplete"],
        patient_id=session["patient_id"],
        exercise_id=session["exercise_id"],
        is_reference=reference is not None,
        marked_at=None if reference is None else reference["marked_at"],
        learnt_revision=None if reference is None else reference["learnt_revision"],
        movement_profile=None if reference is None else reference["movement_profile"],
        rep_count=None if reference is None else reference["rep_count"],
    )


def _answer_changed(resp: falcon.Response, shown: ClinicalFlag | ReferenceMark) -> None:
    resp.set_header("ETag", conditional.tag_of(shown))
    answer(resp, 200, shown)


ROUTES = (
    Route(
        "/v1/sessions/{session_id}/clinical-flag",
        SessionFlag,
        {
            "get": Operation(
                "Whether the replay is kept as a clinical record",
                {200: ClinicalFlag},
                (SPECIALIST,),
                refusals=("session_not_found",),
                is_tagged=True,
            ),
            "put": Operation(
                "Keep the replay as a clinical record",
                {200: ClinicalFlag},
                (SPECIALIST,),
                refusals=("session_not_found", "replay_not_found", "replay_gone"),
                is_tagged=True,
                is_conditional=True,
            ),
            "delete": Operation(
                "Keep the replay no longer than any other",
                {200: ClinicalFlag},
                (SPECIALIST,),
                query=Confirmation,
                refusals=("session_not_found", "session_is_reference", "confirmation_needed"),
                is_tagged=True,
                is_conditional=True,
                description="Where the replay is older than replays are kept without the flag, this deletes it for good"
                " and must be confirmed with `confirm=delete-replay`.",
            ),
        },
    ),
    Route(
        "/v1/sessions/{session_id}/reference",
        SessionReference,
        {
            "get": Operation(
                "Whether the session is its patient's reference",
                {200: ReferenceMark},
                (SPECIALIST,),
                refusals=("session_not_found",),
                is_tagged=True,
            ),
            "put": Operation(
                "Make the session its patient's reference for its exercise",
                {200: ReferenceMark},
                (SPECIALIST,),
                refusals=(
                    "session_not_found",
                    "session_not_usable",
                    "replay_not_ready",
                    "replay_not_found",
                    "replay_gone",
                    "exercise_not_comparable",
                    "too_few_repetitions",
                    "session_too_long",
                    "busy_computing",
                    "replay_store_unavailable",
                ),
                is_tagged=True,
                is_conditional=True,
                description="In place of any other of that exercise. Its repetitions are learnt from the replay, and"
                " sessions that start from now on are scored against them. Flags it as clinically relevant too.",
            ),
            "delete": Operation(
                "Take the mark off",
                {200: ReferenceMark},
                (SPECIALIST,),
                refusals=("session_not_found",),
                is_tagged=True,
                is_conditional=True,
            ),
        },
    ),
    Route(
        "/v1/patients/{patient_id}/reference-sessions",
        PatientReferences,
        {
            "get": Operation(
                "A patient's references, one an exercise",
                {200: ReferenceSessions},
                (PATIENT, SPECIALIST),
                refusals=("patient_not_found",),
            )
        },
    ),
)
