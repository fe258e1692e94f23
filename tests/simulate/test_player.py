"""Playing a session against a service that keeps the contract, fails as networks do, and counts what it got."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest

from pipelines.media import events as media_events
from pipelines.media.aggregate import ReceivedEvent, aggregate
from pipelines.media.schema import MediaEvent
from pipelines.pose import wire
from pipelines.simulate.delivery import PlayReport
from pipelines.simulate.performance import Performance, perform
from pipelines.simulate.player import Job, Player, PlayOptions, play_many
from pipelines.simulate.portal import Ticket
from pipelines.simulate.recording import Recording

SESSION = UUID("550e8400-e29b-41d4-a716-446655440000")
STARTED = dt.datetime(2026, 2, 16, 9, 3, tzinfo=dt.UTC)
TICKET = Ticket(session_id=SESSION, token="secret-token", ingest_url="http://node-1:8100/", started_at=STARTED)
FAST = PlayOptions(speed=None)


@pytest.fixture(scope="module")
def squats() -> Recording:
    return perform(Performance(exercise="deep_squat", reps=3, seed=1))


@dataclass
class Service:
    """The ingest service's contract in memory; ``trouble(path, n)`` may answer the n-th request instead, or raise."""

    trouble: Callable[[str, int], httpx.Response | None] = lambda _path, _n: None
    batches: list[wire.Batch] = field(default_factory=list)
    sequence: list[str] = field(default_factory=list)
    events: list[MediaEvent] = field(default_factory=list)
    ends: list[dict[str, str]] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            path = request.url.path
            self.requests[path] += 1
            answer = self.trouble(path, self.requests[path])
            return answer or self._accept(path, request)

    def _accept(self, path: str, request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer secret-token"
        body = request.read()
        if path == "/v1/pose/frames":
            assert request.headers["Content-Type"] == "application/octet-stream"
            self.batches.append(wire.decode(body))
            self.sequence.append(request.headers["Batch-Seq"])
            return httpx.Response(204)
        if path == "/v1/media/events":
            session_id = UUID(json.loads(body)[0]["session_id"])
            self.events.extend(media_events.decode(body, session_id).events)
            return httpx.Response(204)
        assert path.startswith("/v1/sessions/")
        assert path.endswith("/end")
        self.ends.append(json.loads(body))
        return httpx.Response(202, json={"state": "ended"})

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self))


@dataclass
class Time:
    """A clock that only waiting moves."""

    now_s: float = 100.0
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now_s += seconds


def play(
    service: Service,
    recording: Recording,
    options: PlayOptions = FAST,
    ticket: Ticket = TICKET,
    time: Time | None = None,
) -> PlayReport:
    time = time or Time()
    with service.client() as client:
        return Player(client, clock=lambda: time.now_s, sleep=time.sleep).play(ticket, recording, options, seed=3)


def refuse(status: int, code: str, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "detail": "no"}, headers=headers)


def on_pose(answer: Callable[[int], httpx.Response | None]) -> Callable[[str, int], httpx.Response | None]:
    return lambda path, number: answer(number) if path == "/v1/pose/frames" else None


def test_a_session_arrives_whole(squats: Recording) -> None:
    service = Service()
    report = play(service, squats)
    np.testing.assert_array_equal(np.concatenate([b.landmarks for b in service.batches]), squats.landmarks)
    np.testing.assert_array_equal(np.concatenate([b.timestamp_ms for b in service.batches]), squats.timestamp_ms)
    assert service.sequence == [str(number) for number in range(1, len(service.batches) + 1)]
    assert {batch.fps_hint for batch in service.batches} == {30}
    assert service.ends == [{"reason": "completed"}]
    assert report.end_state == "ended"
    assert report.batches == report.sent == report.acknowledged == len(report.latencies_ms) == len(service.batches)
    assert report.media_events_sent == report.media_events_acknowledged == len(service.events)
    assert report.last_acknowledged_ms == squats.duration_ms
    assert (report.duplicates, report.retries, report.given_up, report.rejected) == (0, 0, 0, Counter())


def test_its_media_events_are_a_view(squats: Recording) -> None:
    service = Service()
    play(service, squats)
    (view,) = aggregate([ReceivedEvent(event=event, received_at=STARTED) for event in service.events]).views
    assert view.began_at == STARTED
    assert view.ended_at is not None
    assert view.ended_at <= STARTED + dt.timedelta(milliseconds=squats.duration_ms + 1)
    assert view.watch_percentage is not None
    assert view.watch_percentage > 50


def test_it_keeps_the_pace(squats: Recording) -> None:
    time = Time()
    report = play(Service(), squats, PlayOptions(speed=4.0), time=time)
    assert report.seconds == pytest.approx(squats.duration_ms / 1000 / 4, abs=0.01)
    assert max(time.waits) < 0.3


def test_a_resumed_session_goes_on_where_it_was(squats: Recording) -> None:
    service = Service()
    report = play(service, squats, ticket=replace(TICKET, elapsed_ms=60_000))
    assert service.batches[0].timestamp_ms[0] == 60_000 + squats.timestamp_ms[0]
    assert report.last_acknowledged_ms == 60_000 + squats.duration_ms
    assert min(event.timestamp for event in service.events) == STARTED + dt.timedelta(seconds=60)


def test_repeats_on_purpose_are_the_same_bytes(squats: Recording) -> None:
    service = Service()
    report = play(service, squats, replace(FAST, resend_share=1.0))
    assert report.sent == report.acknowledged == 2 * report.batches
    assert report.duplicates == report.batches
    hashes = Counter(batch.payload_hash for batch in service.batches)
    assert set(hashes.values()) == {2}


