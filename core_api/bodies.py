"""What callers send: the shapes of request bodies and path ids, and how they are read. No body is trusted further."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import falcon
import msgspec

from core_api.errors import Problem, not_found

BIGINT_MAX = 2**63 - 1
BACKDATED_MAX = timedelta(days=360)  # metrics partitions reach a year back

Id = Annotated[int, msgspec.Meta(ge=1, le=BIGINT_MAX)]
PainLevel = Annotated[int, msgspec.Meta(ge=0, le=10)]
Difficulty = Annotated[int, msgspec.Meta(ge=1, le=10)]
Sets = Annotated[int, msgspec.Meta(ge=0, le=100)]
Reps = Annotated[int, msgspec.Meta(ge=0, le=10_000)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request body. Unknown fields are refused, so that a misspelt one is noticed."""


class OpenSession(Body, frozen=True, kw_only=True):
    """POST /v1/patient-treatment-plans/{id}/sessions"""

    pain_level_before: PainLevel | None = None
    started_at: Instant | None = None


class StartExercise(Body, frozen=True, kw_only=True):
    """POST /v1/treatment-sessions/{id}/exercises"""

    exercise_id: Id
    started_at: Instant | None = None


class ReportedExercise(Body, frozen=True, kw_only=True):
    """What the patient says of one exercise."""

    exercise_id: Id
    actual_sets: Sets | None = None
    actual_reps: Reps | None = None
    skipped: bool = False

    def __post_init__(self) -> None:
        if self.skipped and (self.actual_sets or self.actual_reps):
            raise ValueError("a skipped exercise has no sets or reps")


class CompleteSession(Body, frozen=True, kw_only=True):
    """POST /v1/treatment-sessions/{id}/complete"""

    pain_level_after: PainLevel | None = None
    perceived_difficulty: Difficulty | None = None
    exercises: Annotated[list[ReportedExercise], msgspec.Meta(max_length=100)] = []
    completed_at: Instant | None = None

    def __post_init__(self) -> None:
        if len({each.exercise_id for each in self.exercises}) != len(self.exercises):
            raise ValueError("an exercise is reported twice")


class SkipSession(Body, frozen=True, kw_only=True):
    """POST /v1/treatment-sessions/{id}/skip"""


class RecordConsent(Body, frozen=True, kw_only=True):
    """POST /v1/patients/{id}/consents"""

    purpose: Literal["biometric", "analytics"]
    granted: bool
    form_id: Id | None = None


class SubmitForm(Body, frozen=True, kw_only=True):
    """POST /v1/treatment-sessions/{id}/forms"""

    form_template_id: Id
    responses: Annotated[dict[str, Any], msgspec.Meta(min_length=1, max_length=200)]


AnyBody = TypeVar("AnyBody", bound=Body)


def read(req: falcon.Request, shape: type[AnyBody], max_bytes: int) -> AnyBody:
    """The request's JSON body as ``shape``; an empty body is ``{}``. Raises ``Problem`` 413, 415, 400 or 422."""
    raw = _raw(req, max_bytes)
    if raw and (req.content_type or "").split(";")[0].strip().lower() != "application/json":
        raise Problem(415, "unsupported_media_type", "the body must be application/json")
    try:
        return msgspec.json.decode(raw or b"{}", type=shape)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at ")
        field = path.strip("`").removeprefix("$").lstrip(".") or "body"
        raise Problem(
            422, "invalid_body", f"{field}: {message}", errors=[{"field": field, "message": message}]
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(400, "malformed_json", "the body is not readable JSON") from None


def _raw(req: falcon.Request, max_bytes: int) -> bytes:
    if (req.content_length or 0) > max_bytes:
        raise Problem(413, "body_too_large", f"a body may have {max_bytes} bytes")
    # A chunked body has no length; a server that marks its input as terminated may be read to the end.
    stream = req.stream if req.env.get("wsgi.input_terminated") else req.bounded_stream
    raw: bytes = stream.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise Problem(413, "body_too_large", f"a body may have {max_bytes} bytes")
    return raw


def path_id(text: str, what: str) -> int:
    """A bigint key from the path; anything that cannot be one does not exist (404)."""
    if re.fullmatch(r"[1-9][0-9]{0,18}", text, re.ASCII) and int(text) <= BIGINT_MAX:
        return int(text)
    raise not_found(what)


def path_uuid(text: str, what: str) -> UUID:
    """A UUID in its canonical form from the path; anything else does not exist (404)."""
    if re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text, re.ASCII):
        return UUID(text)
    raise not_found(what)


def instant(value: datetime | None, field: str, now: datetime, *, allowed: bool) -> datetime:
    """``value`` if given, else ``now``. Raises ``Problem`` 422 where saying it is not allowed, or for a time not within
    the last ``BACKDATED_MAX``.
    """
    if value is None:
        return now
    if not allowed:
        raise Problem(422, "backdating_not_allowed", f"{field}: times are set by the service")
    if not now - BACKDATED_MAX <= value <= now:
        raise Problem(422, "time_out_of_range", f"{field}: must lie within the last {BACKDATED_MAX.days} days")
    return value.astimezone(UTC)


_encoder = msgspec.json.Encoder(decimal_format="number")


def answer(resp: falcon.Response, status: int, value: Mapping[str, Any] | msgspec.Struct) -> None:
    """Give ``value`` as the JSON body."""
    resp.status = status
    resp.content_type = falcon.MEDIA_JSON
    resp.data = _encoder.encode(value)
