"""The Patient Portal's calls to the Core API: opening a session, starting and ending exercises, consent.

Every POST has an Idempotency-Key of its own and is sent again, with that key, where the answer got lost or the service
asks for patience: it counts once. A treatment session is completed or skipped under the ETag it was last seen with.

Belongs here: one method a call, each answer as it came or as a ``Ticket``. Does not belong here: the stream to the
ingest service (``player.py``), deciding who the patient is (the identity token says so).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit
from uuid import UUID

import httpx

TIMEOUT_S: Final = 30.0
ATTEMPTS_MAX: Final = 4
RETRY_AFTER_MAX_S: Final = 5.0
Answer: TypeAlias = dict[str, Any]


class PortalRefused(Exception):  # noqa: N818  named after the answer
    """The service answered something other than success; ``code`` is the problem's, stable and public."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Ticket:
    """What streaming one exercise session takes. The token is a secret: it is never shown or logged."""

    session_id: UUID
    token: str = field(repr=False)
    ingest_url: str
    elapsed_ms: int = 0  # since the session was started; above 0 where an open one goes on
    capture_pose: bool = True
    capture_media: bool = True
    started_at: dt.datetime | None = None
    media_id: str = "simulated-exercise"
    exercise_log_id: int | None = None
    resumed: bool = False


def http_client(url: str, timeout_s: float = TIMEOUT_S, max_connections: int = 100) -> httpx.Client:
    """A client for one service. A service on this machine is never reached through a proxy."""
    host = urlsplit(url).hostname or ""
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    limits = httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)
    return httpx.Client(timeout=timeout_s, limits=limits, trust_env=not here)


def problem(response: httpx.Response) -> PortalRefused:
    """What a refusing answer says, whether or not it is problem+json."""
    try:
        body = response.json()
    except ValueError:
        body = None
    told: Mapping[str, Any] = body if isinstance(body, dict) else {}
    code = str(told.get("code") or f"http_{response.status_code}")
    detail = str(told.get("detail") or told.get("description") or told.get("title") or "")
    return PortalRefused(response.status_code, code, detail)


