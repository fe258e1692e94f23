"""The application over what it is given: routes, CORS, and every error as a problem document."""

from __future__ import annotations

from typing import NamedTuple

import falcon
import structlog

from ingest_service import openapi, problems
from ingest_service.cors import CorsMiddleware
from ingest_service.ending import Ender
from ingest_service.endpoints import POSE_PATH, Description, Health, Intake, MediaEvents, PoseFrames, SessionEnd
from ingest_service.pose_path import PosePath, WsgiApp
from ingest_service.problems import ProblemError

log = structlog.get_logger(__name__)


class Deps(NamedTuple):
    """All the application needs from outside."""

    intake: Intake
    ender: Ender
    health: Health


def create_app(deps: Deps) -> WsgiApp:
    settings = deps.intake.settings
    cors = CorsMiddleware(settings.portal_origins, settings.preflight_max_age_s)
    app = falcon.App(middleware=[cors])
    rejected = deps.intake.metrics.rejected

    def refuse(_: falcon.Request, resp: falcon.Response, error: ProblemError, __: object) -> None:
        rejected.labels(error.code).inc()
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
    frames = PoseFrames(deps.intake)
    app.add_route(POSE_PATH, frames)
    app.add_route("/v1/media/events", MediaEvents(deps.intake))
    app.add_route("/v1/sessions/{session_id:uuid}/end", SessionEnd(deps.intake, deps.ender))
    app.add_route("/openapi.json", Description(openapi.document(settings)))
    for name in ("healthz", "readyz", "metrics"):
        app.add_route(f"/{name}", deps.health, suffix=name)
    return PosePath(frames, cors, app)
