"""What the landing port promises, over every implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest

from pipelines.landing.disk import DiskOptions, open_log
from pipelines.landing.memory import MemoryLog, MemoryNode
from pipelines.landing.reader import DiskReader
from pipelines.ports.landing import (
    NO_HASH,
    LandingFailedError,
    LandingLog,
    LandingReader,
    RecordKind,
    SessionNotLandedError,
)

from .sessions import START, header, put


class Node(NamedTuple):
    reader: LandingReader
    new_log: Callable[[], LandingLog]


@pytest.fixture(params=["disk", "memory"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    logs: list[LandingLog] = []

    def disk_log() -> LandingLog:
        salt = len(logs).to_bytes(4)
        log, _ = open_log(tmp_path / "node", started_at=START, salt=salt, options=DiskOptions(free_min_bytes=0))
        logs.append(log)
        return log

    memory = MemoryNode()

    def memory_log() -> LandingLog:
        log = MemoryLog(memory, f"m{len(logs)}")
        logs.append(log)
        return log

    if request.param == "disk":
        yield Node(DiskReader(tmp_path / "node"), disk_log)
    else:
        yield Node(memory, memory_log)
    for log in logs:
        log.close()


def test_what_was_appended_is_read_back_in_order(node: Node) -> None:
    log = node.new_log()
    receipts = [put(log, f"body {place}".encode(), at_ms=5) for place in range(20)]
    session = node.reader.read_session(UUID(int=1))
    assert session.header == header(1)
    assert [record.body for record in session.records] == [f"body {place}".encode() for place in range(20)]
    assert [record.offset for record in session.records] == [receipt.offset for receipt in receipts]
    assert all(record.log == log.name and record.kind is RecordKind.BATCH for record in session.records)
    assert all(record.received_at == START + timedelta(milliseconds=5) for record in session.records)


def test_offsets_rise_and_consumed_lies_just_past_the_last(node: Node) -> None:
    log = node.new_log()
    first = put(log, b"a" * 10)
    before = node.reader.read_session(UUID(int=1)).consumed
    second = put(log, b"b" * 10)
    after = node.reader.read_session(UUID(int=1)).consumed
    assert first.offset < before[log.name] <= second.offset < after[log.name]


def test_every_kind_keeps_its_hash_and_body(node: Node) -> None:
    log = node.new_log()
    sent = [
        (RecordKind.BATCH, b"h" * 16, b"batch"),
        (RecordKind.DUPLICATE, b"h" * 16, b""),
        (RecordKind.MEDIA, b"m" * 16, b"[]"),
        (RecordKind.END, NO_HASH, b'{"reason":"completed"}'),
    ]
    for place, (kind, payload_hash, body) in enumerate(sent):
        log.append(header(1), kind, START + timedelta(microseconds=place), payload_hash, body)
    records = node.reader.read_session(UUID(int=1)).records
    assert [(record.kind, record.payload_hash, record.body) for record in records] == sent
    assert [record.received_at.microsecond for record in records] == [0, 1, 2, 3]


def test_sessions_are_kept_apart(node: Node) -> None:
    log = node.new_log()
    for session in (3, 1, 2):
        put(log, f"of {session}".encode(), session=session)
    assert node.reader.list_sessions() == [UUID(int=1), UUID(int=2), UUID(int=3)]
    for session in (1, 2, 3):
        landed = node.reader.read_session(UUID(int=session))
        assert landed.header == header(session)
        assert [record.body for record in landed.records] == [f"of {session}".encode()]


def test_two_logs_of_one_session_are_read_together_by_time(node: Node) -> None:
    one, two = node.new_log(), node.new_log()
    assert one.name != two.name
    put(one, b"first", at_ms=1)
    put(two, b"second", at_ms=2)
    put(one, b"third", at_ms=3)
    session = node.reader.read_session(UUID(int=1))
    assert [record.body for record in session.records] == [b"first", b"second", b"third"]
    assert set(session.consumed) == {one.name, two.name}


def test_many_callers_at_once_lose_nothing(node: Node) -> None:
    log = node.new_log()
    bodies = [f"{place}".encode() * 50 for place in range(200)]
    with ThreadPoolExecutor(16) as pool:
        receipts = list(pool.map(lambda body: put(log, body, session=1 + len(body) % 3), bodies))
    assert len({receipt.offset for receipt in receipts}) == len(bodies)
    read = [
        (record.offset, record.body)
        for session_id in node.reader.list_sessions()
        for record in node.reader.read_session(session_id).records
    ]
    assert sorted(read) == sorted((receipt.offset, body) for receipt, body in zip(receipts, bodies, strict=True))


def test_a_closed_log_refuses_and_what_it_took_stays(node: Node) -> None:
    log = node.new_log()
    put(log, b"kept")
    log.close()
    with pytest.raises(LandingFailedError):
        put(log, b"refused")
    assert [record.body for record in node.reader.read_session(UUID(int=1)).records] == [b"kept"]


def test_unknown_and_removed_sessions_are_not_landed(node: Node) -> None:
    log = node.new_log()
    with pytest.raises(SessionNotLandedError):
        node.reader.read_session(UUID(int=1))
    put(log, b"gone soon")
    node.reader.remove(UUID(int=1))
    node.reader.remove(UUID(int=1))
    assert node.reader.list_sessions() == []
    with pytest.raises(SessionNotLandedError):
        node.reader.read_session(UUID(int=1))
