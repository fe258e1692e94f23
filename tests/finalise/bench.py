"""A finaliser's loop with clocks that a test moves, over a node's real disk."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import structlog

from pipelines.adapters.memory.blob_store import MemoryBlobStore
from pipelines.adapters.postgres.session_store import PostgresSessionStore
from pipelines.finalise.disk import NodeDisk
from pipelines.finalise.finaliser import Finaliser
from pipelines.finalise.run import Runner
from pipelines.finalise.safety_copy import SafetyCopies
from pipelines.finalise.settings import FinaliserSettings
from pipelines.ports.landing import SessionHeader
from tests.finalise.scene import NODE, Clinic, Node


class Bench:
    """A runner whose clocks the test moves."""

    def __init__(self, node: Node, store: PostgresSessionStore, blobs: MemoryBlobStore, copies: SafetyCopies) -> None:
        self.node, self.store, self.blobs, self.copies = node, store, blobs, copies
        self.ahead = dt.timedelta()
        self.settings = FinaliserSettings(
            database_url="", data_dir=node.data_dir, node_id=NODE, attempts_max=3, delay_base_s=10, give_up_s=1000
        )
        self.runner = self.restarted()

    def restarted(self) -> Runner:
        disk = NodeDisk(self.node.data_dir)
        self.runner = Runner(
            settings=self.settings,
            disk=disk,
            store=self.store,
            finaliser=Finaliser(disk, self.store, self.blobs, self.copies, self.now),
            meter=self.copies.meter,
            now=self.now,
            monotonic_s=lambda: time.monotonic() + self.ahead.total_seconds(),
            log=structlog.get_logger(),
        )
        self.runner._unasked.update(disk.spooled())
        return self.runner

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + self.ahead

    def until(self, reached: Callable[[], bool], advance_s: float = 0.0) -> None:
        self.ahead += dt.timedelta(seconds=advance_s)
        with ThreadPoolExecutor(2) as pool:
            deadline = time.monotonic() + 20
            while True:
                self.runner.step(pool)
                if reached():
                    return
                assert time.monotonic() < deadline, "not reached"
                time.sleep(0.01)

    def look(self, advance_s: float = 0.0) -> None:
        """Step until nothing moves by itself any more."""
        self.ahead += dt.timedelta(seconds=advance_s)
        with ThreadPoolExecutor(2) as pool:
            for _ in range(3):
                self.runner.step(pool)
                for future in list(self.runner._running):
                    future.exception(20)
                if self.runner._cleaning is not None:
                    self.runner._cleaning.exception(20)


@contextmanager
def quiet() -> Iterator[None]:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()


def now_session(clinic: Clinic, node: str = NODE, **columns: object) -> SessionHeader:
    """A session of this moment, so that ages on the disk and in the store fit."""
    header = clinic.session(dt.datetime.now(dt.UTC) - dt.timedelta(seconds=60), node, **columns)
    clinic.consent("biometric", True, header.started_at - dt.timedelta(days=1))
    clinic.consent("analytics", True, header.started_at - dt.timedelta(days=1))
    return header
