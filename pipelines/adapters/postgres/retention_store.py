"""The retention's statements, for the role ``restartix_sweeper``. See ``pipelines.retention.apply``."""

from __future__ import annotations

import datetime as dt
from typing import Any

import psycopg

from pipelines.adapters.postgres import sql


class PostgresRetentionStore:
    """``RetentionStore`` over one connection in autocommit: each call is a transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._sql = sql.load(__package__, "retention_store.sql")

    def expire_rows(self, data: str, kept_days: int, max_rows: int) -> int:
        return int(self._one(data, {"kept_days": kept_days, "max_rows": max_rows}))

    def drop_partitions(self, table: str, kept_days: int) -> list[str]:
        return list(self._one("drop_partitions", {"parent": _name(table), "kept_days": kept_days}))

    def expire_partitioned(self, table: str, kept_days: int, max_rows: int) -> int:
        return int(self._one("metrics", {"parent": _name(table), "kept_days": kept_days, "max_rows": max_rows}))

    def ensure_partitions(self, months_behind: int, months_ahead: int) -> int:
        return int(self._one("ensure_partitions", {"months_behind": months_behind, "months_ahead": months_ahead}))

    def oldest(self) -> dict[str, dt.datetime | None]:
        return dict(self._connection.execute(self._sql["oldest"]).fetchall())

    def _one(self, name: str, values: dict[str, object]) -> Any:  # noqa: ANN401 - a column of any type
        row = self._connection.execute(self._sql[name], values).fetchone()
        if row is None:
            raise RuntimeError(f"{name}: no answer")
        return row[0]


def _name(table: str) -> str:
    return table.removeprefix("telemetry.")
