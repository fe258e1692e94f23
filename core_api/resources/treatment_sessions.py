"""Routes of a treatment session: open, start an exercise, complete, skip."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import falcon
import msgspec

from core_api import access, bodies, conditional
from core_api.actions import exercise_session, treatment_session
from core_api.bodies import answer, instant, path_id
from core_api.changes import Done, change
from core_api.conditional import Beside, answer_tagged
from core_api.database import Tx, every
from core_api.deps import Deps
from core_api.identity import require
from core_api.middleware import author
from core_api.pagination import Paged, give, page
from core_api.resources.treatment_plans import Prescribed
from core_api.surface import PATIENT, SPECIALIST, Answer, Operation, PageQuery, Route, parameters

Status = Literal["in_progress", "completed", "skipped"]
SessionNumber = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class ListedTreatmentSession(Answer, frozen=True, kw_only=True):
    """One sitting. Pain 0..10, difficulty 1..10; unknown is null. An exercise only started is not completed.
    ``incomplete``: a stream of its exercises ended that nobody ended; ``revision`` None: no stream has a result.
    """

    id: int
    patient_treatment_plan_id: int
    session_number: int
    status: Status
    started_at: datetime
    completed_at: datetime | None
    pain_level_before: int | None
    pain_level_after: int | None
    perceived_difficulty: int | None
    exercises_completed: int | None
    exercises_total: int | None
    duration_seconds: int | None
    incomplete: bool
    revision: int | None


class TreatmentSession(ListedTreatmentSession, frozen=True, kw_only=True):
    """One sitting with its notes and what its plan prescribes, in order. Its ETag is of all but ``incomplete`` and
    ``revision``: a result that arrives does not move it under the patient who completes the sitting.
    """

    notes: str | None
    exercises: list[Prescribed]


class Capture(Answer, frozen=True, kw_only=True):
    """What may be captured: where false, the camera or the player's events stay off."""

    pose: bool
    media: bool


class ExerciseToDo(Answer, frozen=True, kw_only=True):
    """The exercise that was started, and what was asked for: frozen with the session. A target that is None is the
    movement profile's own.
    """

    id: int
    name: str
    media_id: str | None
    prescribed_sets: int | None
    prescribed_reps: int | None
    side: Literal["left", "right", "both"] | None
    target_low_deg: float | None
    target_high_deg: float | None
    hold_ms: int | None


class StartedExercise(Answer, frozen=True, kw_only=True):
    """What streaming takes: the session, its token, the home node's URL, and where to go on from."""

    session_id: UUID
    token: str
    token_expires_at: datetime
    ingest_url: str
    elapsed_ms: int
    capture: Capture
    started_at: datetime
    exercise_log_id: int
    exercise: ExerciseToDo


class PlanSessions:
    """GET and POST /v1/patient-treatment-plans/{plan_id}/sessions"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, plan_id: str) -> None:
        actor, asked = require(req), page(parameters(req, PageQuery), "treatment-sessions", SessionNumber)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            plan = access.plan(tx, actor, path_id(plan_id, "patient_treatment_plan"), lock=False)
            values = {"plan_id": plan["id"], "before": asked.after, "fetch": asked.fetch}
            rows = every(tx, "list_treatment_sessions", values)
        answer(resp, 200, give(req, resp, asked, rows, key=lambda row: row["session_number"], item=dict))

    def on_post(self, req: falcon.Request, resp: falcon.Response, plan_id: str) -> None:
        actor, settings, now = require(req), self._deps.settings, self._deps.now()
        body = bodies.read(req, bodies.OpenSession, settings.body_max_bytes)
        started_at = instant(body.started_at, "started_at", now, allowed=settings.allow_backdated_starts)

        def work(tx: Tx) -> Done:
            session, created = treatment_session.open_session(
                tx,
                actor,
                author(req),
                self._deps.cipher,
                plan_id=path_id(plan_id, "patient_treatment_plan"),
                pain_level_before=body.pain_level_before,
                started_at=started_at,
                now=now,
            )
            return Done(201 if created else 200, session, location=_place(session))

        change(self._deps, req, resp, actor, work)


class OneTreatmentSession:
    """GET /v1/treatment-sessions/{treatment_session_id}"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, treatment_session_id: str) -> None:
        actor, wanted = require(req), path_id(treatment_session_id, "treatment_session")
        with self._deps.database.tenant(actor.organisation_id) as tx:
            session = treatment_session.treatment_session(tx, actor, self._deps.cipher, wanted)
        answer_tagged(req, resp, session)


