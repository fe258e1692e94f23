"""The Core API's calls: what is sent, and what becomes of the answers."""

from __future__ import annotations

import datetime as dt
import json
from uuid import UUID

import httpx
import pytest

from pipelines.simulate.portal import Portal, PortalRefused, http_client

SESSION = UUID("550e8400-e29b-41d4-a716-446655440000")
STARTED = dt.datetime(2026, 2, 16, 9, 3, tzinfo=dt.UTC)


def portal(status: int, answer: object) -> tuple[Portal, list[tuple[str, str, object]]]:
    calls: list[tuple[str, str, object]] = []

    def serve(request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer who-i-am"
        assert ("Idempotency-Key" in request.headers) == (request.method == "POST")
        body = json.loads(request.read()) if request.read() else None
        calls.append((request.method, request.url.path, body))
        return httpx.Response(status, json=answer, headers={"ETag": '"seen"'})

    return Portal("http://core/", "who-i-am", httpx.Client(transport=httpx.MockTransport(serve))), calls


def test_what_each_call_sends() -> None:
    way, calls = portal(200, {"id": 7})
    assert way.open_session(3, pain_level_before=0, started_at=STARTED)["id"] == 7
    way.complete(7, pain_level_after=2, exercises=[{"exercise_id": 1, "actual_reps": 9}])
    way.skip(7)
    way.record_consent(5, "biometric", False)
    way.progress(3)
    way.analytics(3)
    way.replay(SESSION)
    assert calls == [
        (
            "POST",
            "/v1/patient-treatment-plans/3/sessions",
            {"pain_level_before": 0, "started_at": "2026-02-16T09:03:00+00:00"},
        ),
        (
            "POST",
            "/v1/treatment-sessions/7/complete",
            {"pain_level_after": 2, "exercises": [{"exercise_id": 1, "actual_reps": 9}]},
        ),
        ("POST", "/v1/treatment-sessions/7/skip", {}),
        ("POST", "/v1/patients/5/consents", {"purpose": "biometric", "granted": False}),
        ("GET", "/v1/patient-treatment-plans/3/progress", None),
        ("GET", "/v1/patient-treatment-plans/3/analytics", None),
        ("GET", f"/v1/sessions/{SESSION}/replay", None),
    ]


def scripted(*answers: httpx.Response | type[httpx.TransportError]) -> tuple[Portal, list[httpx.Request], list[float]]:
    """A portal that is given these answers in turn; what it sent, and how long it waited between."""
    left = list(answers)
    sent: list[httpx.Request] = []
    waits: list[float] = []

    def serve(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        answer = left.pop(0)
        if isinstance(answer, type):
            raise answer("lost")
        return answer

    return Portal("http://core/", "x", httpx.Client(transport=httpx.MockTransport(serve)), waits.append), sent, waits


def test_what_got_lost_is_sent_again_under_the_same_key() -> None:
    busy = httpx.Response(409, json={"code": "idempotency_key_in_use"}, headers={"Retry-After": "1"})
    done = httpx.Response(201, json={"id": 1})
    way, sent, waits = scripted(httpx.ReadTimeout, busy, done, done)
    way.record_consent(5, "biometric", True)
    assert len({request.headers["Idempotency-Key"] for request in sent}) == 1
    assert (len(sent), waits) == (3, [1.0])
    way.record_consent(5, "biometric", False)
    assert sent[3].headers["Idempotency-Key"] != sent[0].headers["Idempotency-Key"]


def test_what_stays_lost_is_told() -> None:
    way, sent, _ = scripted(*[httpx.ConnectError] * 4)
    with pytest.raises(httpx.ConnectError):
        way.record_consent(5, "biometric", True)
    assert len(sent) == 4


def test_a_session_is_completed_as_it_was_seen_and_looked_at_again_where_it_changed() -> None:
    tagged = [httpx.Response(200, json={"id": 7}, headers={"ETag": f'"{tag}"'}) for tag in "abc"]
    changed = httpx.Response(412, json={"code": "if_match_failed"})
    way, sent, _ = scripted(tagged[0], changed, tagged[1], tagged[2])
    way.open_session(3)
    way.complete(7, pain_level_after=2)
    assert [(request.method, request.headers.get("If-Match")) for request in sent] == [
        ("POST", None),
        ("POST", '"a"'),
        ("GET", None),
        ("POST", '"b"'),
    ]


def test_starting_an_exercise_gives_a_ticket() -> None:
    way, calls = portal(
        201,
        {
            "session_id": str(SESSION),
            "token": "t",
            "ingest_url": "http://node",
            "elapsed_ms": 12,
            "capture": {"pose": True, "media": False},
            "started_at": "2026-02-16T09:03:00Z",
            "exercise_log_id": 4,
            "exercise": {"id": 1, "media_id": "squat-video"},
        },
    )
    ticket = way.start_exercise(7, 1)
    assert calls == [("POST", "/v1/treatment-sessions/7/exercises", {"exercise_id": 1})]
    assert (ticket.session_id, ticket.ingest_url, ticket.elapsed_ms) == (SESSION, "http://node", 12)
    assert (ticket.capture_pose, ticket.capture_media, ticket.resumed) == (True, False, False)
    assert (ticket.started_at, ticket.exercise_log_id, ticket.media_id) == (STARTED, 4, "squat-video")


def test_without_a_word_on_capture_nothing_is_captured() -> None:
    way, _ = portal(200, {"session_id": str(SESSION), "token": "t", "ingest_url": "http://node"})
    ticket = way.start_exercise(7, 1)
    assert (ticket.capture_pose, ticket.capture_media, ticket.resumed) == (False, False, True)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (httpx.Response(409, json={"code": "plan_not_active", "detail": "the plan is expired"}), "plan_not_active"),
        (httpx.Response(502, text="<html>bad gateway</html>"), "http_502"),
        (httpx.Response(500, json=["?"]), "http_500"),
    ],
)
def test_a_refusal_names_its_code(answer: httpx.Response, code: str) -> None:
    client = httpx.Client(transport=httpx.MockTransport(lambda _: answer))
    with pytest.raises(PortalRefused) as refused:
        Portal("http://core", "x", client).progress(1)
    assert (refused.value.status, refused.value.code) == (answer.status_code, code)


def test_this_machine_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    for url in ("http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"):
        with http_client(url) as client:
            assert not client.trust_env
    with http_client("http://core.example") as client:
        assert client.trust_env
