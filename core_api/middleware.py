"""What every request goes through: an id, CORS, security headers, authentication and role, metrics, and one log line.

A log line has the route, never the query string; a principal id, never a name, a token or a body.
"""

# ruff: noqa: ARG002 - Falcon decides what these are called with

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Collection, Sequence

import falcon
import structlog

from core_api.audit import Author
from core_api.database import Database
from core_api.identity import Actor, Console, IdentityVerifier, check_role
from core_api.metrics import Metrics
from core_api.surface import Operation, Route

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


_SECURITY_HEADERS = {  # OWASP's list for an API that answers with JSON alone
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RequestLog:
    """Gives the request an id (the caller's ``X-Request-Id`` if it is a plain one), logs and counts its outcome."""

    def __init__(self, metrics: Metrics, database: Database) -> None:
        self._metrics = metrics
        self._database = database

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        given = req.get_header("X-Request-Id") or ""
        req.context.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        req.context.began_s = time.perf_counter()
        req.context.problem_code = None
        resp.set_header("X-Request-Id", req.context.request_id)
        resp.set_headers(_SECURITY_HEADERS)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool
    ) -> None:
        actor: Actor | Console | None = getattr(req.context, "actor", None)
        status, code = falcon.http_status_to_code(resp.status), req.context.problem_code
        duration_s = time.perf_counter() - req.context.began_s
        self._metrics.observe(req.uri_template, req.method, status, code, duration_s)
        self._metrics.watch(self._database.pool_state())
        log.info(
            "request",
            request_id=req.context.request_id,
            method=req.method,
            route=req.uri_template,
            status=status,
            code=code,
            duration_ms=round(duration_s * 1000, 1),
            organisation_id=actor.organisation_id if isinstance(actor, Actor) else None,
            principal_id=str(actor.principal_id) if actor else None,
            role=actor.role if actor else None,
        )


class Authentication:
    """Every operation needs an identity token with one of its roles, but those that declare none."""

    def __init__(self, verifier: IdentityVerifier, routes: Sequence[Route]) -> None:
        self._verifier = verifier
        self._operations: dict[tuple[str, str], Operation] = {
            (route.path, method.upper()): operation
            for route in routes
            for method, operation in route.operations.items()
        }

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: dict[str, str]
    ) -> None:
        operation = self._operations.get((req.uri_template or "", req.method))
        if operation is None or not operation.roles:
            return  # public, a preflight, or a method no resource has: create_app saw to it that these are all
        caller = self._verifier.authenticate(req.get_header("Authorization"))
        req.context.actor = caller
        check_role(caller, operation.roles)


_EXPOSED = "X-Request-Id, Retry-After, ETag, Location, Content-Location, Link, Idempotent-Replayed"
_ACCEPTED = "Authorization, Content-Type, X-Request-Id, Idempotency-Key, If-Match, If-None-Match"


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
        resp.set_header("Access-Control-Expose-Headers", _EXPOSED)
        allowed = resp.get_header("Allow")
        if req.method == "OPTIONS" and req.get_header("Access-Control-Request-Method") and allowed:
            resp.set_header("Access-Control-Allow-Methods", allowed)
            resp.set_header("Access-Control-Allow-Headers", _ACCEPTED)
            resp.set_header("Access-Control-Max-Age", "86400")


def author(req: falcon.Request) -> Author:
    """The request's actor as the audit log names it."""
    actor: Actor = req.context.actor
    return Author(actor.principal_id, actor.role, req.context.request_id)
