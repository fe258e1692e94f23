"""However the same batches reach a node, a session's canonical sequence is the same: through real logs, read back."""

from __future__ import annotations

import gzip
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.landing import reader, recovery
from pipelines.landing.disk import DiskLog, DiskOptions, open_log
from pipelines.landing.recent import RecentHashes
from pipelines.ports.landing import LandedSession, RecordKind
from pipelines.pose import wire
from pipelines.replay.canonical import AcceptedBatch, Member, order, select
from pipelines.replay.consent import ALWAYS, ConsentWindow

from .sessions import START, header

WORKERS = 3
# Batches overlap in time, two of them in all but their values.
SENT = [
    wire.encode(
        np.full((frame_count, 33, 4), value, np.float32),
        np.arange(start_ms, start_ms + frame_count, dtype=np.uint32),
        30,
    )
    for start_ms, frame_count, value in (
        (0, 2, 0.1),
        (2, 1, 0.2),
        (1, 3, 0.3),
        (50, 2, 0.4),
        (50, 2, 0.5),
        (10, 9, 0.6),
    )
]


class Delivery(NamedTuple):
    """One request: which batch, to which worker, compressed again or as first sent."""

    batch: int
    worker: int
    recompressed: bool


class Journey(NamedTuple):
    """Requests in chunks that arrive at the same time; after ``kill_after`` chunks the node dies and comes back."""

    chunks: list[list[Delivery]]
    kill_after: int | None


@st.composite
def journeys(draw: st.DrawFn) -> Journey:
    once = draw(st.permutations(range(len(SENT))))
    repeated = draw(st.lists(st.sampled_from(range(len(SENT))), max_size=8))
    numbers = draw(st.permutations([*once, *repeated]))
    deliveries = [Delivery(number, draw(st.integers(0, WORKERS - 1)), draw(st.booleans())) for number in numbers]
    chunks: list[list[Delivery]] = []
    while deliveries:
        size = draw(st.integers(1, 5))
        chunks.append(deliveries[:size])
        deliveries = deliveries[size:]
    return Journey(chunks, draw(st.none() | st.integers(0, len(chunks))))


class Worker:
    """What a worker does with a batch: the first of a payload it knows of is stored, a repetition by hash."""

    def __init__(self, data_dir: Path, salt: int) -> None:
        options = DiskOptions(free_min_bytes=0, segment_max_bytes=2000)
        self.log: DiskLog = open_log(data_dir, started_at=START, salt=salt.to_bytes(4), options=options)[0]
        self._recent = RecentHashes(2)  # short, so that repetitions of older batches are stored twice

    def take(self, delivery: Delivery, at_ms: int) -> None:
        body = SENT[delivery.batch]
        if delivery.recompressed:
            body = gzip.compress(gzip.decompress(body), 1, mtime=0)
        payload_hash = wire.decode(body).payload_hash
        moment = START + timedelta(milliseconds=at_ms)
        if payload_hash in self._recent:
            self.log.append(header(1), RecordKind.DUPLICATE, moment, payload_hash, b"")
        else:
            self.log.append(header(1), RecordKind.BATCH, moment, payload_hash, body)
            self._recent.add(payload_hash)


def _travel(root: Path, journey: Journey) -> LandedSession:
    data_dir, salt, at_ms = root / "node", 0, 0

    def start() -> list[Worker]:
        return [Worker(data_dir, salt + place) for place in range(WORKERS)]

    workers = start()
    for place, chunk in enumerate([*journey.chunks, []]):
        if place == journey.kill_after:
            shutil.copytree(data_dir, root / "killed")  # the files without their owners
            for worker in workers:
                worker.log.close()
            data_dir, salt = root / "killed", 10
            recovery.recover_unowned(data_dir)
            workers = start()
        with ThreadPoolExecutor(5) as pool:
            taken = [
                pool.submit(workers[delivery.worker].take, delivery, at_ms + number)
                for number, delivery in enumerate(chunk)
            ]
            for future in taken:
                future.result()
        at_ms += len(chunk)
        workers[place % WORKERS].log.maintain()
    for worker in workers:
        worker.log.close()
    assert not reader.has_unrecovered_log(data_dir)
    return reader.read_session(data_dir, UUID(int=1))


def _canonical(session: LandedSession) -> tuple[list[tuple[int, int, bytes]], list[bytes]]:
    """Order, hashes and payloads; the gzip members themselves are those first received, so they may differ."""
    accepted = [
        AcceptedBatch(record.payload_hash, record.received_at, record.body or None) for record in session.records
    ]
    selection = select(accepted, ConsentWindow(ALWAYS, None))
    members = []
    for payload_hash, body in selection.bodies.items():
        timestamps = wire.decode(body).timestamp_ms
        members.append(Member(int(timestamps[0]), int(timestamps[-1]), payload_hash, body))
    ordered = order(members)
    counts = selection.counts
    assert counts.accepted == len(session.records)
    assert counts.in_blob + counts.duplicate == counts.accepted
    return [member[:3] for member in ordered], [gzip.decompress(member.body) for member in ordered]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[tuple[int, int, bytes]], list[bytes]]:
    """Each batch once, one after the other, to one worker."""
    chunks = [[Delivery(number, 0, recompressed=False)] for number in range(len(SENT))]
    return _canonical(_travel(tmp_path_factory.mktemp("straight"), Journey(chunks, None)))


@given(journey=journeys())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_chunking_order_repetition_and_spread_is_one_sequence(
    tmp_path_factory: pytest.TempPathFactory,
    straight: tuple[list[tuple[int, int, bytes]], list[bytes]],
    journey: Journey,
) -> None:
    session = _travel(tmp_path_factory.mktemp("journey"), journey)
    assert len(session.records) == sum(map(len, journey.chunks))  # each acknowledgement is one record
    assert _canonical(session) == straight
    assert len(straight[0]) == len(SENT)
