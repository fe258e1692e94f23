"""The applications over what they are given: routes, CORS, and every error as a problem document."""

from __future__ import annotations

from typing import Any, NamedTuple

import falcon
import structlog

from ingest_service import openapi, problems
from ingest_service.cors import CorsMiddleware
from ingest_service.ending import Ender
from ingest_service.endpoints import POSE_PATH, Description, Health, Intake, MediaEvents, PoseFrames, SessionEnd
from ingest_service.gate import WsgiApp
from ingest_service.metrics import Metrics
from ingest_service.pose_path import PosePath
from ingest_service.problems import ProblemError
from ingest_service.settings import Settings

_MEDIA_PATH = "/v1/media/events"
_END_PATH = "/v1/sessions/{session_id:uuid}/end"

log = structlog.get_logger(__name__)


class Deps(NamedTuple):
    """All the application needs from outside."""

    intake: Intake
    ender: Ender
    health: Health


def create_app(deps: Deps) -> WsgiApp:
    """The service."""
    settings = deps.intake.settings
    cors = CorsMiddleware(settings.portal_origins, settings.preflight_max_age_s)
    app = _app(settings, deps.health, deps.intake.metrics, cors)
    frames = PoseFrames(deps.intake)
    app.add_route(POSE_PATH, frames)
    app.add_route(_MEDIA_PATH, MediaEvents(deps.intake))
    app.add_route(_END_PATH, SessionEnd(deps.intake, deps.ender))
    return PosePath(frames, cors, app)


def create_recovering_app(settings: Settings, health: Health, metrics: Metrics) -> WsgiApp:
    """What stands in for the service while its log is recovered: probes, metrics, preflights, and 503 for the rest."""
    app = _app(settings, health, metrics, CorsMiddleware(settings.portal_origins, settings.preflight_max_age_s))
    recovering = Recovering(settings.retry_after_s)
    for path in (POSE_PATH, _MEDIA_PATH, _END_PATH):
        app.add_route(path, recovering)
    wsgi: WsgiApp = app
    return wsgi


class Recovering:
    """Every endpoint that writes, while nothing can be written."""

    def __init__(self, retry_after_s: int) -> None:
        self._retry_after_s = retry_after_s

    def on_post(self, _: falcon.Request, __: falcon.Response, **___: object) -> None:
        raise ProblemError(503, "recovering", "this worker recovers its log", self._retry_after_s)


def _app(settings: Settings, health: Health, metrics: Metrics, cors: CorsMiddleware) -> falcon.App[Any, Any]:
    app = falcon.App(middleware=[cors])

    def refuse(_: falcon.Request, resp: falcon.Response, error: ProblemError, __: object) -> None:
        metrics.rejected.labels(error.code).inc()
        problems.write(resp, error)

    def refuse_falcon(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, params: object) -> None:
        for name, value in dict(error.headers or {}).items():
            resp.set_header(name, value)
        refuse(req, resp, problems.from_falcon(error), params)

    def fail(req: falcon.Request, resp: falcon.Response, error: Exception, params: object) -> None:
        log.error("request_failed", method=req.method, path=req.path, error=type(error).__name__, exc_info=error)
        refuse(req, resp, ProblemError(500, "internal", "a fault of ours"), params)

    app.add_error_handler(Exception, fail)
    app.add_error_handler(falcon.HTTPError, refuse_falcon)
    app.add_error_handler(ProblemError, refuse)
    app.add_route("/openapi.json", Description(openapi.document(settings)))
    for name in ("healthz", "readyz", "metrics"):
        app.add_route(f"/{name}", health, suffix=name)
    return app
