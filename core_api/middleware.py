"""What every request goes through: an id, CORS, security headers, authentication, and one structured log line.

A log line has the route, never the query string; a principal id, never a name, a token or a body.
"""

# ruff: noqa: ARG002 - Falcon decides what these are called with

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Collection

import falcon
import structlog

from core_api.audit import Author
from core_api.identity import Actor, IdentityVerifier

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class RequestLog:
    """Gives the request an id (the caller's ``X-Request-Id`` if it is a plain one) and logs its outcome."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        given = req.get_header("X-Request-Id") or ""
        req.context.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        req.context.began_s = time.perf_counter()
        req.context.problem_code = None
        resp.set_header("X-Request-Id", req.context.request_id)
        resp.set_header("Cache-Control", "no-store")
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool
    ) -> None:
        actor: Actor | None = getattr(req.context, "actor", None)
        log.info(
            "request",
            request_id=req.context.request_id,
            method=req.method,
            route=req.uri_template,
            status=falcon.http_status_to_code(resp.status),
            code=req.context.problem_code,
            duration_ms=round((time.perf_counter() - req.context.began_s) * 1000, 1),
            organisation_id=actor.organisation_id if actor else None,
            principal_id=str(actor.principal_id) if actor else None,
            role=actor.role if actor else None,
        )


class Authentication:
    """Every route needs an identity token but those whose resource says ``is_public = True``."""

    def __init__(self, verifier: IdentityVerifier) -> None:
        self._verifier = verifier

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: dict[str, str]
    ) -> None:
        if req.method == "OPTIONS" or getattr(resource, "is_public", False):
            return
        req.context.actor = self._verifier.authenticate(req.get_header("Authorization"))


class Cors:
    """Cross-origin answers for the configured origins only, errors included; a preflight may be kept for a day."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origins)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool
    ) -> None:
        resp.append_header("Vary", "Origin")
        origin = req.get_header("Origin")
        if origin not in self._origins:
            return
        resp.set_header("Access-Control-Allow-Origin", origin)
        resp.set_header("Access-Control-Expose-Headers", "X-Request-Id, Retry-After")
        allowed = resp.get_header("Allow")
        if req.method == "OPTIONS" and req.get_header("Access-Control-Request-Method") and allowed:
            resp.set_header("Access-Control-Allow-Methods", allowed)
            resp.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-Id")
            resp.set_header("Access-Control-Max-Age", "86400")


def author(req: falcon.Request) -> Author:
    """The request's actor as the audit log names it."""
    actor: Actor = req.context.actor
    return Author(actor.principal_id, actor.role, req.context.request_id)
