"""Expiring plans, for the role ``restartix_sweeper``. See ``pipelines.plans.expire``."""

from __future__ import annotations

from typing import Any

import psycopg

from pipelines.adapters.postgres import sql


class PostgresPlanStore:
    """``PlanStore`` over one connection in autocommit: each call is a transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._sql = sql.load(__package__, "plan_store.sql")

    def expire(self, max_plans: int) -> int:
        row = self._connection.execute(self._sql["expire"], {"max_plans": max_plans}).fetchone()
        if row is None:
            raise RuntimeError("expire: no answer")
        return int(row[0])
