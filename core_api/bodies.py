"""What callers send: the shapes of request bodies and path ids, and how they are read. No body is trusted further."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
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
# PostgreSQL stores no NUL; what is sealed could, and is held to the same.
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Notes = Annotated[str, msgspec.Meta(min_length=1, max_length=4000, pattern=r"^[^\x00]*$")]
PrescribedCount = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
# As a plan's columns hold them, a tenth of a degree.
TargetAngle = Annotated[float, msgspec.Meta(ge=-180, le=360)]
HoldMs = Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]
PlanSessionsTotal = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
FrequencyPerWeek = Annotated[int, msgspec.Meta(ge=1, le=21)]
Purpose = Literal["biometric", "analytics"]
Cents = Annotated[int, msgspec.Meta(ge=0, le=10**12)]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request body. Unknown fields are refused, so that a misspelt one is noticed."""


def _check_once(exercises: Sequence[ReportedExercise | PrescribedExercise]) -> None:
    if len({each.exercise_id for each in exercises}) != len(exercises):
        raise ValueError("an exercise is there twice")


def check_target(low_deg: float | None, high_deg: float | None) -> None:
    """Raises ``ValueError`` where no range of motion could be both."""
    if low_deg is not None and high_deg is not None and low_deg > high_deg:
        raise ValueError("target_low_deg is above target_high_deg")


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
    notes: Notes | None = None
    exercises: Annotated[list[ReportedExercise], msgspec.Meta(max_length=100)] = []
    completed_at: Instant | None = None

    def __post_init__(self) -> None:
        _check_once(self.exercises)


class SkipSession(Body, frozen=True, kw_only=True):
    """POST /v1/treatment-sessions/{id}/skip"""

    notes: Notes | None = None


class NewExercise(Body, frozen=True, kw_only=True):
    """POST /v1/exercises. ``movement_profile`` that no profile has: measured from the motion itself."""

    name: Name
    movement_profile: Name
    media_id: Name | None = None


class ChangeExercise(Body, frozen=True, kw_only=True):
    """PATCH /v1/exercises/{id}: what is left out stays (RFC 7396)."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    movement_profile: Name | msgspec.UnsetType = msgspec.UNSET
    media_id: Name | msgspec.UnsetType | None = msgspec.UNSET


class PrescribedExercise(Body, frozen=True, kw_only=True):
    """One exercise of a treatment plan. Its place in the list is its place in the session.

    The range of motion and the length of each hold asked for take the place of the movement profile's own.
    """

    exercise_id: Id
    prescribed_sets: PrescribedCount | None = None
    prescribed_reps: PrescribedCount | None = None
    side: Literal["left", "right", "both"] | None = None
    target_low_deg: TargetAngle | None = None
    target_high_deg: TargetAngle | None = None
    hold_ms: HoldMs | None = None

    def __post_init__(self) -> None:
        check_target(self.target_low_deg, self.target_high_deg)


class NewTreatmentPlan(Body, frozen=True, kw_only=True):
    """POST /v1/treatment-plans"""

    name: Name
    exercises: Annotated[list[PrescribedExercise], msgspec.Meta(min_length=1, max_length=100)]

    def __post_init__(self) -> None:
        _check_once(self.exercises)


class ChangeTreatmentPlan(Body, frozen=True, kw_only=True):
    """PATCH /v1/treatment-plans/{id}: ``exercises`` replaces all of them."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    exercises: Annotated[list[PrescribedExercise], msgspec.Meta(min_length=1, max_length=100)] | msgspec.UnsetType = (
        msgspec.UNSET
    )

    def __post_init__(self) -> None:
        if self.exercises is not msgspec.UNSET:
            _check_once(self.exercises)


class NewServicePlan(Body, frozen=True, kw_only=True):
    """POST /v1/service-plans"""

    name: Name
    price_cents: Cents
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]


