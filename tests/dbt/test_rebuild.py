"""Increments against a full refresh, and what a reader sees while tables are swapped."""

from __future__ import annotations

import threading

import psycopg
import pytest

from tests.dbt.conftest import Marts

# The first test of a run waits for two builds.
pytestmark = pytest.mark.timeout(900)

TABLES_QUERY = """
    select n.nspname || '.' || c.relname as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('analytics', 'analytics_intermediate') and c.relkind = 'r'
    order by 1
"""


def contents(marts: Marts) -> dict[str, list[str]]:
    """Every row of every table as text, sorted."""
    found = {}
    for table in marts.rows(TABLES_QUERY):
        rows = marts.rows(f"select t::text as row from {table['name']} as t")
        found[table["name"]] = sorted(row["row"] for row in rows)
    return found


class Watcher(threading.Thread):
    """An analyst of organisation 1 who never stops looking."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._finished = threading.Event()
        self.looks = 0
        self.foreign = 0
        self.failures: list[str] = []

    def run(self) -> None:
        query = """
            select count(*), count(*) filter (where organisation_id <> 1)
            from (select organisation_id from analytics.plan_weekly_adherence
                  union all select organisation_id from analytics.organisation_dashboard) as seen
        """
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._finished.wait(0.01):
                try:
                    row = connection.execute(query).fetchone()
                except psycopg.Error as error:
                    self.failures.append(str(error))
                    continue
                assert row is not None
                if row[0] == 0:
                    self.failures.append("own rows vanished")
                self.foreign += row[1]
                self.looks += 1

    def finish(self) -> None:
        self._finished.set()
        self.join()


def test_a_full_refresh_changes_nothing_and_shows_nobody_elses_rows(marts: Marts) -> None:
    by_increments = contents(marts)
    assert all(by_increments.values()), {name: len(rows) for name, rows in by_increments.items()}
    watcher = Watcher(marts.database.url("analyst", organisation_id=1))
    watcher.start()
    try:
        marts.dbt("run", "--full-refresh")
    finally:
        watcher.finish()
    assert contents(marts) == by_increments
    assert watcher.failures == []
    assert watcher.foreign == 0
    assert watcher.looks > 50


def test_late_and_deleted_sessions_reached_the_incremental_tables(marts: Marts) -> None:
    difference = """
        (select session_id, revision, rep_count from {a} except select session_id, revision, rep_count from {b})
    """
    held, source = "analytics_intermediate.int_pose_sessions", "telemetry.pose_session_metrics"
    assert marts.rows(difference.format(a=held, b=source)) == []
    assert marts.rows(difference.format(a=source, b=held)) == []
    revisions = marts.rows(f"select revision, count(*) as sessions from {held} group by revision order by revision")
    assert [(row["revision"], row["sessions"] > 0) for row in revisions] == [(1, True), (2, True)]
    views = "select session_id, {ordinal}, revision, stall_ms from {table}"
    held = views.format(ordinal="view_ordinal", table="analytics_intermediate.int_media_views")
    source = views.format(ordinal="ordinal", table="telemetry.media_session_metrics")
    assert marts.rows(f"({held} except {source}) union all ({source} except {held})") == []
