"""Liveness, readiness, and the public keys of session tokens."""

# ruff: noqa: ARG002 - Falcon decides what these are called with

from __future__ import annotations

import falcon
import psycopg

from core_api.bodies import answer
from core_api.deps import Deps
from core_api.errors import Problem


class Health:
    """GET /healthz: this process answers."""

    is_public = True

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answer(resp, 200, {"status": "alive"})


class Readiness:
    """GET /readyz: Postgres answers too."""

    is_public = True

    def __init__(self, deps: Deps) -> None:
        self._database = deps.database

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        try:
            self._database.is_reachable()
        except psycopg.OperationalError:
            raise Problem(503, "not_ready", "the database does not answer", headers={"Retry-After": "2"}) from None
        answer(resp, 200, {"status": "ready"})


class SessionKeys:
    """GET /.well-known/jwks.json: public keys that verify session tokens (RFC 7517)."""

    is_public = True

    def __init__(self, deps: Deps) -> None:
        self._jwks = deps.sessions.signing_key.jwks()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answer(resp, 200, self._jwks)
        resp.set_header("Cache-Control", "public, max-age=300")
