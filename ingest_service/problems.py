"""Refusals: RFC 9457 problem documents with a stable ``code``. Here: their shape, and errors turned into them."""

from __future__ import annotations

from http import HTTPStatus

import falcon
import msgspec

MEDIA_TYPE = "application/problem+json"


class ProblemError(Exception):
    """An answer other than success. ``code`` is stable and public; ``detail`` is for people and holds no secrets."""

    def __init__(self, status: int, code: str, detail: str, retry_after_s: int | None = None) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s


def write(resp: falcon.Response, problem: ProblemError) -> None:
    resp.status = falcon.code_to_http_status(problem.status)
    resp.content_type = MEDIA_TYPE
    title = HTTPStatus(problem.status).phrase
    body = {"type": "about:blank", "title": title, "status": problem.status, "code": problem.code}
    resp.data = msgspec.json.encode({**body, "detail": problem.detail})
    if problem.status == HTTPStatus.UNAUTHORIZED:
        resp.set_header("WWW-Authenticate", "Bearer")
    if problem.retry_after_s is not None:
        resp.set_header("Retry-After", str(problem.retry_after_s))


def from_falcon(error: falcon.HTTPError) -> ProblemError:
    """Falcon's own refusals: no such path, no such method, a malformed request line or header."""
    status = int(str(error.status).split(" ", 1)[0])
    codes = {404: "not_found", 405: "method_not_allowed"}
    return ProblemError(status, codes.get(status, "bad_request"), error.description or HTTPStatus(status).phrase)
