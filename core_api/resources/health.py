"""What is public: liveness, readiness, metrics, the public keys of session tokens, and the description of it all."""

# ruff: noqa: ARG002 - Falcon decides what these are called with

from __future__ import annotations

from typing import Literal

import falcon
import psycopg

from core_api import metrics
from core_api.bodies import answer
from core_api.deps import Deps
from core_api.errors import Problem
from core_api.surface import Answer, Operation, Route


class Alive(Answer, frozen=True, kw_only=True):
    status: Literal["alive"] = "alive"


class Ready(Answer, frozen=True, kw_only=True):
    status: Literal["ready"] = "ready"


class PublicKey(Answer, frozen=True, kw_only=True):
    """An Ed25519 public key (RFC 8037)."""

    kty: str
    crv: str
    x: str
    kid: str
    use: str
    alg: str


class PublicKeys(Answer, frozen=True, kw_only=True):
    """A JSON Web Key Set (RFC 7517)."""

    keys: list[PublicKey]


class Health:
    """GET /healthz: this process answers."""

    def __init__(self, deps: Deps) -> None:
        pass

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answer(resp, 200, Alive())


class Readiness:
    """GET /readyz: Postgres answers too."""

    def __init__(self, deps: Deps) -> None:
        self._database = deps.database

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        try:
            self._database.is_reachable()
        except psycopg.OperationalError:
            raise Problem(503, "not_ready", "the database does not answer", headers={"Retry-After": "2"}) from None
        answer(resp, 200, Ready())


class Exposition:
    """GET /metrics"""

    def __init__(self, deps: Deps) -> None:
        self._metrics = deps.metrics

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = metrics.MEDIA_TYPE
        resp.data = self._metrics.exposition()


class Description:
    """GET /openapi.json"""

    def __init__(self, document: bytes) -> None:
        self._document = document

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = falcon.MEDIA_JSON
        resp.data = self._document
        resp.set_header("Cache-Control", "public, max-age=300")


class SessionKeys:
    """GET /.well-known/jwks.json: public keys that verify session tokens (RFC 7517)."""

    def __init__(self, deps: Deps) -> None:
        self._jwks = deps.sessions.signing_key.jwks()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answer(resp, 200, self._jwks)
        resp.set_header("Cache-Control", "public, max-age=300")


ROUTES = (
    Route("/healthz", Health, {"get": Operation("Whether this process can do its work", {200: Alive})}),
    Route(
        "/readyz",
        Readiness,
        {"get": Operation("Whether to send it traffic", {200: Ready}, refusals=("not_ready",))},
    ),
    Route(
        "/metrics",
        Exposition,
        {"get": Operation("Prometheus metrics over all workers", {200: str}, media_type="text/plain")},
    ),
    Route("/.well-known/jwks.json", SessionKeys, {"get": Operation("Keys of session tokens", {200: PublicKeys})}),
)