class ChangeServicePlan(Body, frozen=True, kw_only=True):
    """PATCH /v1/service-plans/{id}. The currency stays: what was paid is in it."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    price_cents: Cents | msgspec.UnsetType = msgspec.UNSET


class NewFormTemplate(Body, frozen=True, kw_only=True):
    """POST /v1/form-templates. A changed form is a new version."""

    name: Name
    version: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    purpose: Name | None = None
    questions: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=200)] = []


class NewFormVersion(Body, frozen=True, kw_only=True):
    """POST /v1/form-templates/{id}/versions: what is left out is as in the version before."""

    purpose: Name | msgspec.UnsetType | None = msgspec.UNSET
    questions: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=200)] | msgspec.UnsetType = msgspec.UNSET


class NewSpecialist(Body, frozen=True, kw_only=True):
    """POST /v1/specialists. ``principal_id`` is the identity provider's."""

    principal_id: UUID
    full_name: Name | None = None


class ChangeSpecialist(Body, frozen=True, kw_only=True):
    """PATCH /v1/specialists/{id}"""

    full_name: Name | msgspec.UnsetType | None = msgspec.UNSET


class NewPatient(Body, frozen=True, kw_only=True):
    """POST /v1/patients. ``time_zone`` is an IANA name; days and streaks are counted in it."""

    principal_id: UUID
    full_name: Name
    time_zone: Name
    contact: Name | None = None


class ChangePatient(Body, frozen=True, kw_only=True):
    """PATCH /v1/patients/{id}"""

    full_name: Name | msgspec.UnsetType = msgspec.UNSET
    contact: Name | msgspec.UnsetType | None = msgspec.UNSET
    time_zone: Name | msgspec.UnsetType = msgspec.UNSET


class AssignPlan(Body, frozen=True, kw_only=True):
    """POST /v1/patient-treatment-plans. ``started_on`` is today where the patient lives unless it is given; without
    ``ends_on`` the plan does not expire.
    """

    patient_id: Id
    treatment_plan_id: Id
    sessions_total: PlanSessionsTotal
    frequency_per_week: FrequencyPerWeek
    started_on: date | None = None
    ends_on: date | None = None
    specialist_id: Id | None = None
    service_plan_id: Id | None = None


class ChangePatientPlan(Body, frozen=True, kw_only=True):
    """PATCH /v1/patient-treatment-plans/{id}"""

    sessions_total: PlanSessionsTotal | msgspec.UnsetType = msgspec.UNSET
    frequency_per_week: FrequencyPerWeek | msgspec.UnsetType = msgspec.UNSET
    ends_on: date | msgspec.UnsetType | None = msgspec.UNSET
    specialist_id: Id | msgspec.UnsetType | None = msgspec.UNSET


class CancelPlan(Body, frozen=True, kw_only=True):
    """POST /v1/patient-treatment-plans/{id}/cancel"""

    note: Notes | None = None


class NewPayment(Body, frozen=True, kw_only=True):
    """POST /v1/patient-treatment-plans/{id}/payments, in the service plan's currency."""

    amount_cents: Annotated[int, msgspec.Meta(ge=1, le=10**12)]


class RecordConsent(Body, frozen=True, kw_only=True):
    """POST /v1/patients/{id}/consents"""

    purpose: Purpose
    granted: bool
    form_id: Id | None = None


class RequestErasure(Body, frozen=True, kw_only=True):
    """POST /v1/patients/{id}/erasure. ``reference``: who asked and how (a ticket, a letter); no name."""

    reference: Name
    confirm: Literal["erase"]


class SubmitForm(Body, frozen=True, kw_only=True):
    """POST /v1/treatment-sessions/{id}/forms"""

    form_template_id: Id
    responses: Annotated[dict[str, Any], msgspec.Meta(min_length=1, max_length=200)]


AnyBody = TypeVar("AnyBody", bound=Body)


def read(req: falcon.Request, shape: type[AnyBody], max_bytes: int) -> AnyBody:
    """The request's JSON body as ``shape``; an empty body is ``{}``. Raises ``Problem`` 413, 415, 400 or 422."""
    raw = _raw(req, max_bytes)
    req.context.body_bytes = raw  # what an Idempotency-Key was given for (``core_api.changes``)
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


def encode(value: object) -> bytes:
    """``value`` as the JSON every answer is written in: the same value, the same bytes."""
    return _encoder.encode(value)


def answer(resp: falcon.Response, status: int, value: Mapping[str, Any] | msgspec.Struct) -> None:
    """Give ``value`` as the JSON body."""
    resp.status = status
    resp.content_type = falcon.MEDIA_JSON
    resp.data = encode(value)
