"""A node is gone, or its disk is another one: its sessions are finished from what reached the blob store."""

from __future__ import annotations

import datetime as dt
import functools
import operator
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from pipelines.adapters.memory.blob_store import MemoryBlobStore
from pipelines.adapters.postgres.safety_copy_store import PostgresSafetyCopyStore
from pipelines.adapters.postgres.session_store import PostgresSessionStore
from pipelines.finalise.cli import run_sweep
from pipelines.finalise.copier import Copier
from pipelines.finalise.copy_loop import CopyLoop
from pipelines.finalise.disk import NodeDisk
from pipelines.finalise.finaliser import Finaliser, Result
from pipelines.finalise.safety_copy import SafetyCopies
from pipelines.landing import spool
from pipelines.ports.blob_store import BlobStoreUnavailable
from pipelines.ports.landing import SessionHeader
from pipelines.pose import wire
from pipelines.replay.keys import blob_key
from tests.finalise.scene import NODE, START, Clinic, Node

OTHER_NODE = "node-b"


class PowerCut(BaseException):
    """The process is gone: nothing above may handle it."""


@pytest.fixture
def survivor(tmp_path: Path, store: PostgresSessionStore, blobs: MemoryBlobStore, copies: SafetyCopies) -> Finaliser:
    """Another node's finaliser, with a disk of its own."""
    return Finaliser(NodeDisk(tmp_path / "other"), store, blobs, copies, lambda: dt.datetime.now(dt.UTC))


@pytest.fixture
def copied(
    clinic: Clinic, node: Node, store: PostgresSessionStore, copies: SafetyCopies, bodies: list[bytes]
) -> SessionHeader:
    """A running session: of its sixteen batches fifteen are in five parts."""
    header = clinic.session(last_received_at=START + dt.timedelta(seconds=16))
    node.batches(header, bodies)
    disk, moment = NodeDisk(node.data_dir), START + dt.timedelta(seconds=100)
    copier = Copier(node_id=NODE, landing=disk, sessions=store, copies=copies, now=lambda: moment)
    assert copier.advance(1, header.session_id).part_count == 5
    return header


def _lose(clinic: Clinic, node: Node) -> None:
    """The node's disk is gone, its lease over, and the sweep says so."""
    for log in node.logs:
        log.close()
    shutil.rmtree(node.data_dir)
    clinic.execute("update telemetry.nodes set lease_until = now() - interval '16 minutes' where node_id = %s", NODE)
    report = run_sweep({"RESTARTIX_DATABASE_URL": clinic.database.url("sweeper")})
    assert (report.node_lost, report.timeout) == (1, 0)


def _assert_nothing_kept(clinic: Clinic, blobs: MemoryBlobStore, header: SessionHeader) -> None:
    assert blobs.list_uploads(blob_key(1, header.session_id)) == []
    assert clinic.execute("select 1 from telemetry.safety_copies") == []
    assert clinic.execute("select 1 from telemetry.safety_copy_parts") == []


def test_a_lost_nodes_session_is_finished_by_another_from_its_copy(
    *,
    clinic: Clinic,
    node: Node,
    store: PostgresSessionStore,
    blobs: MemoryBlobStore,
    copies: SafetyCopies,
    survivor: Finaliser,
    copied: SessionHeader,
    bodies: list[bytes],
) -> None:
    _lose(clinic, node)
    [claimed] = store.claim_lost(OTHER_NODE, 900, 600, 10)
    assert survivor.finalise_lost(claimed.organisation_id, claimed.session_id) == Result("finalised", 1)

    [announced] = clinic.published(copied)
    assert (announced.end_reason, announced.incomplete, announced.counts) == ("node_lost", True, None)
    assert announced.pose is not None
    assert announced.pose.frame_count == sum(wire.decode(body).frame_count for body in bodies[:15])
    assert announced.media is None
    key = blob_key(1, copied.session_id)
    [version] = blobs.list_versions(key)
    assert blobs.get(key) == b"".join(bodies[:15])
    assert blobs.tags(key) == {"retention": "default"}
    row = clinic.row(copied)
    assert (row["state"], row["incomplete"], row["blob_version_id"]) == ("finalised", True, version.version_id)
    assert (row["accepted_records"], row["batches_duplicate"], row["batches_in_blob"]) == (None, None, 15)
    assert [member["ordinal"] for member in clinic.execute("select ordinal from telemetry.blob_members")] == list(
        range(1, 16)
    )
    _assert_nothing_kept(clinic, blobs, copied)
    assert "restartix_safety_copy_restored_total 1\n" in copies.meter.render()
    assert store.claim_lost(OTHER_NODE, 900, 600, 10) == []


