"""Refusals: RFC 9457 problem documents with a stable ``code``. Here: their shape, and errors turned into them."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

import falcon
import msgspec

MEDIA_TYPE = "application/problem+json"


class Refusal(NamedTuple):
    """A code's one status and meaning; ``retry``: it comes with ``Retry-After``."""

    status: int
    meaning: str
    retry: bool = False


REFUSALS = {
    "token_missing": Refusal(401, "no bearer token"),
    "token_invalid": Refusal(401, "the token cannot be verified"),
    "token_expired": Refusal(401, "start the exercise again"),
    "keys_unavailable": Refusal(503, "the issuer's keys cannot be read, and the token's is not known yet", True),
    "media_type_unsupported": Refusal(415, "another Content-Type"),
    "busy": Refusal(503, "as many requests wait as may", True),
    "body_too_large": Refusal(413, "more bytes than are taken"),
    "body_unreadable": Refusal(400, "the body broke off"),
    "body_timeout": Refusal(408, "the body did not arrive in time"),
    "session_mismatch": Refusal(403, "the path or an event names another session than the token"),
    "not_home_node": Refusal(421, "use the ingest_url that came with the token"),
    "sessions_full": Refusal(503, "as many sessions as may are open", True),
    "consent_unknown": Refusal(503, "the consent ledger's news is too old", True),
    "consent_missing": Refusal(403, "no consent to this purpose"),
    "consent_withdrawn": Refusal(403, "consent to this purpose was withdrawn"),
    "session_ended": Refusal(409, "the session has ended"),
    "rate_exceeded": Refusal(429, "more requests than a session may send", True),
    "not_gzip": Refusal(400, "no gzip member"),
    "gzip_truncated": Refusal(400, "the gzip member is cut short"),
    "gzip_corrupt": Refusal(400, "the gzip member is damaged"),
    "gzip_trailing_bytes": Refusal(400, "something follows the gzip member"),
    "version_unknown": Refusal(400, "another version of the envelope"),
    "length_wrong": Refusal(400, "another length than the frame count says"),
    "json_undecodable": Refusal(400, "not JSON"),
    "bad_request": Refusal(400, "a malformed request line, header, framing or path"),
    "request_timeout": Refusal(408, "the request did not arrive in time"),
    "target_too_long": Refusal(414, "a request line longer than is taken"),
    "expectation_unknown": Refusal(417, "an expectation other than 100-continue"),
    "head_too_large": Refusal(431, "more header fields, or larger ones, than are taken"),
    "not_implemented": Refusal(501, "a method or transfer coding that nobody here knows"),
    "version_unsupported": Refusal(505, "neither HTTP/1.1 nor HTTP/1.0"),
    "decompressed_too_large": Refusal(422, "more bytes than may be decompressed"),
    "frame_count_out_of_bounds": Refusal(422, "no frame, or too many"),
    "fps_out_of_bounds": Refusal(422, "fps_hint out of bounds"),
    "coordinate_not_finite": Refusal(422, "a coordinate or visibility is NaN or infinite"),
    "visibility_out_of_bounds": Refusal(422, "a visibility outside [0, 1]"),
    "timestamp_decreasing": Refusal(422, "timestamps decrease within the batch"),
    "timestamp_out_of_bounds": Refusal(422, "a timestamp beyond three hours"),
    "event_invalid": Refusal(422, "an event breaks its schema; the detail names the field"),
    "end_invalid": Refusal(422, "another end reason"),
    "disk_full": Refusal(503, "no room for more", True),
    "disk_busy": Refusal(503, "too much waits for the disk", True),
    "disk_failed": Refusal(503, "the disk failed", True),
    "recovering": Refusal(503, "this worker redoes its log", True),
    "not_ready": Refusal(503, "recovering, draining, blind to consent, or short of disk"),
    "not_found": Refusal(404, "no such path"),
    "method_not_allowed": Refusal(405, "no such method here"),
}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457. ``code`` is stable; ``detail`` is for people."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str


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
    body = Problem(title=title, status=problem.status, code=problem.code, detail=problem.detail)
    resp.data = msgspec.json.encode(body)
    if problem.status == HTTPStatus.UNAUTHORIZED:
        resp.set_header("WWW-Authenticate", "Bearer")
    if problem.retry_after_s is not None:
        resp.set_header("Retry-After", str(problem.retry_after_s))


def from_falcon(error: falcon.HTTPError) -> ProblemError:
    """Falcon's own refusals: no such path, no such method, a malformed request line or header."""
    status = int(str(error.status).split(" ", 1)[0])
    codes = {404: "not_found", 405: "method_not_allowed"}
    return ProblemError(status, codes.get(status, "bad_request"), error.description or HTTPStatus(status).phrase)
