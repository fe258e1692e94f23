"""A sample of finalised sessions, for the role ``restartix_analytics_builder``. See ``pipelines.finalise.recount``."""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from pipelines.adapters.postgres import sql


class SampleRow(NamedTuple):
    """One session: what it was computed with, and what is stored of it. JSON is raw JSON."""

    session_id: UUID
    blob_key: str
    blob_version_id: str | None
    movement_profile: str | None
    prescription: str
    algorithm_version: str
    rep_count: int
    reps: int
    average_form_score: float | None


def sample(connection: psycopg.Connection[Any], lookback: dt.timedelta, sessions_max: int) -> list[SampleRow]:
    """Up to ``sessions_max`` sessions finalised within ``lookback``, at random."""
    statement = sql.load(__package__, "sample_store.sql")["sample"]
    with connection.cursor(row_factory=class_row(SampleRow)) as cursor:
        return cursor.execute(statement, {"lookback": lookback, "sessions_max": sessions_max}).fetchall()