def test_what_was_copied_out_of_order_is_put_into_order(
    *,
    clinic: Clinic,
    node: Node,
    store: PostgresSessionStore,
    blobs: MemoryBlobStore,
    copies: SafetyCopies,
    survivor: Finaliser,
    bodies: list[bytes],
) -> None:
    header = clinic.session(last_received_at=START)
    disk = NodeDisk(node.data_dir)
    for begin, at_s in ((3, 50.0), (0, 100.0)):
        for second, body in enumerate(bodies[begin : begin + 3], start=1 + begin):
            node.batch(header, body, second if begin else second + 40)
        now = functools.partial(operator.add, START, dt.timedelta(seconds=at_s))
        copier = Copier(node_id=NODE, landing=disk, sessions=store, copies=copies, now=now)
        assert copier.advance(1, header.session_id).part_count == 1
    _lose(clinic, node)
    survivor.finalise_lost(1, header.session_id)
    assert blobs.get(blob_key(1, header.session_id), clinic.row(header)["blob_version_id"]) == b"".join(bodies[:6])


@pytest.mark.parametrize(("withdrawn_s", "kept"), [(6.5, 5), (1.5, 0)])
def test_a_withdrawal_that_showed_after_the_disk_was_lost_is_applied_by_receipt_times(
    *,
    clinic: Clinic,
    node: Node,
    blobs: MemoryBlobStore,
    survivor: Finaliser,
    copied: SessionHeader,
    bodies: list[bytes],
    withdrawn_s: float,
    kept: int,
) -> None:
    _lose(clinic, node)
    clinic.consent("biometric", False, START + dt.timedelta(seconds=withdrawn_s))
    survivor.finalise_lost(1, copied.session_id)
    key = blob_key(1, copied.session_id)
    versions = blobs.list_versions(key)
    assert [blobs.get(key, version.version_id) for version in versions] == [b"".join(bodies[:kept])][: kept and 1]
    row = clinic.row(copied)
    assert (row["batches_in_blob"], row["accepted_records"], row["incomplete"]) == (kept, None, True)
    _assert_nothing_kept(clinic, blobs, copied)


def test_a_lost_session_of_which_nothing_was_copied_is_finished_without_a_blob(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, survivor: Finaliser, bodies: list[bytes]
) -> None:
    header = clinic.session(last_received_at=START)
    node.batches(header, bodies[:2])
    _lose(clinic, node)
    assert survivor.finalise_lost(1, header.session_id) == Result("finalised", 1)
    [announced] = clinic.published(header)
    assert (announced.pose, announced.media, announced.blob, announced.counts) == (None, None, None, None)
    assert (announced.end_reason, announced.incomplete) == ("node_lost", True)
    assert list(blobs.list_objects("")) == []


def test_only_parts_that_are_as_remembered_are_used(
    *,
    clinic: Clinic,
    node: Node,
    blobs: MemoryBlobStore,
    survivor: Finaliser,
    copied: SessionHeader,
    bodies: list[bytes],
) -> None:
    key = blob_key(1, copied.session_id)
    [upload] = blobs.list_uploads(key)
    blobs.upload_part(key, upload, 3, b"something else")
    _lose(clinic, node)
    survivor.finalise_lost(1, copied.session_id)
    assert blobs.get(key) == b"".join(bodies[:6])


def test_parts_that_expired_are_gone_and_it_is_said(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, survivor: Finaliser, copied: SessionHeader
) -> None:
    key = blob_key(1, copied.session_id)
    [upload] = blobs.list_uploads(key)
    blobs.abort_upload(key, upload)
    _lose(clinic, node)
    assert survivor.finalise_lost(1, copied.session_id) == Result("finalised", 1)
    assert clinic.row(copied)["blob_key"] is None


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize(
    ("where", "step"),
    [
        (MemoryBlobStore, "complete_upload"),
        (MemoryBlobStore, "put"),
        (MemoryBlobStore, "delete_version"),
        (PostgresSessionStore, "publish"),
        (PostgresSafetyCopyStore, "forget"),
    ],
)
def test_dying_while_a_lost_session_is_finished_and_trying_again_gives_one_whole_result(
    *,
    clinic: Clinic,
    node: Node,
    store: PostgresSessionStore,
    blobs: MemoryBlobStore,
    copies: SafetyCopies,
    survivor: Finaliser,
    copied: SessionHeader,
    bodies: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    where: type,
    step: str,
    is_done: bool,
) -> None:
    _lose(clinic, node)
    clinic.consent("biometric", False, START + dt.timedelta(seconds=6.5))
    with monkeypatch.context() as cut:
        cut.setattr(where, step, _dying(getattr(where, step), is_done=is_done))
        with pytest.raises(PowerCut):
            survivor.finalise_lost(1, copied.session_id)
    survivor.finalise_lost(1, copied.session_id)
    _loop(tmp_path / "other", OTHER_NODE, store, copies).look(threading.Event())
    key = blob_key(1, copied.session_id)
    [version] = blobs.list_versions(key)
    assert blobs.get(key, version.version_id) == b"".join(bodies[:5])
    assert clinic.row(copied)["revision"] == len(clinic.published(copied)) == 1
    _assert_nothing_kept(clinic, blobs, copied)


