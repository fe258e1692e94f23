"""The three endpoints: a request in, a durable record, an answer. No Postgres and no S3 on the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

import falcon
import msgspec
import xxhash

from ingest_service.admission import Admission
from ingest_service.ending import WITHDRAWN, Ender
from ingest_service.metrics import Metrics
from ingest_service.problems import ProblemError
from ingest_service.requests import BodyReader, Environ, WaitingRoom, require_media_type
from ingest_service.sessions import Session
from ingest_service.settings import Settings
from ingest_service.tokens import TokenVerifier
from pipelines.media import events
from pipelines.ports.landing import (
    LandingBusyError,
    LandingError,
    LandingFullError,
    LandingLog,
    RecordKind,
)
from pipelines.pose import wire

END_REASONS = ("completed", "abandoned")
_JSON = "application/json"
_PROBE_AGAIN_S = 1
POSE_PATH = "/v1/pose/frames"
REFUSAL = "ingest_service.refusal"  # in the environ of a batch that ``pose_path`` has seen refused; no header sets it


class Intake(NamedTuple):
    """What the endpoints share."""

    settings: Settings
    tokens: TokenVerifier
    bodies: BodyReader
    places: WaitingRoom
    admission: Admission
    landing: LandingLog
    metrics: Metrics
    touched: Callable[[UUID, datetime], None]
    now: Callable[[], datetime]

    def land(self, session: Session, kind: RecordKind, payload_hash: bytes, body: bytes, started_s: float) -> None:
        """Make the record durable and count it. Raises ``ProblemError`` 503."""
        received_at = self.now()
        try:
            self.landing.append(session.header, kind, received_at, payload_hash, body)
        except LandingError as error:
            raise landing_problem(error, self.settings.retry_after_s) from error
        session_id = session.header.session_id
        self.touched(session_id, received_at)
        self.metrics.accepted[kind].add(1)
        self.metrics.received_bytes.add(len(body))
        self.metrics.acknowledge_s.observe(perf_counter() - started_s)


def landing_problem(error: LandingError, retry_after_s: int) -> ProblemError:
    """What the sender is told: keep it and come back, at another worker perhaps."""
    if isinstance(error, LandingFullError):
        return ProblemError(503, "disk_full", "this node has no room for more", retry_after_s)
    if isinstance(error, LandingBusyError):
        return ProblemError(503, "disk_busy", "too much waits for this node's disk", retry_after_s)
    return ProblemError(503, "disk_failed", "this node's disk failed", retry_after_s)


class PoseFrames:
    """``POST /v1/pose/frames``: one binary batch; 204 means fsynced."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        if (refusal := req.env.get(REFUSAL)) is not None:
            raise refusal
        self.accept(req.env)
        resp.status = falcon.HTTP_204

    def accept(self, environ: Environ) -> None:
        """Everything between the request's head and its acknowledgement. Raises ``ProblemError``."""
        started_s = perf_counter()
        intake = self._intake
        now_s = intake.now().timestamp()
        claims = intake.tokens.verify(environ.get("HTTP_AUTHORIZATION"), now_s)
        require_media_type(environ, "application/octet-stream")
        with intake.places:
            body = intake.bodies.read(environ)
            intake.admission.at_home(claims)
            session = intake.admission.session(claims, now_s)
            intake.admission.permit(session, "biometric", now_s)
            payload_hash = self._payload_hash(body)
            if payload_hash in session.recent:
                intake.land(session, RecordKind.DUPLICATE, payload_hash, b"", started_s)
            else:
                intake.land(session, RecordKind.BATCH, payload_hash, body, started_s)
                # Only now: while the first copy is not durable, a second is not its duplicate.
                session.recent.add(payload_hash)
        if (seq := environ.get("HTTP_BATCH_SEQ")) and seq.isdecimal() and len(seq) < 10:
            intake.metrics.sequence_gaps.add(session.gap_before(int(seq)))

    def _payload_hash(self, body: bytes) -> bytes:
        try:
            return wire.identify(body, self._intake.settings.wire)
        except wire.WireUndecodable as error:
            raise ProblemError(400, error.code, error.detail) from None
        except wire.WireOutOfBounds as error:
            raise ProblemError(422, error.code, error.detail) from None


