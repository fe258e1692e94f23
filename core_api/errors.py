"""Problems as callers see them: ``application/problem+json`` (RFC 9457) with a stable ``code``.

Here: the one error type responders raise, and what becomes of every other exception. Not here: deciding what is wrong.
"""

# ruff: noqa: ARG001 - Falcon decides what these are called with

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import falcon
import msgspec
import psycopg
import structlog

log = structlog.get_logger(__name__)

_CODES = {  # codes of what Falcon itself refuses
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


class Problem(falcon.HTTPError):
    """An answer other than success. ``code`` is stable and public, ``detail`` is for people."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, title=HTTPStatus(status).phrase, description=detail, headers=dict(headers or {}))
        self.problem_code = code
        self.errors = errors

    def __str__(self) -> str:
        return f"{self.problem_code}: {self.description}"


def not_found(what: str) -> Problem:
    """The one answer for what does not exist, is another tenant's, or is not this patient's."""
    return Problem(404, f"{what}_not_found", f"no such {what.replace('_', ' ')}")


def serialise(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    """Falcon's error serializer: any ``HTTPError`` as problem+json."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status_code,
        "code": getattr(error, "problem_code", _CODES.get(error.status_code, "bad_request")),
    }
    if error.description:
        body["detail"] = error.description
    errors = getattr(error, "errors", None)
    if errors:
        body["errors"] = errors
    req.context.problem_code = body["code"]
    resp.content_type = "application/problem+json"
    resp.data = msgspec.json.encode(body)


def on_database_unavailable(
    req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]
) -> None:
    """Postgres is away, overloaded or timed out: the caller may try again."""
    log.warning("database_unavailable", path=req.path, error=type(error).__name__)
    raise Problem(503, "database_unavailable", "the database did not answer in time", headers={"Retry-After": "2"})


def on_value_refused(req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]) -> None:
    """A value our own checks let through and Postgres did not: still the caller's value, and worth an alarm."""
    log.error("value_refused_by_database", path=req.path, error=type(error).__name__)
    raise Problem(422, "invalid_value", "a value is outside what can be stored")


def on_unexpected(req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]) -> None:
    """A defect of ours. The caller learns nothing but that."""
    log.error("unexpected_error", path=req.path, exc_info=error)
    raise Problem(500, "internal_error", "something went wrong on our side")


def register(app: falcon.App[falcon.Request, falcon.Response]) -> None:
    """Give the app its error answers."""
    app.set_error_serializer(serialise)
    app.add_error_handler(Exception, on_unexpected)
    app.add_error_handler(psycopg.OperationalError, on_database_unavailable)
    app.add_error_handler(psycopg.DataError, on_value_refused)
    # The default handlers for HTTPError and HTTPStatus stay; the most specific class wins.
