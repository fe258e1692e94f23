"""The safety copy of a running session: what goes into its parts, and what becomes of it at the seal."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from pipelines.adapters.memory.blob_store import MemoryBlobStore
from pipelines.adapters.postgres.bus import Connection
from pipelines.adapters.postgres.safety_copy_store import PostgresSafetyCopyStore
from pipelines.adapters.postgres.session_store import PostgresSessionStore
from pipelines.finalise.copier import Advance, Copier
from pipelines.finalise.disk import NodeDisk
from pipelines.finalise.finaliser import Result
from pipelines.finalise.safety_copy import SafetyCopies
from pipelines.ports.landing import SessionHeader
from pipelines.replay.keys import blob_key
from tests.finalise.scene import NODE, PART_BYTES, START, Clinic, Finalise, Node

Copy = Callable[[SessionHeader, float], Advance]


class PowerCut(BaseException):
    """The process is gone: nothing above may handle it."""


@pytest.fixture
def copy(node: Node, store: PostgresSessionStore, copies: SafetyCopies) -> Copy:
    """One pass over a session, so many seconds after its start."""

    def advance(header: SessionHeader, at_s: float) -> Advance:
        moment = header.started_at + dt.timedelta(seconds=at_s)
        disk = NodeDisk(node.data_dir)
        copier = Copier(node_id=NODE, landing=disk, sessions=store, copies=copies, now=lambda: moment)
        return copier.advance(1, header.session_id)

    return advance


def _parts(clinic: Clinic) -> list[dict[str, Any]]:
    return clinic.execute("select * from telemetry.safety_copy_parts order by part_number")


def _member_counts(clinic: Clinic) -> list[int]:
    return [len(row["member_hashes"]) for row in _parts(clinic)]


def _assert_settled(clinic: Clinic, blobs: MemoryBlobStore, header: SessionHeader, expected: list[bytes]) -> None:
    """One version with these members, no upload, nothing remembered."""
    key = blob_key(1, header.session_id)
    [version] = blobs.list_versions(key)
    assert version.version_id == clinic.row(header)["blob_version_id"]
    assert blobs.get(key) == b"".join(expected)
    assert blobs.list_uploads(key) == []
    assert clinic.execute("select 1 from telemetry.safety_copies") == _parts(clinic) == []
    assert clinic.row(header)["batches_in_blob"] == len(expected)


def test_parts_hold_whole_batches_that_have_rested(
    *, clinic: Clinic, node: Node, blobs: MemoryBlobStore, copies: SafetyCopies, copy: Copy, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies)  # received 1, 2, ... s after the start
    assert copy(header, 32.5) == Advance(True, 0, 0)  # two have rested, three are a part
    assert copy(header, 36.5).part_count == 2
    key = blob_key(1, header.session_id)
    [upload] = blobs.list_uploads(key)
    assert [part.size_bytes for part in blobs.list_parts(key, upload)] == [
        len(b"".join(bodies[:3])),
        len(b"".join(bodies[3:6])),
    ]
    assert blobs.head(key) is None, "nothing is seen before the seal"
    [first, _] = _parts(clinic)
    assert first["member_bytes"] == [len(body) for body in bodies[:3]]
    assert first["member_received_at"] == [START + dt.timedelta(seconds=second) for second in (1, 2, 3)]
    rest = copy(header, 100)
    assert (rest.is_open, rest.part_count) == (True, 3)
    assert rest.wanting_bytes == PART_BYTES - len(bodies[15])
    assert copy(header, 101).part_count == 0
    assert "restartix_safety_copy_parts_total 5\n" in copies.meter.render()
    assert f"restartix_safety_copy_bytes_total {len(b''.join(bodies[:15]))}\n" in copies.meter.render()


def test_the_seal_completes_what_is_the_blobs_beginning(
    *,
    clinic: Clinic,
    node: Node,
    blobs: MemoryBlobStore,
    copies: SafetyCopies,
    copy: Copy,
    finalise: Finalise,
    bodies: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    header = clinic.session(retention="clinical")
    node.batches(header, bodies[:10])
    assert copy(header, 60).part_count == 3
    for second, body in enumerate(bodies[10:], start=61):
        node.batch(header, body, second, worker=1)
    node.end(header, 80)
    monkeypatch.setattr(blobs, "put", _never)
    assert finalise(header) == Result("finalised", 1)
    _assert_settled(clinic, blobs, header, bodies)
    key = blob_key(1, header.session_id)
    assert blobs.tags(key) == {"retention": "clinical"}
    assert "restartix_safety_copy_completed_total 1\n" in copies.meter.render()
    assert copy(header, 100) == Advance(False, 0, 0), "a session that ended is not copied"


def test_a_copy_that_is_the_whole_blob_is_completed_as_it_is(
    *,
    clinic: Clinic,
    node: Node,
    blobs: MemoryBlobStore,
    copy: Copy,
    finalise: Finalise,
    bodies: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    header = clinic.session()
    node.batches(header, bodies[:6])
    assert copy(header, 60).part_count == 2
    node.end(header, 80)
    monkeypatch.setattr(blobs, "put", _never)
    monkeypatch.setattr(blobs, "upload_part", _never)
    finalise(header)
    _assert_settled(clinic, blobs, header, bodies[:6])


def test_what_came_out_of_order_is_aborted_and_sealed_from_the_spool(
    *,
    clinic: Clinic,
    node: Node,
    blobs: MemoryBlobStore,
    copies: SafetyCopies,
    copy: Copy,
    finalise: Finalise,
    bodies: list[bytes],
) -> None:
    header = clinic.session()
    for second, body in enumerate(bodies[3:], start=1):
        node.batch(header, body, second)
    assert copy(header, 60).part_count == 4
    for second, body in enumerate(bodies[:3], start=70):
        node.batch(header, body, second)
    assert copy(header, 120).part_count == 1, "it goes on: a lost node's copy need not be in order"
    node.end(header, 121)
    finalise(header)
    _assert_settled(clinic, blobs, header, bodies)
    assert 'aborted_total{reason="not_beginning"} 1\n' in copies.meter.render()


def test_no_part_holds_what_a_known_withdrawal_drops(
    *, clinic: Clinic, node: Node, blobs: MemoryBlobStore, copy: Copy, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    clinic.consent("biometric", False, START + dt.timedelta(seconds=8.5))
    copy(header, 100)
    # Received at 1, 2, ... seconds; covered below 7.5.
    assert _member_counts(clinic) == [3, 3]
    node.end(header, 101)
    finalise(header)
    _assert_settled(clinic, blobs, header, bodies[:7])


def test_a_withdrawal_while_batches_rest_is_seen_before_they_are_copied(
    clinic: Clinic, node: Node, store: PostgresSessionStore, copies: SafetyCopies, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies)

    def withdraw_as_the_clock_is_read() -> dt.datetime:
        if not clinic.execute("select 1 from core.consents where not granted"):
            clinic.consent("biometric", False, START + dt.timedelta(seconds=5.5))
        return START + dt.timedelta(seconds=100)

    disk = NodeDisk(node.data_dir)
    Copier(node_id=NODE, landing=disk, sessions=store, copies=copies, now=withdraw_as_the_clock_is_read).advance(
        1, header.session_id
    )
    assert _member_counts(clinic) == [3]


def test_a_withdrawal_that_reaches_back_into_the_copy_gives_it_up_and_another_begins(
    *,
    clinic: Clinic,
    node: Node,
    blobs: MemoryBlobStore,
    copies: SafetyCopies,
    copy: Copy,
    finalise: Finalise,
    bodies: list[bytes],
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    assert copy(header, 100).part_count == 5
    key = blob_key(1, header.session_id)
    [before] = blobs.list_uploads(key)
    clinic.consent("biometric", False, START + dt.timedelta(seconds=5.5))  # was in flight
    copy(header, 101)
    [after] = blobs.list_uploads(key)
    assert before != after
    assert _member_counts(clinic) == [3]
    assert 'aborted_total{reason="consent"} 1\n' in copies.meter.render()
    node.end(header, 102)
    finalise(header)
    _assert_settled(clinic, blobs, header, bodies[:4])


def test_a_withdrawal_before_the_seal_leaves_nothing_of_the_copy(
    *, clinic: Clinic, node: Node, blobs: MemoryBlobStore, copy: Copy, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    copy(header, 100)
    clinic.consent("biometric", False, START + dt.timedelta(seconds=5.5))
    node.end(header, 101)
    finalise(header)
    _assert_settled(clinic, blobs, header, bodies[:4])


def test_a_session_without_consent_is_not_copied(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, copy: Copy, bodies: list[bytes]
) -> None:
    clinic.consent("biometric", False, START - dt.timedelta(hours=1))
    header = clinic.session()
    node.batches(header, bodies)
    assert copy(header, 100) == Advance(True, 0, PART_BYTES)
    assert blobs.list_uploads(blob_key(1, header.session_id)) == []


def test_repeated_batches_are_copied_once(
    *, clinic: Clinic, node: Node, blobs: MemoryBlobStore, copy: Copy, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    copy(header, 100)
    for second, body in enumerate(bodies, start=110):
        node.batch(header, body, second, worker=1)
    assert copy(header, 200).part_count == 0
    node.end(header, 201)
    finalise(header)
    _assert_settled(clinic, blobs, header, bodies)


def test_an_upload_that_expired_is_begun_again(
    *, clinic: Clinic, node: Node, blobs: MemoryBlobStore, copy: Copy, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    assert copy(header, 37).part_count == 2
    key = blob_key(1, header.session_id)
    [upload] = blobs.list_uploads(key)
    blobs.abort_upload(key, upload)
    assert copy(header, 100).part_count == 5
    assert _member_counts(clinic) == [3] * 5
    [upload] = blobs.list_uploads(key)
    blobs.abort_upload(key, upload)
    node.end(header, 101)
    finalise(header)
    _assert_settled(clinic, blobs, header, bodies)


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize(
    ("where", "step"),
    [
        (MemoryBlobStore, "create_upload"),
        (PostgresSafetyCopyStore, "begin"),
        (MemoryBlobStore, "upload_part"),
        (PostgresSafetyCopyStore, "add"),
    ],
)
def test_dying_while_a_part_is_copied_costs_nothing(
    *,
    clinic: Clinic,
    node: Node,
    blobs: MemoryBlobStore,
    copy: Copy,
    finalise: Finalise,
    bodies: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    where: type,
    step: str,
    is_done: bool,
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    with monkeypatch.context() as cut:
        cut.setattr(where, step, _dying(getattr(where, step), is_done=is_done))
        with pytest.raises(PowerCut):
            copy(header, 100)
    copy(header, 101)
    assert _member_counts(clinic) == [3] * 5
    assert len(blobs.list_uploads(blob_key(1, header.session_id))) == 1
    node.end(header, 102)
    monkeypatch.setattr(blobs, "put", _never)
    finalise(header)
    _assert_settled(clinic, blobs, header, bodies)


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("is_beginning", [True, False])
@pytest.mark.parametrize(
    ("where", "step"),
    [
        (MemoryBlobStore, "upload_part"),
        (MemoryBlobStore, "complete_upload"),
        (MemoryBlobStore, "abort_upload"),
        (MemoryBlobStore, "get"),
        (PostgresSafetyCopyStore, "forget"),
        (PostgresSessionStore, "publish"),
    ],
)
def test_dying_while_the_copy_is_settled_and_trying_again_gives_one_whole_result(
    *,
    clinic: Clinic,
    node: Node,
    blobs: MemoryBlobStore,
    copy: Copy,
    finalise: Finalise,
    bodies: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    where: type,
    step: str,
    is_beginning: bool,
    is_done: bool,
) -> None:
    header = clinic.session()
    order = bodies if is_beginning else bodies[::-1]
    for second, body in enumerate(order, start=1):
        node.batch(header, body, second)
    copy(header, 37)
    node.end(header, 80)
    with monkeypatch.context() as cut:
        cut.setattr(where, step, _dying(getattr(where, step), is_done=is_done))
        try:
            finalise(header)
        except PowerCut:
            pass
        else:
            used_by = {True: {"abort_upload"}, False: {"upload_part", "complete_upload"}}
            assert step in used_by[is_beginning], "the step was not taken"
    assert finalise(header).revision == 1
    assert len(clinic.published(header)) == 1
    _assert_settled(clinic, blobs, header, bodies)


def test_a_rival_copier_without_the_lock_spoils_nothing(
    *,
    clinic: Clinic,
    node: Node,
    store: PostgresSessionStore,
    pool: ConnectionPool[Connection],
    blobs: MemoryBlobStore,
    copies: SafetyCopies,
    finalise: Finalise,
    bodies: list[bytes],
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    moment = START + dt.timedelta(seconds=100)
    rivals = [
        Copier(
            node_id=NODE,
            landing=NodeDisk(node.data_dir),
            sessions=store,
            copies=SafetyCopies(PostgresSafetyCopyStore(pool), blobs, copies.rules, copies.meter),
            now=lambda: moment,
        )
        for _ in range(2)
    ]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(3):
            passes = [threads.submit(rival.advance, 1, header.session_id) for rival in rivals]
            for one in passes:
                one.result(20)
    node.end(header, 101)
    finalise(header)
    _assert_settled(clinic, blobs, header, bodies)


def test_late_data_after_the_seal_is_a_new_version_and_no_copy(
    *, clinic: Clinic, node: Node, blobs: MemoryBlobStore, copy: Copy, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies[:10])
    copy(header, 60)
    node.end(header, 61)
    finalise(header)
    for second, body in enumerate(bodies[10:], start=62):
        node.batch(header, body, second)
    assert copy(header, 200) == Advance(False, 0, 0)
    assert finalise(header) == Result("finalised", 2)
    assert blobs.get(blob_key(1, header.session_id)) == b"".join(bodies)


def _never(*_: object, **__: object) -> Any:  # noqa: ANN401 - stands for any step
    raise AssertionError("not to be called")


def _dying(step: Callable[..., Any], *, is_done: bool) -> Callable[..., Any]:
    """The power goes out at the first call, before or after its work."""
    calls: Iterator[int] = iter(range(1_000_000))

    def die(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        if next(calls):
            return step(*arguments, **options)
        if is_done:
            step(*arguments, **options)
        raise PowerCut

    return die
