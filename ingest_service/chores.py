"""What a worker does beside answering: rows for PostgreSQL, the node's lease, upkeep of the log.

Nothing here is on a request's way. Everything is bounded and repeated until PostgreSQL is back; what is given up when a
queue is full (counted) is never an acknowledged record: ends are in the log as well, touches are overtaken by the next.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import psycopg
import structlog

from ingest_service.database import Database
from ingest_service.metrics import Metrics
from pipelines.ports.landing import SessionHeader

_QUEUE_MAX = 10_000
_RETRY_S = 1.0

log = structlog.get_logger(__name__)


class _Row(NamedTuple):
    statement: str
    parameters: dict[str, object]
    written: threading.Event


class Chores:
    """Queues and loops. ``start`` and ``stop`` bracket a worker's life."""

    def __init__(self, *, database: Database, metrics: Metrics, node_id: str) -> None:
        self._database = database
        self._metrics = metrics
        self._node_id = node_id
        self._rows: deque[_Row] = deque()
        self._touched: dict[int, tuple[UUID, datetime]] = {}  # by the id's number, whose hash is the quicker one
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._on_wake: Callable[[], None] = lambda: None
        self._threads = [threading.Thread(target=self._write_rows, name="rows", daemon=True)]

    def every(self, interval_s: float, action: Callable[[], None], name: str) -> None:
        """Call ``action`` every ``interval_s`` from ``start`` on; a fault is logged and the next turn comes."""

        def run() -> None:
            while not self._stopping.is_set():
                try:
                    action()
                except psycopg.Error as error:
                    log.warning("chore_postponed", chore=name, error=type(error).__name__)
                except Exception:
                    log.exception("chore_failed", chore=name)
                self._stopping.wait(interval_s)

        self._threads.append(threading.Thread(target=run, name=name, daemon=True))

    def when_woken(self, action: Callable[[], None]) -> None:
        """Also call ``action`` whenever there is work for the writing thread, and once a second until it succeeds."""
        self._on_wake = action

    def wake(self) -> None:
        self._wake.set()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, wait_s: float = 5.0) -> None:
        self._stopping.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(timeout=wait_s)

    def touched(self, session_id: UUID, received_at: datetime) -> None:
        """Something of the session was accepted; written with the next statement for all."""
        self._touched[session_id.int] = (session_id, received_at)

    def denied(self, header: SessionHeader, purpose: str, reason: str) -> None:
        """One audit row a session and purpose; the function is idempotent over workers."""
        self._add(
            "record_denial",
            {
                "organisation_id": header.organisation_id,
                "principal_id": header.principal_id,
                "session_id": header.session_id,
                "purpose": purpose,
                "reason": reason,
            },
        )

    def ended(self, session_id: UUID, reason: str, ended_at: datetime) -> threading.Event:
        """Tell PostgreSQL of an end that is already in the log. The event is set when it knows."""
        return self._add(
            "end_session",
            {"node_id": self._node_id, "session_id": session_id, "reason": reason, "ended_at": ended_at},
        )

    def write_touches(self) -> None:
        """One statement for all sessions touched since the last. Raises ``psycopg.Error`` and keeps them."""
        touched, self._touched = self._touched, {}
        if not touched:
            return
        parameters = {
            "node_id": self._node_id,
            "session_ids": [session_id for session_id, _ in touched.values()],
            "received_at": [received_at for _, received_at in touched.values()],
        }
        try:
            self._database.rows("touch_sessions", parameters)
        except psycopg.Error:
            self._touched = {**touched, **self._touched}
            raise

    def _add(self, statement: str, parameters: dict[str, object]) -> threading.Event:
        row = _Row(statement, parameters, threading.Event())
        if len(self._rows) >= _QUEUE_MAX:
            self._metrics.dropped_chores.inc()
            return row.written
        self._rows.append(row)
        self._wake.set()
        return row.written

    def _write_rows(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if not self._stopping.is_set():
                self._act_on_wake()
            while self._rows:
                row = self._rows[0]
                try:
                    self._database.rows(row.statement, row.parameters)
                except psycopg.OperationalError as error:
                    log.warning("row_postponed", statement=row.statement, error=type(error).__name__)
                    if self._stopping.wait(_RETRY_S):
                        return
                    continue
                except psycopg.Error as error:
                    log.error("row_refused", statement=row.statement, error=type(error).__name__)
                self._rows.popleft()
                row.written.set()
            if self._stopping.is_set():
                return

    def _act_on_wake(self) -> None:
        try:
            self._on_wake()
        except Exception as error:
            log.warning("chore_postponed", chore="wake", error=type(error).__name__)
            self._stopping.wait(_RETRY_S)
            self._wake.set()
