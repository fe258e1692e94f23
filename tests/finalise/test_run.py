"""The finaliser's loop: what it finds, how it waits and gives up, what it leaves on the disk."""

from __future__ import annotations

import datetime as dt
import os
import threading
import time
from typing import Any

import pytest

from pipelines.adapters.memory.blob_store import MemoryBlobStore
from pipelines.adapters.postgres.session_store import PostgresSessionStore
from pipelines.finalise.disk import FinaliserRunsError, NodeDisk, sole_finaliser
from pipelines.finalise.finaliser import Finaliser, Result
from pipelines.landing import closed, layout, reader
from pipelines.ports.blob_store import BlobStoreUnavailable
from tests.finalise.bench import Bench, now_session
from tests.finalise.scene import NODE, Clinic, Node


def test_an_end_on_the_disk_is_found_and_its_late_data_too(
    clinic: Clinic, node: Node, bench: Bench, bodies: list[bytes]
) -> None:
    header = now_session(clinic)
    node.batches(header, bodies[:5])
    bench.look()
    assert clinic.row(header)["state"] == "open"
    node.end(header, 20)
    bench.until(lambda: clinic.row(header)["revision"] == 1)
    node.batch(header, bodies[5], 21, worker=1)
    bench.until(lambda: clinic.row(header)["revision"] == 2, advance_s=3)
    bench.look(advance_s=3)
    assert clinic.row(header)["revision"] == 2


def test_a_session_the_sweep_closed_is_found_in_the_store(clinic: Clinic, bench: Bench) -> None:
    header = now_session(clinic, state="ended", ended_at=dt.datetime.now(dt.UTC), end_reason="timeout")
    bench.until(lambda: clinic.row(header)["state"] == "finalised")


def test_a_restart_finds_what_landed_while_it_was_away_and_leaves_the_rest(
    clinic: Clinic, node: Node, bench: Bench, bodies: list[bytes]
) -> None:
    quiet, grown = now_session(clinic), now_session(clinic)
    for header in (quiet, grown):
        node.batches(header, bodies[:5])
        node.end(header, 20)
    bench.until(lambda: clinic.row(quiet)["revision"] == 1 and clinic.row(grown)["revision"] == 1)
    node.batch(grown, bodies[5], 21)
    bench.restarted()
    bench.until(lambda: clinic.row(grown)["revision"] == 2)
    assert clinic.row(quiet)["revision"] == 1


