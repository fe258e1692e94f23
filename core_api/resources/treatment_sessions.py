"""Routes of a treatment session: open, start an exercise, complete, skip, submit a form."""

from __future__ import annotations

import falcon

from core_api import bodies
from core_api.actions import exercise_session, form, treatment_session
from core_api.bodies import answer, instant, path_id
from core_api.deps import Deps
from core_api.identity import require
from core_api.middleware import author


class PlanSessions:
    """POST /v1/patient-treatment-plans/{plan_id}/sessions: open, or find the one in progress."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_post(self, req: falcon.Request, resp: falcon.Response, plan_id: str) -> None:
        actor = require(req, "patient", "specialist")
        settings, now = self._deps.settings, self._deps.now()
        body = bodies.read(req, bodies.OpenSession, settings.body_max_bytes)
        started_at = instant(body.started_at, "started_at", now, allowed=settings.allow_backdated_starts)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            session, created = treatment_session.open_session(
                tx,
                actor,
                author(req),
                path_id(plan_id, "patient_treatment_plan"),
                pain_level_before=body.pain_level_before,
                started_at=started_at,
                now=now,
            )
        answer(resp, 201 if created else 200, {k: v for k, v in session.items() if k != "organisation_id"})


class SessionExercises:
    """POST /v1/treatment-sessions/{treatment_session_id}/exercises: start, or go on."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_post(self, req: falcon.Request, resp: falcon.Response, treatment_session_id: str) -> None:
        actor = require(req, "patient", "specialist")
        settings, now = self._deps.settings, self._deps.now()
        body = bodies.read(req, bodies.StartExercise, settings.body_max_bytes)
        started_at = instant(body.started_at, "started_at", now, allowed=settings.allow_backdated_starts)
        with self._deps.database.tenant(actor.organisation_id) as tx:
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
        answer(resp, 201 if started.created else 200, started.answer)


class SessionCompletion:
    """POST /v1/treatment-sessions/{treatment_session_id}/complete"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_post(self, req: falcon.Request, resp: falcon.Response, treatment_session_id: str) -> None:
        actor = require(req, "patient", "specialist")
        settings, now = self._deps.settings, self._deps.now()
        body = bodies.read(req, bodies.CompleteSession, settings.body_max_bytes)
        completed_at = instant(body.completed_at, "completed_at", now, allowed=settings.allow_backdated_starts)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            session = treatment_session.complete_session(
                tx,
                actor,
                author(req),
                path_id(treatment_session_id, "treatment_session"),
                body,
                completed_at=completed_at,
                now=now,
            )
        answer(resp, 200, session)


class SessionSkip:
    """POST /v1/treatment-sessions/{treatment_session_id}/skip"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_post(self, req: falcon.Request, resp: falcon.Response, treatment_session_id: str) -> None:
        actor = require(req, "patient", "specialist")
        bodies.read(req, bodies.SkipSession, self._deps.settings.body_max_bytes)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            session = treatment_session.skip_session(
                tx, actor, author(req), path_id(treatment_session_id, "treatment_session"), now=self._deps.now()
            )
        answer(resp, 200, session)


class SessionForms:
    """POST /v1/treatment-sessions/{treatment_session_id}/forms"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_post(self, req: falcon.Request, resp: falcon.Response, treatment_session_id: str) -> None:
        actor = require(req, "patient", "specialist")
        body = bodies.read(req, bodies.SubmitForm, self._deps.settings.body_max_bytes)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            submitted = form.submit_form(
                tx,
                actor,
                author(req),
                self._deps.cipher,
                treatment_session_id=path_id(treatment_session_id, "treatment_session"),
                form_template_id=body.form_template_id,
                responses=body.responses,
                now=self._deps.now(),
            )
        answer(resp, 201, submitted)