def test_abandoned_and_silent(squats: Recording) -> None:
    service = Service()
    report = play(service, squats, replace(FAST, ending="abandoned", stop_after_s=5.0))
    assert service.ends == [{"reason": "abandoned"}]
    assert report.last_acknowledged_ms is not None
    assert 3900 < report.last_acknowledged_ms <= 5000
    silent = Service()
    report = play(silent, squats, replace(FAST, ending="silent", stop_after_s=5.0))
    assert silent.ends == []
    assert report.end_state is None
    assert max(event.timestamp for event in silent.events) <= STARTED + dt.timedelta(seconds=5)
    assert not any(b'"session_end"' in media_events.encode(event) for event in silent.events)


def test_it_waits_as_long_as_it_is_told(squats: Recording) -> None:
    service = Service(on_pose(lambda n: refuse(429, "rate_limited", {"Retry-After": "7"}) if n in (2, 3) else None))
    time = Time()
    report = play(service, squats, time=time)
    assert report.retries == 2
    assert report.acknowledged == report.sent == report.batches == len(service.batches)
    assert [7 < wait < 8 for wait in time.waits] == [True, True]


def test_a_lost_answer_is_asked_for_again(squats: Recording) -> None:
    def answer(number: int) -> httpx.Response | None:
        if number in (1, 5):
            raise httpx.ReadTimeout("no answer")
        return refuse(503, "consent_unknown") if number == 2 else None

    time = Time()
    report = play(Service(on_pose(answer)), squats, time=time)
    assert report.retries == 3
    assert report.acknowledged == report.batches
    assert all(0.1 < wait < 1 for wait in time.waits)


def test_it_gives_up_after_so_many_tries(squats: Recording) -> None:
    service = Service(on_pose(lambda _: refuse(503, "disk_full")))
    time = Time()
    report = play(service, squats, replace(FAST, max_retries=3, stop_after_s=2.5, media=False), time=time)
    assert report.batches == report.sent == report.given_up
    assert service.requests["/v1/pose/frames"] == 4 * report.batches
    assert report.rejected == {"disk_full": report.batches}
    assert report.acknowledged == 0
    assert report.last_acknowledged_ms is None
    assert max(time.waits) <= 15


def test_a_service_that_is_not_there(squats: Recording) -> None:
    def gone(_path: str, _number: int) -> httpx.Response | None:
        raise httpx.ConnectError("refused")

    report = play(Service(gone), squats, replace(FAST, max_retries=1, stop_after_s=1.5))
    assert report.acknowledged == 0
    assert report.rejected == {"ConnectError": report.given_up}


def test_withdrawal_closes_its_stream_only(squats: Recording) -> None:
    service = Service(on_pose(lambda n: refuse(403, "consent_withdrawn") if n > 4 else None))
    report = play(service, squats)
    assert (report.acknowledged, report.refused_after_withdrawal) == (4, 1)
    assert service.requests["/v1/pose/frames"] == 5
    assert report.media_events_acknowledged == report.media_events_sent > 0
    assert service.ends == [{"reason": "completed"}]
    insisting = play(service, squats, replace(FAST, insist=True))
    assert insisting.refused_after_withdrawal == insisting.sent == len(squats.batches())


def test_a_bad_batch_does_not_stop_the_next(squats: Recording) -> None:
    report = play(Service(on_pose(lambda n: refuse(422, "timestamp_decreasing") if n == 2 else None)), squats)
    assert report.rejected == {"timestamp_decreasing": 1}
    assert report.acknowledged == report.batches - 1


@pytest.mark.parametrize(("status", "code"), [(401, "token_expired"), (409, "session_ended"), (421, "not_home")])
def test_a_session_that_is_over_is_over(squats: Recording, status: int, code: str) -> None:
    report = play(Service(on_pose(lambda n: refuse(status, code) if n > 1 else None)), squats)
    assert (report.acknowledged, report.rejected[code]) == (1, 1)


def test_without_consent_nothing_is_captured(squats: Recording) -> None:
    service = Service()
    report = play(service, squats, ticket=replace(TICKET, capture_pose=False))
    assert service.batches == []
    assert (report.batches, report.sent) == (0, 0)
    assert service.events
    service = Service()
    play(service, squats, ticket=replace(TICKET, capture_media=False))
    assert service.events == []
    assert service.batches


def test_the_hook_is_called_after_each_batch(squats: Recording) -> None:
    seen: list[tuple[int, int]] = []
    with Service().client() as client:
        player = Player(client, clock=lambda: 0.0, sleep=lambda _: None)
        player.play(TICKET, squats, FAST, on_batch=lambda k, report: seen.append((k, report.acknowledged)))
    assert seen == [(k, k) for k in range(1, len(squats.batches()) + 1)]


def test_patients_side_by_side(squats: Recording) -> None:
    service = Service()
    tickets = [replace(TICKET, session_id=uuid4()) for _ in range(8)]
    with service.client() as client:
        jobs = [Job(ticket=t, recording=squats, options=FAST, seed=n) for n, t in enumerate(tickets)]
        reports = play_many(jobs, client)
    assert [report.session_id for report in reports] == [ticket.session_id for ticket in tickets]
    assert sum(report.acknowledged for report in reports) == len(service.batches) == 8 * len(squats.batches())
    assert play_many([]) == []


def test_the_token_is_never_shown() -> None:
    assert "secret-token" not in repr(TICKET)
    assert "secret-token" not in json.dumps(PlayReport(SESSION).as_dict())


def test_quantiles() -> None:
    report = PlayReport(SESSION, latencies_ms=[float(n) for n in range(100, 0, -1)])
    assert (report.latency_ms(0.5), report.latency_ms(0.99), report.latency_ms(1.0)) == (51, 100, 100)
    assert PlayReport(SESSION).latency_ms(0.5) is None
