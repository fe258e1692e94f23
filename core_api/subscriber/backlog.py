"""What waits for the subscriber, looked at now and then for its metrics: events not settled yet, and dead letters.

A counter of what was given up (``meter.py``) says that it happened; these say that it still stands, and since when.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import msgspec
import psycopg
import structlog
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg_pool import PoolTimeout

from core_api.queries import query
from core_api.subscriber.meter import SubscriberMeter

log = structlog.get_logger(__name__)

LOOK_S = 15.0


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """One consumer's events over all tenants. The times are None where there are none."""

    pending: int
    oldest_pending_at: dt.datetime | None
    dead: int
    oldest_dead_at: dt.datetime | None


def backlog(connection: Connection[Any], consumer: str) -> Backlog:
    """``connection`` is of a login in ``restartix_subscriber``."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return msgspec.convert(cursor.execute(query("consumer_backlog"), {"consumer": consumer}).fetchone(), Backlog)


class BacklogWatch:
    """Tells ``meter`` what waits for ``consumer``, every ``look_s`` seconds until stopped."""

    def __init__(
        self,
        connection: Callable[[], AbstractContextManager[Connection[Any]]],
        consumer: str,
        meter: SubscriberMeter,
        look_s: float = LOOK_S,
    ) -> None:
        self._connection = connection
        self._consumer = consumer
        self._meter = meter
        self._look_s = look_s

    def look(self) -> None:
        """Once. While the database is away nothing is known, and the metrics say so."""
        try:
            with self._connection() as connection:
                found = backlog(connection, self._consumer)
        except (psycopg.Error, PoolTimeout) as error:
            self._meter.backlog_unknown()
            log.warning("backlog_unknown", error=type(error).__name__)
            return
        self._meter.backlog(
            pending=found.pending,
            oldest_pending_at=found.oldest_pending_at,
            dead=found.dead,
            oldest_dead_at=found.oldest_dead_at,
        )

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.look()
            stop.wait(self._look_s)
