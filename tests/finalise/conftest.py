"""A node with a real landing directory, a clinic in a real Postgres, and a finaliser between them."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest
from psycopg_pool import ConnectionPool

from infra.stack.throwaway import Database
from pipelines.adapters.memory.blob_store import MemoryBlobStore
from pipelines.adapters.postgres.bus import Connection, PostgresPublisher
from pipelines.adapters.postgres.safety_copy_store import PostgresSafetyCopyStore
from pipelines.adapters.postgres.session_store import PostgresSessionStore
from pipelines.finalise.disk import NodeDisk
from pipelines.finalise.finaliser import Finaliser
from pipelines.finalise.meter import CopyMeter
from pipelines.finalise.safety_copy import CopyRules, SafetyCopies
from pipelines.landing.disk import DiskOptions, open_log
from pipelines.ports.blob_store import BlobStore
from pipelines.pose import wire
from pipelines.simulate.performance import Performance, perform
from pipelines.simulate.recording import Recording
from tests.finalise.bench import Bench, quiet
from tests.finalise.scene import CLINIC, ORGANISATION, PART_BYTES, START, Clinic, Finalise, Node


@pytest.fixture
def clinic(database: Database) -> Clinic:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute(CLINIC)
    made = Clinic(database)
    made.consent("biometric", True, START - dt.timedelta(days=1))
    made.consent("analytics", True, START - dt.timedelta(days=1))
    return made


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    options = DiskOptions(gather_ms=0.0, free_min_bytes=0)
    logs = [
        open_log(tmp_path / "node", started_at=START, salt=secrets.token_bytes(4), options=options)[0] for _ in range(2)
    ]
    yield Node(tmp_path / "node", logs)
    for log in logs:
        log.close()


@pytest.fixture
def pool(clinic: Clinic) -> Iterator[ConnectionPool[Connection]]:
    with ConnectionPool(clinic.database.url("finaliser"), min_size=1, max_size=4, timeout=5, open=True) as pool:
        yield pool


@pytest.fixture
def store(pool: ConnectionPool[Connection]) -> PostgresSessionStore:
    return PostgresSessionStore(pool, PostgresPublisher())


@pytest.fixture
def blobs() -> MemoryBlobStore:
    return MemoryBlobStore(part_min_bytes=1)


@pytest.fixture
def copies(pool: ConnectionPool[Connection], blobs: BlobStore) -> SafetyCopies:
    """Copies with small parts, so that a few seconds of movement make several."""
    return SafetyCopies(
        PostgresSafetyCopyStore(pool), blobs, CopyRules(dt.timedelta(seconds=30), PART_BYTES), CopyMeter()
    )


@pytest.fixture
def finaliser(node: Node, store: PostgresSessionStore, blobs: BlobStore, copies: SafetyCopies) -> Finaliser:
    return Finaliser(NodeDisk(node.data_dir), store, blobs, copies, lambda: dt.datetime.now(dt.UTC))


@pytest.fixture
def finalise(finaliser: Finaliser) -> Finalise:
    return lambda header: finaliser.finalise(ORGANISATION, header.session_id)


@pytest.fixture(scope="session")
def squats() -> Recording:
    """Four deep squats with their truth."""
    return perform(Performance(exercise="deep_squat", reps=4, tempo_s=3.0, seed=7))


@pytest.fixture(scope="session")
def bodies(squats: Recording) -> list[bytes]:
    """The squats as the portal sends them: a body a second."""
    seconds = squats.timestamp_ms // 1000
    return [
        wire.encode(squats.landmarks[seconds == second], squats.timestamp_ms[seconds == second], 30)
        for second in np.unique(seconds)
    ]


@pytest.fixture
def bench(node: Node, store: PostgresSessionStore, blobs: MemoryBlobStore, copies: SafetyCopies) -> Iterator[Bench]:
    with quiet():
        yield Bench(node, store, blobs, copies)