def test_a_node_that_is_back_with_another_disk_joins_what_it_has_to_the_copy(
    *,
    clinic: Clinic,
    node: Node,
    blobs: MemoryBlobStore,
    finaliser: Finaliser,
    copied: SessionHeader,
    bodies: list[bytes],
) -> None:
    spool.remove(node.data_dir, copied.session_id)
    node.logs[0], node.logs[1] = node.logs[1], node.logs[0]  # the other log has not met the session
    node.batch(copied, bodies[15], 40)
    node.end(copied, 50)
    assert finaliser.finalise(1, copied.session_id) == Result("finalised", 1)
    key = blob_key(1, copied.session_id)
    assert blobs.get(key, clinic.row(copied)["blob_version_id"]) == b"".join(bodies)
    [announced] = clinic.published(copied)
    assert (announced.end_reason, announced.incomplete, announced.counts) == ("completed", True, None)
    _assert_nothing_kept(clinic, blobs, copied)
    assert finaliser.finalise(1, copied.session_id) == Result("nothing_new", 1)


def test_a_node_that_is_back_with_another_disk_takes_nothing_from_what_was_finished_without_it(
    *,
    clinic: Clinic,
    node: Node,
    blobs: MemoryBlobStore,
    finaliser: Finaliser,
    survivor: Finaliser,
    copied: SessionHeader,
    bodies: list[bytes],
) -> None:
    clinic.execute("update telemetry.sessions set state = 'ended', ended_at = now(), end_reason = 'node_lost'")
    survivor.finalise_lost(1, copied.session_id)
    spool.remove(node.data_dir, copied.session_id)
    node.logs[0], node.logs[1] = node.logs[1], node.logs[0]
    node.batch(copied, bodies[15], 40)
    assert finaliser.finalise(1, copied.session_id) == Result("finalised", 2)
    row = clinic.row(copied)
    assert (row["batches_in_blob"], row["accepted_records"], row["incomplete"]) == (16, None, True)
    assert blobs.get(blob_key(1, copied.session_id), row["blob_version_id"]) == b"".join(bodies)
    assert finaliser.finalise(1, copied.session_id) == Result("nothing_new", 2)


def test_a_session_of_which_only_the_copy_is_left_is_finished_from_it(
    *,
    clinic: Clinic,
    node: Node,
    blobs: MemoryBlobStore,
    finaliser: Finaliser,
    copied: SessionHeader,
    bodies: list[bytes],
) -> None:
    spool.remove(node.data_dir, copied.session_id)
    clinic.execute("update telemetry.sessions set state = 'ended', ended_at = now(), end_reason = 'timeout'")
    assert finaliser.finalise(1, copied.session_id) == Result("finalised", 1)
    assert blobs.get(blob_key(1, copied.session_id)) == b"".join(bodies[:15])
    assert clinic.row(copied)["incomplete"] is True


def test_a_lost_session_is_claimed_by_one_node_until_its_claim_is_over(
    clinic: Clinic, node: Node, store: PostgresSessionStore
) -> None:
    header = clinic.session(last_received_at=START)
    _lose(clinic, node)

    def claims(node_id: str, lease_s: int = 600) -> int:
        return len(store.claim_lost(node_id, 900, lease_s, 10))

    assert (claims("node-b"), claims("node-c"), claims("node-b"), claims(NODE)) == (1, 0, 1, 0)
    assert claims("node-b", lease_s=-1) == 1
    assert (claims("node-c"), claims("node-b")) == (1, 0)
    assert clinic.row(header)["state"] == "ended"


