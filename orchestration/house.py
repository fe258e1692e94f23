"""Dagster's own storage, kept small. Dagster prunes ticks by its settings; runs and events it keeps for ever.

Belongs here: which records go. Does not belong here: when (`defs/house.py`), ticks (`dagster.yaml`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

RUNLESS = ""  # Dagster's run id of what sensors report


class Kept(NamedTuple):
    """For how long; bounds of one pass."""

    runs: dt.timedelta = dt.timedelta(days=30)
    events: dt.timedelta = dt.timedelta(days=30)  # what sensors report outside a run
    runs_max: int = 1000


class Pruned(NamedTuple):
    """What one pass removed, and what is there now. `is_complete` False: the bound was reached."""

    runs: int
    events: int
    check_executions: int
    runs_left: int
    is_complete: bool


def prune(instance: dg.DagsterInstance, kept: Kept, now: dt.datetime) -> Pruned:
    """Remove finished runs with their logs, and what sensors reported; the newest report of each asset and check stays.

    A run that is not finished is never touched, however old it is.
    """
    filters = dg.RunsFilter(statuses=list(FINISHED_STATUSES), created_before=now - kept.runs)
    records = instance.get_run_records(filters, limit=kept.runs_max + 1, ascending=True)
    for record in records[: kept.runs_max]:
        run_id = record.dagster_run.run_id
        instance.delete_run(run_id)
        # What the steps printed lies beside the storage, and goes by its own call.
        instance.compute_log_manager.delete_logs(prefix=[run_id])
    events, executions = _prune_reports(instance, (now - kept.events).timestamp())
    return Pruned(
        runs=min(len(records), kept.runs_max),
        events=events,
        check_executions=executions,
        runs_left=instance.get_runs_count(),
        is_complete=len(records) <= kept.runs_max,
    )


def _prune_reports(instance: dg.DagsterInstance, before_s: float) -> tuple[int, int]:
    """Dagster has no call for events outside a run, so this speaks to the tables it declares."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise TypeError(f"{type(storage).__name__} is no SQL storage: its events cannot be pruned")
    before = dt.datetime.fromtimestamp(before_s, dt.UTC).replace(tzinfo=None)
    events, executions = SqlEventLogStorageTable, AssetCheckExecutionsTable
    removed = 0
    for connect in (storage.index_connection, lambda: storage.run_connection(RUNLESS)):
        with _begun(connect()) as connection:
            newest = sa.select(sa.func.max(events.c.id)).where(events.c.run_id == RUNLESS)
            newest = newest.group_by(events.c.asset_key, events.c.dagster_event_type)
            old = sa.and_(events.c.run_id == RUNLESS, events.c.timestamp < before, events.c.id.not_in(newest))
            ids: Sequence[int] = connection.execute(sa.select(events.c.id).where(old).limit(100_000)).scalars().all()
            for start in range(0, len(ids), 500):
                some = ids[start : start + 500]
                connection.execute(sa.delete(AssetEventTagsTable).where(AssetEventTagsTable.c.event_id.in_(some)))
                removed += connection.execute(sa.delete(events).where(events.c.id.in_(some))).rowcount
    with _begun(storage.index_connection()) as connection:
        newest = sa.select(sa.func.max(executions.c.id)).group_by(executions.c.asset_key, executions.c.check_name)
        old = sa.and_(executions.c.create_timestamp < before, executions.c.id.not_in(newest))
        gone = connection.execute(sa.delete(executions).where(old)).rowcount
    return removed, gone


@contextmanager
def _begun(connecting: object) -> Iterator[sa.Connection]:
    with connecting as connection:  # type: ignore[attr-defined]
        yield connection
