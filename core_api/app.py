"""The Core API's app over its routes. Composition is the caller's: ``wsgi.py`` in production, tests otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import falcon

from core_api import errors, openapi
from core_api.deps import Deps
from core_api.middleware import Authentication, Cors, RequestLog
from core_api.resources import (
    consents,
    console,
    erasures,
    exercise_logs,
    exercises,
    form_templates,
    forms,
    health,
    organisation,
    patient_plans,
    patients,
    plan_reads,
    service_plans,
    session_marks,
    session_reads,
    specialists,
    treatment_plans,
    treatment_sessions,
)
from core_api.surface import Operation, Route

WsgiApp = falcon.App[falcon.Request, falcon.Response]

_MODULES = (
    health,
    exercises,
    treatment_plans,
    service_plans,
    form_templates,
    specialists,
    patients,
    consents,
    erasures,
    patient_plans,
    treatment_sessions,
    exercise_logs,
    forms,
    plan_reads,
    session_reads,
    session_marks,
    organisation,
    console,
)
ROUTES: tuple[Route, ...] = (
    *(route for module in _MODULES for route in module.ROUTES),
    Route(
        "/openapi.json",
        lambda deps: health.Description(openapi.document(deps.settings, ROUTES)),
        {"get": Operation("This document", {200: dict})},
    ),
)


def create_app(deps: Deps, routes: Sequence[Route] = ROUTES) -> WsgiApp:
    """The WSGI app over ``deps``. Raises ``ValueError`` for a resource whose methods are not those it declares."""
    app: WsgiApp = falcon.App(
        middleware=[
            RequestLog(deps.metrics, deps.database),
            Cors(deps.settings.portal_origins),
            Authentication(deps.verifier, routes),
        ]
    )
    app.req_options.strip_url_path_trailing_slash = False
    errors.register(app)
    for route in routes:
        resource = route.resource(deps)
        _check_declared(route, resource)
        app.add_route(route.path, resource)
    return app


def _check_declared(route: Route, resource: object) -> None:
    """A method nobody declared would be served without a role check and be missing from the document."""
    served = {name.removeprefix("on_") for name in dir(resource) if name.startswith("on_")}
    if served != set(route.operations):
        raise ValueError(f"{route.path}: serves {sorted(served)}, declares {sorted(route.operations)}")
