"""The retention's statements, for the role ``restartix_sweeper``. See ``pipelines.retention.apply``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from pipelines.adapters.postgres import sql


class Month(NamedTuple):
    """One monthly partition. ``rows`` is exact of a dropped one, and Postgres' estimate of one that is only due."""

    name: str
    rows: int
    bytes: int


class Size(NamedTuple):
    """How large the tables of a kind of data are: rows as Postgres estimates them, bytes with their indexes."""

    rows: int
    bytes: int


class SealedRow(NamedTuple):
    """What one session has in the object store."""

    session_id: UUID
    blob_key: str | None
    blob_bytes: int | None
    events_key: str | None
    retention: str
    finalised_at: dt.datetime | None


class Accounting(NamedTuple):
    """Sums over the sessions finalised lately. ``uncounted``: sessions whose accepted batches cannot be known."""

    sessions: int
    uncounted: int
    accepted_batches: int
    batches_in_blobs: int
    batches_duplicate: int
    batches_dropped: int
    accepted_events: int
    events_in_objects: int
    events_duplicate: int
    events_dropped: int
    not_closing: int
    members_differ: int


class PostgresRetentionStore:
    """``RetentionStore`` and ``SessionLedger`` over one connection in autocommit: each call is a transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._sql = sql.load(__package__, "retention_store.sql")

    def expire_rows(self, data: str, kept_days: int, max_rows: int) -> int:
        return int(self._one(data, {"kept_days": kept_days, "max_rows": max_rows}))

    def drop_partitions(self, table: str, kept_days: int) -> list[Month]:
        """Two transactions a month: what a first one detached and the second did not drop is found the next night."""
        values = {"parent": _name(table), "kept_days": kept_days}
        self._one("detach_partitions", values)
        dropped: list[Month] = []
        with self._connection.cursor(row_factory=class_row(Month)) as cursor:
            while (month := cursor.execute(self._sql["drop_detached"], values).fetchone()) is not None:
                dropped.append(month)
        return dropped

    def due_partitions(self, table: str, kept_days: int) -> list[Month]:
        values = {"parent": _name(table), "kept_days": kept_days}
        with self._connection.cursor(row_factory=class_row(Month)) as cursor:
            return cursor.execute(self._sql["due_partitions"], values).fetchall()

    def expire_partitioned(self, table: str, kept_days: int, max_rows: int) -> int:
        return int(self._one("metrics", {"parent": _name(table), "kept_days": kept_days, "max_rows": max_rows}))

    def ensure_partitions(self, months_behind: int, months_ahead: int) -> int:
        return int(self._one("ensure_partitions", {"months_behind": months_behind, "months_ahead": months_ahead}))

    def oldest(self) -> dict[str, dt.datetime | None]:
        return dict(self._connection.execute(self._sql["oldest"]).fetchall())

    def sizes(self) -> dict[str, Size]:
        rows = self._connection.execute(self._sql["sizes"]).fetchall()
        return {data: Size(int(estimate), int(size_bytes)) for data, estimate, size_bytes in rows}

    @contextmanager
    def undone(self) -> Iterator[None]:
        """What is done within is taken back at the end."""
        with self._connection.transaction(force_rollback=True):
            yield

    def organisations(self) -> list[int]:
        return [row[0] for row in self._connection.execute(self._sql["organisations"]).fetchall()]

    def sealed_objects(self, organisation_id: int, after: UUID | None, max_sessions: int) -> list[SealedRow]:
        values = {"organisation_id": organisation_id, "after": after, "max_sessions": max_sessions}
        with self._connection.cursor(row_factory=class_row(SealedRow)) as cursor:
            return cursor.execute(self._sql["sealed_objects"], values).fetchall()

    def accounting(self, lookback: dt.timedelta) -> Accounting:
        with self._connection.cursor(row_factory=class_row(Accounting)) as cursor:
            row = cursor.execute(self._sql["accounting"], {"lookback": lookback}).fetchone()
        if row is None:
            raise RuntimeError("accounting: no answer")
        return Accounting(*(int(value) for value in row))

    def _one(self, name: str, values: dict[str, object]) -> Any:  # noqa: ANN401 - a column of any type
        row = self._connection.execute(self._sql[name], values).fetchone()
        if row is None:
            raise RuntimeError(f"{name}: no answer")
        return row[0]


def _name(table: str) -> str:
    return table.removeprefix("telemetry.")