class MediaEvents:
    """``POST /v1/media/events``: one event or an array; 204 means fsynced. Stored as canonical JSON."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        started_s = perf_counter()
        intake = self._intake
        now_s = intake.now().timestamp()
        claims = intake.tokens.verify(req.auth, now_s)
        require_media_type(req.env, _JSON)
        with intake.places:
            body = intake.bodies.read(req.env)
            # Decoded early because an event names its session, and that comes before consent; other faults come last.
            decoded = self._decode(body, claims.header.session_id)
            intake.admission.at_home(claims)
            session = intake.admission.session(claims, now_s)
            intake.admission.permit(session, "analytics", now_s)
            if isinstance(decoded, ProblemError):
                raise decoded
            intake.metrics.unknown_fields.add(decoded.unknown_field_count)
            canonical = b"[" + b",".join(map(events.encode, decoded.events)) + b"]"
            intake.land(session, RecordKind.MEDIA, xxhash.xxh3_128_digest(canonical), canonical, started_s)
        resp.status = falcon.HTTP_204

    def _decode(self, body: bytes, session_id: UUID) -> events.DecodedEvents | ProblemError:
        try:
            return events.decode(body, session_id, self._intake.settings.media_events_max)
        except events.MediaSessionMismatch as error:
            raise ProblemError(403, "session_mismatch", str(error)) from None
        except events.MediaUndecodable as error:
            return ProblemError(400, "json_undecodable", error.detail)
        except events.MediaInvalid as error:
            return ProblemError(422, "event_invalid", str(error))


class EndRequest(msgspec.Struct):
    """How the patient ended. Any reason is read, so that an unknown one is named in the refusal."""

    reason: str = "completed"


class EndAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The end that stands: the first one acknowledged on this node."""

    session_id: UUID
    state: Literal["ended"] = "ended"
    end_reason: Annotated[str, msgspec.Meta(extra_json_schema={"enum": [*END_REASONS, WITHDRAWN]})]
    ended_at: datetime


class SessionEnd:
    """``POST /v1/sessions/{id}/end``: 202 with the end that stands. Consent is not asked: anyone may stop."""

    def __init__(self, intake: Intake, ender: Ender) -> None:
        self._intake = intake
        self._ender = ender

    def on_post(self, req: falcon.Request, resp: falcon.Response, session_id: UUID) -> None:
        started_s = perf_counter()
        intake = self._intake
        claims = intake.tokens.verify(req.auth, intake.now().timestamp())
        declared = (req.content_type or "").strip()
        if declared:
            require_media_type(req.env, _JSON)
        with intake.places:
            body = intake.bodies.read(req.env)
            intake.admission.at_home(claims, session_id)
            reason = _end_reason(body)
            try:
                end = self._ender.end(claims.header, reason)
            except LandingError as error:
                raise landing_problem(error, intake.settings.retry_after_s) from error
        intake.admission.ended(session_id)
        intake.metrics.accepted[RecordKind.END].add(1)
        intake.metrics.acknowledge_s.observe(perf_counter() - started_s)
        resp.status = falcon.HTTP_202
        resp.content_type = _JSON
        resp.data = msgspec.json.encode(EndAnswer(session_id=session_id, end_reason=end.reason, ended_at=end.ended_at))


def _end_reason(body: bytes) -> str:
    if not body.strip():
        return "completed"
    try:
        reason = msgspec.json.decode(body, type=EndRequest).reason
    except msgspec.ValidationError as error:
        raise ProblemError(422, "end_invalid", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(400, "json_undecodable", str(error)) from None
    if reason not in END_REASONS:
        raise ProblemError(422, "end_invalid", f"reason must be one of {', '.join(END_REASONS)}")
    return reason


class Health:
    """``/healthz``: this process can still do its work; ``/readyz``: send it traffic; ``/metrics``: Prometheus."""

    def __init__(
        self,
        metrics: Metrics,
        fatal: Callable[[], str | None],
        not_ready: Callable[[], list[str]],
        finaliser_metrics: Path,
    ) -> None:
        self._metrics = metrics
        self._finaliser_metrics = finaliser_metrics
        self._fatal = fatal
        self._not_ready = not_ready

    def on_get_healthz(self, _: falcon.Request, resp: falcon.Response) -> None:
        if (why := self._fatal()) is not None:
            raise ProblemError(503, "disk_failed", why, _PROBE_AGAIN_S)
        resp.content_type = _JSON
        resp.data = b'{"status":"ok"}'

    def on_get_readyz(self, _: falcon.Request, resp: falcon.Response) -> None:
        if reasons := self._not_ready():
            raise ProblemError(503, "not_ready", ", ".join(reasons))
        resp.content_type = _JSON
        resp.data = b'{"status":"ready"}'

    def on_get_metrics(self, _: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"
        resp.data = self._metrics.exposition() + self._from_finaliser()

    def _from_finaliser(self) -> bytes:
        """The node's finaliser serves no HTTP; nothing where it has not counted yet."""
        try:
            return self._finaliser_metrics.read_bytes()
        except FileNotFoundError:
            return b""


class Description:
    """``/openapi.json``: what this service takes and answers."""

    def __init__(self, document: bytes) -> None:
        self._document = document

    def on_get(self, _: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = _JSON
        resp.data = self._document