class Portal:
    """One person's way to the Core API. Every call raises ``PortalRefused`` or ``httpx.HTTPError``.

    The client (see ``http_client``) may be shared by many and is the caller's to close.
    """

    def __init__(
        self,
        core_api_url: str,
        identity_token: str,
        client: httpx.Client,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sleep = sleep
        self._url = core_api_url.rstrip("/")
        self._client = client
        self._headers = {"Authorization": f"Bearer {identity_token}"}
        self._tags: dict[str, str] = {}  # path of a treatment session -> its ETag as last seen

    def open_session(
        self, plan_id: int, pain_level_before: int | None = None, started_at: dt.datetime | None = None
    ) -> Answer:
        """The plan's treatment session in progress, opened if there is none; its ``id`` among the answer."""
        body = _said(pain_level_before=pain_level_before, started_at=started_at)
        response = self._send("POST", f"/v1/patient-treatment-plans/{plan_id}/sessions", body)
        answer: Answer = response.json()
        self._see(f"/v1/treatment-sessions/{answer['id']}", response)
        return answer

    def start_exercise(
        self, treatment_session_id: int, exercise_id: int, started_at: dt.datetime | None = None
    ) -> Ticket:
        """Start an exercise, or go on with it where it is open."""
        path = f"/v1/treatment-sessions/{treatment_session_id}/exercises"
        response = self._send("POST", path, _said(exercise_id=exercise_id, started_at=started_at))
        answer: Answer = response.json()
        capture = answer.get("capture", {})
        exercise = answer.get("exercise") or {}
        started = answer.get("started_at")
        return Ticket(
            session_id=UUID(answer["session_id"]),
            token=answer["token"],
            ingest_url=answer["ingest_url"],
            elapsed_ms=int(answer.get("elapsed_ms", 0)),
            capture_pose=bool(capture.get("pose")),
            capture_media=bool(capture.get("media")),
            started_at=None if started is None else dt.datetime.fromisoformat(started),
            media_id=exercise.get("media_id") or "simulated-exercise",
            exercise_log_id=answer.get("exercise_log_id"),
            resumed=response.status_code == httpx.codes.OK,
        )

    def complete(
        self,
        treatment_session_id: int,
        pain_level_after: int | None = None,
        perceived_difficulty: int | None = None,
        exercises: Sequence[Mapping[str, Any]] = (),
        completed_at: dt.datetime | None = None,
        *,
        notes: str | None = None,
    ) -> Answer:
        """Complete a treatment session. ``exercises``: what the patient reports, ``exercise_id`` in each."""
        body = _said(
            pain_level_after=pain_level_after,
            perceived_difficulty=perceived_difficulty,
            exercises=[dict(exercise) for exercise in exercises] or None,
            completed_at=completed_at,
            notes=notes,
        )
        return self._finish(treatment_session_id, "complete", body)

    def skip(self, treatment_session_id: int, notes: str | None = None) -> Answer:
        """Skip a treatment session."""
        return self._finish(treatment_session_id, "skip", _said(notes=notes))

    def record_consent(self, patient_id: int, purpose: str, granted: bool) -> Answer:
        """Grant or withdraw ``biometric`` or ``analytics``."""
        return self._post(f"/v1/patients/{patient_id}/consents", {"purpose": purpose, "granted": granted})

    def progress(self, plan_id: int) -> Answer:
        return self._get(f"/v1/patient-treatment-plans/{plan_id}/progress")

    def analytics(self, plan_id: int) -> Answer:
        return self._get(f"/v1/patient-treatment-plans/{plan_id}/analytics")

    def replay(self, session_id: UUID) -> Answer:
        return self._get(f"/v1/sessions/{session_id}/replay")

    def _finish(self, treatment_session_id: int, how: str, body: Answer) -> Answer:
        """Under the ETag last seen. Where something else of the session changed since (412), look again and say it once
        more: what the patient says of the session holds whatever that was.
        """
        path = f"/v1/treatment-sessions/{treatment_session_id}"
        if path not in self._tags:
            self._see(path, self._send("GET", path))
        try:
            response = self._send("POST", f"{path}/{how}", body, self._if_seen(path))
        except PortalRefused as refused:
            if refused.status != httpx.codes.PRECONDITION_FAILED:
                raise
            self._see(path, self._send("GET", path))
            response = self._send("POST", f"{path}/{how}", body, self._if_seen(path))
        answer: Answer = response.json()
        return answer

    def _if_seen(self, path: str) -> dict[str, str]:
        return {"If-Match": self._tags[path]} if path in self._tags else {}

    def _see(self, path: str, response: httpx.Response) -> None:
        if "ETag" in response.headers:
            self._tags[path] = response.headers["ETag"]

    def _get(self, path: str) -> Answer:
        answer: Answer = self._send("GET", path).json()
        return answer

    def _post(self, path: str, body: Answer) -> Answer:
        response = self._send("POST", path, body)
        answer: Answer = response.json() if response.content else {}
        return answer

    def _send(
        self, method: str, path: str, body: Answer | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        sent = {**self._headers, **(headers or {})}
        if method == "POST":
            sent["Idempotency-Key"] = str(uuid.uuid4())
        for attempts_left in reversed(range(ATTEMPTS_MAX)):
            try:
                response = self._client.request(method, self._url + path, json=body, headers=sent)
            except httpx.TransportError:
                if not attempts_left:
                    raise
                continue
            if response.is_success:
                return response
            wait_s = _patience_s(response)
            if wait_s is None or not attempts_left:
                raise problem(response)
            self._sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")


def _patience_s(response: httpx.Response) -> float | None:
    """How long to wait before the same again; None where that would not help."""
    if response.status_code not in (httpx.codes.CONFLICT, httpx.codes.SERVICE_UNAVAILABLE):
        return None
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), RETRY_AFTER_MAX_S) if asked.isdecimal() else None


def _said(**values: object) -> Answer:
    """The values that are known, times as RFC 3339."""
    return {
        name: value.isoformat() if isinstance(value, dt.datetime) else value
        for name, value in values.items()
        if value is not None
    }