def test_left_over_copies_are_given_up_by_their_node_and_by_others_once_it_is_lost(
    *,
    clinic: Clinic,
    tmp_path: Path,
    store: PostgresSessionStore,
    blobs: MemoryBlobStore,
    copies: SafetyCopies,
    copied: SessionHeader,
) -> None:
    own, other = (_loop(tmp_path / "other", node_id, store, copies) for node_id in (NODE, OTHER_NODE))
    stop = threading.Event()
    own.look(stop)
    assert blobs.list_uploads(blob_key(1, copied.session_id)) != []
    clinic.execute("update telemetry.sessions set state = 'erased'")
    other.look(stop)
    assert blobs.list_uploads(blob_key(1, copied.session_id)) != []
    own.look(stop)
    _assert_nothing_kept(clinic, blobs, copied)
    copies.meter.write(tmp_path / "other", now_s=1.0)
    assert 'aborted_total{reason="settled"} 1\n' in (tmp_path / "other" / "finaliser.prom").read_text()


def test_the_loop_reads_a_spool_once_it_has_grown_by_a_part_and_rested(
    *,
    clinic: Clinic,
    node: Node,
    store: PostgresSessionStore,
    copies: SafetyCopies,
    bodies: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    header = clinic.session(dt.datetime.now(dt.UTC) - dt.timedelta(seconds=600))
    clinic.consent("biometric", True, header.started_at - dt.timedelta(days=1))
    reads = 0
    read_session = NodeDisk.read_session
    monotonic_s = 1000.0

    def counted(*arguments: Any) -> Any:  # noqa: ANN401
        nonlocal reads
        reads += 1
        return read_session(*arguments)

    monkeypatch.setattr(NodeDisk, "read_session", counted)
    loop = _loop(node.data_dir, NODE, store, copies, lambda: monotonic_s)
    stop = threading.Event()

    def look(land: list[bytes], later_s: float) -> tuple[int, int]:
        nonlocal monotonic_s
        node.batches(header, land)
        monotonic_s += later_s
        loop.look(stop)
        return reads, len(clinic.execute("select 1 from telemetry.safety_copy_parts"))

    assert look(bodies[:2], 15) == (0, 0)
    assert look(bodies[2:3], 15) == (0, 0), "large enough, and has to rest"
    assert look([], 15) == (0, 0)
    assert look([], 15) == (1, 1)
    assert look(bodies[3:5], 300) == (1, 1)
    assert look(bodies[5:9], 15) == (1, 1)
    assert look([], 31) == (2, 3)
    clinic.execute("update telemetry.sessions set state = 'ended'")
    assert look(bodies[9:], 15) == (2, 3)
    assert look([], 31) == (2, 3)


def test_the_loop_survives_stores_that_are_away(
    *,
    clinic: Clinic,
    node: Node,
    store: PostgresSessionStore,
    copies: SafetyCopies,
    bodies: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    header = clinic.session(dt.datetime.now(dt.UTC) - dt.timedelta(seconds=600))
    clinic.consent("biometric", True, header.started_at - dt.timedelta(days=1))
    node.batches(header, bodies[:6])
    moments = iter(range(0, 10_000, 31))
    loop = _loop(node.data_dir, NODE, store, copies, lambda: next(moments))

    def away(*_: object, **__: object) -> Any:  # noqa: ANN401
        raise BlobStoreUnavailable("no route")

    stop = threading.Event()
    with monkeypatch.context() as outage:
        outage.setattr(MemoryBlobStore, "upload_part", away)
        for _ in range(3):
            loop.look(stop)
    thread = threading.Thread(target=loop.run, args=(stop, 0.01))
    thread.start()
    deadline = time.monotonic() + 20
    while len(clinic.execute("select 1 from telemetry.safety_copy_parts")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def _loop(
    data_dir: Path,
    node_id: str,
    store: PostgresSessionStore,
    copies: SafetyCopies,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> CopyLoop:
    disk = NodeDisk(data_dir)
    data_dir.mkdir(exist_ok=True)
    return CopyLoop(
        node_id=node_id,
        data_dir=data_dir,
        lost_s=900,
        disk=disk,
        sessions=store,
        copier=Copier(
            node_id=node_id, landing=disk, sessions=store, copies=copies, now=lambda: dt.datetime.now(dt.UTC)
        ),
        copies=copies,
        monotonic_s=monotonic_s,
        log=structlog.get_logger(),
    )


def _dying(step: Callable[..., Any], *, is_done: bool) -> Callable[..., Any]:
    """The power goes out at the first call, before or after its work."""
    calls = iter(range(1_000_000))

    def die(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        if next(calls):
            return step(*arguments, **options)
        if is_done:
            step(*arguments, **options)
        raise PowerCut

    return die