class SessionExercises:
    """POST /v1/treatment-sessions/{treatment_session_id}/exercises: start, or go on."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_post(self, req: falcon.Request, resp: falcon.Response, treatment_session_id: str) -> None:
        actor, settings, now = require(req), self._deps.settings, self._deps.now()
        body = bodies.read(req, bodies.StartExercise, settings.body_max_bytes)
        started_at = instant(body.started_at, "started_at", now, allowed=settings.allow_backdated_starts)

        def work(tx: Tx) -> Done:
            started = exercise_session.start_exercise(
                tx,
                actor,
                author(req),
                self._deps.sessions,
                treatment_session_id=path_id(treatment_session_id, "treatment_session"),
                exercise_id=body.exercise_id,
                started_at=started_at,
                now=now,
            )
            return Done(201 if started.created else 200, started.answer, is_tagged=False)

        change(self._deps, req, resp, actor, work)


class SessionCompletion:
    """POST /v1/treatment-sessions/{treatment_session_id}/complete"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_post(self, req: falcon.Request, resp: falcon.Response, treatment_session_id: str) -> None:
        actor, if_match = require(req), conditional.given(req)
        settings, now = self._deps.settings, self._deps.now()
        body = bodies.read(req, bodies.CompleteSession, settings.body_max_bytes)
        completed_at = instant(body.completed_at, "completed_at", now, allowed=settings.allow_backdated_starts)

        def work(tx: Tx) -> Done:
            session = treatment_session.complete_session(
                tx,
                actor,
                author(req),
                self._deps.cipher,
                treatment_session_id=path_id(treatment_session_id, "treatment_session"),
                report=body,
                if_match=if_match,
                completed_at=completed_at,
                now=now,
            )
            return Done(200, session, location=_place(session))

        change(self._deps, req, resp, actor, work)


class SessionSkip:
    """POST /v1/treatment-sessions/{treatment_session_id}/skip"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_post(self, req: falcon.Request, resp: falcon.Response, treatment_session_id: str) -> None:
        actor, if_match, now = require(req), conditional.given(req), self._deps.now()
        body = bodies.read(req, bodies.SkipSession, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            session = treatment_session.skip_session(
                tx,
                actor,
                author(req),
                self._deps.cipher,
                treatment_session_id=path_id(treatment_session_id, "treatment_session"),
                notes=body.notes,
                if_match=if_match,
                now=now,
            )
            return Done(200, session, location=_place(session))

        change(self._deps, req, resp, actor, work)


def _place(session: Beside) -> str:
    return f"/v1/treatment-sessions/{session.representation['id']}"


_WHO = (PATIENT, SPECIALIST)
_MISSING = ("treatment_session_not_found",)
_TIMES = ("backdating_not_allowed", "time_out_of_range")
_ONE = "/v1/treatment-sessions/{treatment_session_id}"

ROUTES = (
    Route(
        "/v1/patient-treatment-plans/{plan_id}/sessions",
        PlanSessions,
        {
            "get": Operation(
                "The plan's treatment sessions, newest first",
                {200: Paged[ListedTreatmentSession]},
                roles=_WHO,
                query=PageQuery,
                refusals=("patient_treatment_plan_not_found",),
            ),
            "post": Operation(
                "Open a treatment session, or find the one in progress",
                {200: TreatmentSession, 201: TreatmentSession},
                roles=_WHO,
                body=bodies.OpenSession,
                refusals=("patient_treatment_plan_not_found", "plan_not_active", "erasure_open", *_TIMES),
                is_tagged=True,
            ),
        },
    ),
    Route(
        _ONE,
        OneTreatmentSession,
        {
            "get": Operation(
                "One treatment session", {200: TreatmentSession}, roles=_WHO, refusals=_MISSING, is_tagged=True
            )
        },
    ),
    Route(
        f"{_ONE}/exercises",
        SessionExercises,
        {
            "post": Operation(
                "Start an exercise, or go on with it where it is open",
                {200: StartedExercise, 201: StartedExercise},
                roles=_WHO,
                body=bodies.StartExercise,
                refusals=(
                    *_MISSING,
                    "exercise_not_found",
                    "session_not_in_progress",
                    "erasure_open",
                    "no_ingest_node",
                    *_TIMES,
                ),
                description="Changes nothing of the treatment session's representation, so it needs no If-Match.",
            )
        },
    ),
    Route(
        f"{_ONE}/complete",
        SessionCompletion,
        {
            "post": Operation(
                "Complete a treatment session",
                {200: TreatmentSession},
                roles=_WHO,
                body=bodies.CompleteSession,
                refusals=(*_MISSING, "session_not_in_progress", "erasure_open", "exercise_not_in_plan", *_TIMES),
                is_tagged=True,
                is_conditional=True,
                description="The plan's counters and status follow in the same transaction.",
            )
        },
    ),
    Route(
        f"{_ONE}/skip",
        SessionSkip,
        {
            "post": Operation(
                "Skip a treatment session",
                {200: TreatmentSession},
                roles=_WHO,
                body=bodies.SkipSession,
                refusals=(*_MISSING, "session_not_in_progress", "erasure_open"),
                is_tagged=True,
                is_conditional=True,
            )
        },
    ),
)
