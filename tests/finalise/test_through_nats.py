"""Finalised sessions reach the rows through NATS by the processes' own loops; killing NATS meanwhile loses nothing."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core_api.cli import run_relay, run_subscriber
from core_api.subscriber.settings import SubscriberSettings
from pipelines.adapters.nats.settings import NatsSettings
from tests.contracts.nats_server import NatsServer, running
from tests.finalise.scene import Clinic, Finalise, Node


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with running(tmp_path) as server:
        yield server


@contextlib.contextmanager
def processes(clinic: Clinic, server: NatsServer) -> Iterator[None]:
    """The relay and a subscriber. The subscriber looks at PostgreSQL for nothing but rows."""
    nats = NatsSettings((server.url,))
    settings = SubscriberSettings(database_url=clinic.database.url("subscriber"), poll_s=0.2, nats=nats)
    stop, outcome = threading.Event(), list[bool]()
    threads = [
        threading.Thread(target=lambda: run_relay(settings, nats, stop)),
        threading.Thread(target=lambda: outcome.append(run_subscriber(settings, stop))),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert outcome == [True]


def _await(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.05)


def test_sessions_reach_the_rows_though_nats_is_killed_between(
    clinic: Clinic, node: Node, finalise: Finalise, bodies: list[bytes], server: NatsServer
) -> None:
    headers = [clinic.session() for _ in range(4)]
    for header in headers:
        node.batches(header, bodies)
        node.end(header, 20)

    def applied() -> int:
        [row] = clinic.execute("select count(*) as n from telemetry.pose_session_metrics where rep_count = 4")
        return int(row["n"])

    with processes(clinic, server):
        finalise(headers[0])
        _await(lambda: applied() == 1, 30)
        server.kill()
        for header in headers[1:3]:
            assert finalise(header).verdict == "finalised"
        time.sleep(0.5)
        assert applied() == 1  # it is NATS they come through
        server.start()
        _await(lambda: applied() == 3, 60)
        finalise(headers[3])
        _await(lambda: applied() == 4, 30)
        _await(lambda: server.waiting() == 0, 30)
    states = clinic.execute("select state, count(*) as n from bus.deliveries group by state")
    assert states == [{"state": "done", "n": 4}]
