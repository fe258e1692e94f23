"""The sweep's statements, for the role ``restartix_sweeper``. See ``pipelines.finalise.sweep``."""

from __future__ import annotations

import datetime as dt
from typing import Any

import psycopg

from pipelines.adapters.postgres import sql


class PostgresSweepStore:
    """``SweepStore`` over one connection in autocommit: each statement is a transaction."""

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
