"""The sweep's statements, for the role ``restartix_sweeper``. See ``pipelines.finalise.sweep`` and ``.orphans``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import class_row

from pipelines.adapters.postgres import sql


class Counts(NamedTuple):
    """What was set moving again, and what was given up."""

    redriven: int
    given_up: int


class Stuck(NamedTuple):
    """One kind of thing that stands still. ``oldest_s``: for how long the first of them; None where there is none."""

    kind: str
    waiting: int
    given_up: int
    oldest_s: float | None


class ConsumerBacklog(NamedTuple):
    """How one consumer of the bus keeps up. ``retrying``: pending after a failed attempt."""

    consumer: str
    pending: int
    retrying: int
    dead: int
    oldest_pending_s: float | None


class NodeRow(NamedTuple):
    """One ingest node's lease. ``ready_since`` None: it is not ready."""

    node_id: str
    ingest_url: str
    ready_since: dt.datetime | None
    seen_at: dt.datetime
    lease_until: dt.datetime


class PostgresSweepStore:
    """``SweepStore`` and ``OrphanLedger`` over one connection in autocommit: each statement is a transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._sql = sql.load(__package__, "sweep_store.sql")

    def close_silent(self, silence: dt.timedelta, sessions_max: int) -> int:
        values = {"silence": silence, "sessions_max": sessions_max}
        return self._connection.execute(self._sql["close_silent"], values).rowcount

    def close_lost(self, node_lost: dt.timedelta, sessions_max: int) -> int:
        values = {"node_lost": node_lost, "sessions_max": sessions_max}
        return self._connection.execute(self._sql["close_lost"], values).rowcount

    def count_spared(self, silence: dt.timedelta) -> int:
        row = self._connection.execute(self._sql["count_spared"], {"silence": silence}).fetchone()
        return 0 if row is None else int(row[0])

    def redrive_failed(self, delay: dt.timedelta, attempts_max: int, sessions_max: int) -> Counts:
        return self._redrive("redrive_failed", delay, attempts_max, sessions_max)

    def redrive_unapplied(self, delay: dt.timedelta, attempts_max: int, sessions_max: int) -> Counts:
        return self._redrive("redrive_unapplied", delay, attempts_max, sessions_max)

    def orphan_uploads(
        self, upload_ids: Sequence[str], delay: dt.timedelta, attempts_max: int
    ) -> list[tuple[str, bool]]:
        values = {"upload_ids": list(upload_ids), "delay": delay, "attempts_max": attempts_max}
        return [
            (upload_id, given_up)
            for upload_id, given_up in self._connection.execute(self._sql["orphan_uploads"], values).fetchall()
        ]

    def stuck(self, patience: dt.timedelta) -> list[Stuck]:
        """What has stood still for ``patience`` or is given up, a row a kind."""
        with self._connection.cursor(row_factory=class_row(Stuck)) as cursor:
            return cursor.execute(self._sql["stuck"], {"patience": patience}).fetchall()

    def bus_backlog(self) -> list[ConsumerBacklog]:
        """A row a consumer."""
        with self._connection.cursor(row_factory=class_row(ConsumerBacklog)) as cursor:
            return cursor.execute(self._sql["bus_backlog"]).fetchall()

    def nodes(self) -> list[NodeRow]:
        """Every ingest node there ever was, by name."""
        with self._connection.cursor(row_factory=class_row(NodeRow)) as cursor:
            return cursor.execute(self._sql["nodes"]).fetchall()

    def _redrive(self, name: str, delay: dt.timedelta, attempts_max: int, sessions_max: int) -> Counts:
        values = {"delay": delay, "attempts_max": attempts_max, "sessions_max": sessions_max}
        row = self._connection.execute(self._sql[name], values).fetchone()
        if row is None:
            raise RuntimeError(f"{name}: no answer")
        return Counts(*row)
