"""The Core API's routes. Composition is the caller's: ``wsgi.py`` in production, tests otherwise."""

from __future__ import annotations

import falcon

from core_api import errors
from core_api.deps import Deps
from core_api.middleware import Authentication, Cors, RequestLog
from core_api.resources import consents, health, organisation, plan_reads, session_reads, treatment_sessions

WsgiApp = falcon.App[falcon.Request, falcon.Response]


def create_app(deps: Deps) -> WsgiApp:
    """The WSGI app over ``deps``."""
    app: WsgiApp = falcon.App(
        middleware=[
            RequestLog(),
            Cors(deps.settings.portal_origins),
            Authentication(deps.verifier),
        ]
    )
    errors.register(app)
    app.add_route("/healthz", health.Health())
    app.add_route("/readyz", health.Readiness(deps))
    app.add_route("/.well-known/jwks.json", health.SessionKeys(deps))
    plan = "/v1/patient-treatment-plans/{plan_id}"
    app.add_route(f"{plan}/sessions", treatment_sessions.PlanSessions(deps))
    app.add_route(f"{plan}/progress", plan_reads.PlanProgress(deps))
    app.add_route(f"{plan}/analytics", plan_reads.PlanAnalytics(deps))
    sitting = "/v1/treatment-sessions/{treatment_session_id}"
    app.add_route(f"{sitting}/exercises", treatment_sessions.SessionExercises(deps))
    app.add_route(f"{sitting}/complete", treatment_sessions.SessionCompletion(deps))
    app.add_route(f"{sitting}/skip", treatment_sessions.SessionSkip(deps))
    app.add_route(f"{sitting}/forms", treatment_sessions.SessionForms(deps))
    app.add_route("/v1/patients/{patient_id}/consents", consents.PatientConsents(deps))
    app.add_route("/v1/sessions/{session_id}", session_reads.Session(deps))
    app.add_route("/v1/sessions/{session_id}/replay", session_reads.SessionReplay(deps))
    app.add_route("/v1/organisations/{organisation_id}/dashboard", organisation.OrganisationDashboard(deps))
    return app