def test_nothing_is_sealed_while_a_log_waits_for_recovery(
    clinic: Clinic, node: Node, bench: Bench, bodies: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    header = now_session(clinic)
    node.batches(header, bodies)
    node.end(header, 20)
    with monkeypatch.context() as crashed:
        crashed.setattr(reader, "has_unrecovered_log", lambda _: True)
        bench.look()
        assert clinic.row(header)["state"] == "open"
    bench.until(lambda: clinic.row(header)["state"] == "finalised")


def test_a_store_that_is_away_costs_no_attempt(
    clinic: Clinic, node: Node, bench: Bench, bodies: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    header = now_session(clinic)
    node.batches(header, bodies)
    node.end(header, 20)

    def away(*_: object, **__: object) -> Any:  # noqa: ANN401
        raise BlobStoreUnavailable("no route")

    with monkeypatch.context() as outage:
        outage.setattr(MemoryBlobStore, "put", away)
        for _ in range(6):
            bench.look(advance_s=130)
        row = clinic.row(header)
        assert (row["state"], row["attempts"]) == ("ended", 0)
        assert row["failure"] == "BlobStoreUnavailable: no route"
    bench.until(lambda: clinic.row(header)["state"] == "finalised", advance_s=130)
    assert clinic.row(header)["failure"] is None


def test_a_session_that_cannot_be_finalised_fails_with_its_reason_and_can_be_retried(
    clinic: Clinic, node: Node, bench: Bench, bodies: list[bytes], store: PostgresSessionStore
) -> None:
    header = now_session(clinic, movement_profile='{"name": "no such shape"}')
    node.batches(header, bodies)
    node.end(header, 20)
    for _ in range(6):
        bench.look(advance_s=130)
    row = clinic.row(header)
    assert (row["state"], row["attempts"]) == ("failed", 3)
    assert row["failure"].startswith("ValidationError: ")
    assert reader.list_sessions(node.data_dir) == [header.session_id]
    clinic.execute("update telemetry.sessions set movement_profile = null")
    assert store.retry(1, header.session_id)
    bench.until(lambda: clinic.row(header)["state"] == "finalised", advance_s=130)


def test_a_spool_goes_an_hour_after_its_token_and_not_before(
    clinic: Clinic, node: Node, bench: Bench, bodies: list[bytes]
) -> None:
    header, still_open = now_session(clinic), now_session(clinic)
    for one in (header, still_open):
        node.batches(one, bodies)
    node.end(header, 20)
    bench.until(lambda: clinic.row(header)["state"] == "finalised")
    bench.look(advance_s=4.9 * 3600)
    assert header.session_id in reader.list_sessions(node.data_dir)
    bench.look(advance_s=0.2 * 3600)
    assert reader.list_sessions(node.data_dir) == [still_open.session_id]
    assert closed.sessions(node.data_dir) == []


def test_withdrawn_bytes_leave_the_spool_within_the_hour_and_the_session_is_closed_for_good(
    clinic: Clinic, node: Node, bench: Bench, bodies: list[bytes]
) -> None:
    withdrawn_at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=50)
    header = now_session(clinic, state="ended", ended_at=withdrawn_at, end_reason="consent_withdrawn")
    node.batches(header, bodies)
    clinic.consent("biometric", False, withdrawn_at)
    bench.until(lambda: clinic.row(header)["state"] == "finalised")
    assert clinic.row(header)["batches_dropped_for_consent"] > 0
    bench.look(advance_s=61)
    assert reader.list_sessions(node.data_dir) == [header.session_id]
    for _ in range(3):
        bench.look(advance_s=1000)
    assert reader.list_sessions(node.data_dir) == []
    assert closed.sessions(node.data_dir) == [header.session_id]
    assert clinic.row(header)["revision"] == 1
    bench.restarted()
    bench.look()
    assert clinic.row(header)["state"] == "finalised"
    bench.look(advance_s=6 * 3600)
    assert closed.sessions(node.data_dir) == []


def test_a_withdrawal_that_was_in_flight_is_honoured_by_the_next_pass(
    clinic: Clinic, node: Node, bench: Bench, bodies: list[bytes]
) -> None:
    header = now_session(clinic)
    node.batches(header, bodies)
    node.end(header, 20)
    bench.until(lambda: clinic.row(header)["revision"] == 1)
    clinic.consent("biometric", False, header.started_at + dt.timedelta(seconds=5))
    bench.until(lambda: clinic.row(header)["revision"] == 2, advance_s=61)
    assert clinic.row(header)["batches_in_blob"] == 3


def test_sessions_of_a_lost_node_are_finished_by_another(clinic: Clinic, bench: Bench) -> None:
    clinic.execute(
        "insert into telemetry.nodes (node_id, ingest_url, seen_at, lease_until)"
        " values ('gone', 'http://gone', now(), now() - interval '16 minutes')"
    )
    ended = dt.datetime.now(dt.UTC)
    header = now_session(clinic, node="gone", state="ended", ended_at=ended, end_reason="node_lost", incomplete=True)
    bench.until(lambda: clinic.row(header)["state"] == "finalised")
    assert clinic.row(header)["accepted_records"] is None


@pytest.mark.parametrize("restarted", [False, True])
def test_a_node_that_was_given_up_and_is_back_repairs_what_another_finished_without_it(
    clinic: Clinic, node: Node, bench: Bench, bodies: list[bytes], restarted: bool
) -> None:
    header = now_session(clinic)
    node.batches(header, bodies)
    for name in node.data_dir.glob("spool/*/*.spool"):
        os.utime(name, (time.time() - 3600, time.time() - 3600))  # all of it landed long before the node was given up
    bench.look()
    clinic.execute("update telemetry.sessions set state = 'ended', ended_at = now(), end_reason = 'node_lost'")
    elsewhere = Finaliser(NodeDisk(node.data_dir / "elsewhere"), bench.store, bench.blobs, bench.copies, bench.now)
    assert elsewhere.finalise_lost(1, header.session_id) == Result("finalised", 1)
    assert clinic.row(header)["accepted_records"] is None
    if restarted:
        bench.restarted()
    bench.until(lambda: clinic.row(header)["revision"] == 2, advance_s=61)
    assert clinic.row(header)["batches_in_blob"] == len(bodies)


def test_the_loop_stops_when_told_and_finishes_what_it_began(
    clinic: Clinic, node: Node, bench: Bench, bodies: list[bytes]
) -> None:
    header = now_session(clinic)
    stop = threading.Event()
    loop = threading.Thread(target=bench.runner.run, args=[stop])
    loop.start()
    node.batches(header, bodies)
    node.end(header, 20)
    deadline = time.monotonic() + 20
    while clinic.row(header)["state"] != "finalised":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    stop.set()
    loop.join(10)
    assert not loop.is_alive()


def test_a_node_has_one_finaliser(node: Node) -> None:
    with sole_finaliser(node.data_dir), pytest.raises(FinaliserRunsError), sole_finaliser(node.data_dir):
        pass
    with sole_finaliser(node.data_dir):
        pass


def test_sessions_that_wait_are_told(clinic: Clinic, node: Node, bench: Bench, bodies: list[bytes]) -> None:
    """What an alarm is made of: how many have ended and are not finalised, for how long, and that somebody looks."""

    def told(metric: str) -> float:
        lines = layout.finaliser_metrics(node.data_dir).read_text().splitlines()
        [line] = [line for line in lines if line.startswith(metric + " ")]
        return float(line.split()[1])

    header = now_session(clinic)
    node.batches(header, bodies[:2])
    node.end(header, 20)
    bench.blobs.put = unavailable  # type: ignore[method-assign, assignment]
    for _ in range(4):
        bench.look(advance_s=400)
    assert told("restartix_finaliser_waiting_sessions") == 1
    assert told("restartix_finaliser_waiting_seconds") > 1500
    assert abs(told("restartix_finaliser_seen_timestamp_seconds") - bench.now().timestamp()) < 401
    assert told("restartix_finaliser_failed_total") == 0
    del bench.blobs.put
    for _ in range(3):
        bench.look(advance_s=400)
    assert clinic.row(header)["state"] == "finalised"
    assert told("restartix_finaliser_waiting_sessions") == 0
    assert told("restartix_finaliser_waiting_seconds") == 0


def unavailable(*_: object, **__: object) -> None:
    raise BlobStoreUnavailable("away")


def test_a_spool_nobody_knows_is_told_and_kept_and_forgotten_once_it_is_placed(
    clinic: Clinic, node: Node, bench: Bench, bodies: list[bytes]
) -> None:
    """As after a restore of the database to an earlier moment."""
    header = now_session(clinic)
    node.batches(header, bodies[:5])
    clinic.execute("update telemetry.sessions set node_id = %s", _other_node(clinic))

    def unknown() -> float:
        text = layout.finaliser_metrics(node.data_dir).read_text()
        line = next(line for line in text.splitlines() if line.startswith("restartix_finaliser_unknown_sessions "))
        return float(line.split()[1])

    bench.look(advance_s=61)
    bench.look(advance_s=61)
    assert unknown() == 1
    assert reader.list_sessions(node.data_dir) == [header.session_id]
    clinic.execute("update telemetry.sessions set node_id = %s", NODE)
    bench.look(advance_s=61)
    bench.look(advance_s=61)
    assert unknown() == 0


def _other_node(clinic: Clinic) -> str:
    clinic.execute(
        "insert into telemetry.nodes (node_id, ingest_url, seen_at, lease_until)"
        " values ('other', 'http://o', now(), now())"
    )
    return "other"
