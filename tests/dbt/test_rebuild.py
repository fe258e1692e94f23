"""Increments against a full refresh, what an increment touches, and what a reader sees while tables are swapped."""

from __future__ import annotations

import threading

import psycopg
import pytest

from tests.dbt.conftest import Marts

# The first test of a run waits for all nights.
pytestmark = pytest.mark.timeout(900)

TABLES_QUERY = """
    select n.nspname || '.' || c.relname as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('analytics', 'analytics_intermediate') and c.relkind = 'r'
      and c.relname not in ('refresh_state', 'affected')
    order by 1
"""
RELATIONS_QUERY = """
    select n.nspname || '.' || c.relname as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname like 'analytics%' and c.relkind in ('r', 'v')
    order by 1
"""
INCREMENTAL = ("fct_exercise_logs", "fct_treatment_sessions", "fct_reps", "plan_weekly_adherence", "patient_progress")


def contents(marts: Marts) -> dict[str, list[str]]:
    """Every row of every table as text, sorted."""
    found = {}
    for table in marts.rows(TABLES_QUERY):
        rows = marts.rows(f"select t::text as row from {table['name']} as t")
        found[table["name"]] = sorted(row["row"] for row in rows)
    return found


def versions(marts: Marts, table: str) -> set[str]:
    """The physical versions of a table's rows: another one for each row that was written again."""
    return {row["at"] for row in marts.rows(f"select ctid::text || xmin::text as at from analytics.{table}")}


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


def test_what_commits_after_the_build_is_not_lost_and_not_read_out_of_order(marts: Marts) -> None:
    seen = [row["duration_seconds"] for row in marts.late["seen"]]
    ids = marts.late["late"][0]
    # The open transaction hid itself, and made the one that began after it wait in the log.
    assert 1111 not in seen
    waiting = {row["row_id"] for row in marts.late["waiting"] if row["table_name"] == "patient_session_completions"}
    assert ids["quick"] in waiting
    now = marts.rows("select session_completion_id as id, duration_seconds from analytics.fct_treatment_sessions")
    durations = {row["id"]: row["duration_seconds"] for row in now}
    assert (durations[ids["slow"]], durations[ids["quick"]]) == (1111, 2222)


def test_a_run_repeated_changes_nothing_and_the_log_is_empty(marts: Marts) -> None:
    before = contents(marts)
    facts = ("fct_exercise_logs", "fct_treatment_sessions", "fct_media_views", "fct_reps")
    held = {table: versions(marts, table) for table in facts}
    marts.dbt("run")
    assert contents(marts) == before
    # Not even written again.
    assert {table: versions(marts, table) for table in held} == held
    assert marts.rows("select * from core.row_changes") == []
    assert marts.rows("select * from analytics_intermediate.affected") == []


def test_an_increment_touches_what_changed(marts: Marts) -> None:
    changed = marts.rows(
        """
        select s.session_completion_id as id, s.patient_treatment_plan_id as plan
        from analytics.fct_treatment_sessions s join analytics.patient_progress p using (patient_treatment_plan_id)
        where p.plan_status = 'completed' and s.session_status = 'completed' order by 1 limit 1
        """
    )[0]
    sizes = {
        row["name"]: row["rows"]
        for row in marts.rows(
            f"""
            select 'fct_treatment_sessions' as name, count(*) as rows from analytics.fct_treatment_sessions
            where patient_treatment_plan_id = {changed["plan"]}
            union all select 'plan_weekly_adherence', count(*) from analytics.plan_weekly_adherence
            where patient_treatment_plan_id = {changed["plan"]} or plan_status = 'active'
            union all select 'patient_progress', count(*) from analytics.patient_progress
            where patient_treatment_plan_id = {changed["plan"]} or plan_status = 'active'
            union all select 'fct_exercise_logs', count(*) from analytics.fct_exercise_logs
            where session_completion_id = {changed["id"]}
            union all select 'fct_reps', 0
            """
        )
    }
    with psycopg.connect(marts.database.admin_url) as connection:
        connection.execute(
            "update core.patient_session_completions set pain_level_before = 10 where id = %s", [changed["id"]]
        )
    before = {table: versions(marts, table) for table in INCREMENTAL}
    marts.dbt("run")
    written = {table: len(versions(marts, table) - before[table]) for table in INCREMENTAL}
    assert written == sizes
    assert all(len(before[table]) > 2 * written[table] for table in ("fct_treatment_sessions", "fct_exercise_logs"))


@pytest.mark.parametrize("reason", ["abandoned", "completed"])
def test_an_exercise_that_ends_without_a_result_reaches_the_marts(marts: Marts, reason: str) -> None:
    """It is open in one night, and has ended by the next; finalising fails for good, so nothing ever fills its log."""
    with psycopg.connect(marts.database.admin_url) as connection:
        log, session, organisation = _begin_exercise(connection)
    query = f"select is_abandoned, is_done from analytics.fct_exercise_logs where patient_exercise_log_id = {log}"
    marts.dbt("run")
    assert marts.rows(query) == [{"is_abandoned": None, "is_done": False}]
    with psycopg.connect(marts.database.admin_url) as connection:
        # As the node's finaliser does, with no more rights than it has.
        connection.execute("set local role restartix_finaliser")
        connection.execute("select set_config('app.org_id', %s, true)", [str(organisation)])
        for state in ("ended", "failed"):
            written = connection.execute(
                "update telemetry.sessions set state = %s, end_reason = %s, ended_at = now() where session_id = %s",
                [state, reason, session],
            )
            assert written.rowcount == 1
    entries = f"select 1 from core.row_changes where table_name = 'sessions' and row_id = {log}"
    assert len(marts.rows(entries)) == 1  # a session ends once, however often its row is written
    marts.dbt("run")
    assert marts.rows(query) == [{"is_abandoned": reason == "abandoned", "is_done": reason == "completed"}]


def _begin_exercise(connection: psycopg.Connection[tuple[object, ...]]) -> tuple[object, ...]:
    """One more exercise of a sitting, with an open session. Returns the ids of log, session and organisation."""
    row = connection.execute(
        """
        with sitting as (
          select s.id, s.organisation_id, s.patient_id, s.started_at, l.exercise_id
          from core.patient_session_completions s
          join core.patient_exercise_logs l on l.session_completion_id = s.id
          order by s.started_at desc, l.id limit 1
        ), log as (
          insert into core.patient_exercise_logs (id, organisation_id, session_completion_id, exercise_id, started_at,
            prescribed_sets, prescribed_reps, skipped, reported, incomplete, sort_order)
          select (select max(id) + 1 from core.patient_exercise_logs), organisation_id, id, exercise_id, started_at,
            1, 10, false, false, false,
            (select max(sort_order) + 1 from core.patient_exercise_logs where session_completion_id = sitting.id)
          from sitting
          returning id, organisation_id, exercise_id, started_at
        )
        insert into telemetry.sessions (session_id, organisation_id, patient_id, exercise_id, patient_exercise_log_id,
          node_id, started_at, token_expires_at)
        select gen_random_uuid(), log.organisation_id, sitting.patient_id, log.exercise_id, log.id, 'n', log.started_at,
          log.started_at + interval '4 hours'
        from log cross join sitting
        returning patient_exercise_log_id, session_id, organisation_id
        """
    ).fetchone()
    assert row is not None
    return row


def test_a_failed_run_is_made_good_by_the_next(marts: Marts) -> None:
    """A model fails after the one that feeds it has committed: what it was to rebuild waits for it."""
    with psycopg.connect(marts.database.admin_url) as connection:
        connection.execute(
            "update core.patient_exercise_logs set pose_accuracy_score = 12.34 where id = (select min(id) from "
            "core.patient_exercise_logs where pose_accuracy_score is not null)"
        )
        connection.execute(
            "alter table analytics_intermediate.int_exercise_weeks add constraint broken check (false) not valid"
        )
    relations = marts.rows(RELATIONS_QUERY)
    leftovers = _leave_behind(marts)
    failed = marts.dbt.attempt("run")
    assert failed.returncode != 0 and "broken" in failed.stdout
    with psycopg.connect(marts.database.admin_url) as connection:
        connection.execute("alter table analytics_intermediate.int_exercise_weeks drop constraint broken")
    assert marts.rows("select * from analytics_intermediate.affected where model_name = 'int_exercise_weeks'")
    # Nothing is dropped by a run in which a model failed; by the next, what no model makes any more and nothing else.
    assert {row["name"] for row in marts.rows(RELATIONS_QUERY)} == {row["name"] for row in relations} | leftovers
    marts.dbt("run")
    assert marts.rows(RELATIONS_QUERY) == relations
    wrong = marts.rows(
        """
        select exercise_id from analytics.exercise_trends t
        where mean_form_score is distinct from (
          select round(avg(form_score), 2) from analytics.fct_exercise_logs l
          where l.exercise_id = t.exercise_id and l.local_week_start = t.week_start)
        """
    )
    assert wrong == []


def _leave_behind(marts: Marts) -> set[str]:
    """What a model that was renamed leaves: a table with patients' rows that nothing erases, here under a view."""
    with psycopg.connect(marts.database.admin_url) as connection:
        connection.execute("set local role restartix_analytics_builder")
        connection.execute(
            "create table analytics_intermediate.int_renamed as select patient_id from analytics.fct_reps"
        )
        connection.execute("create view analytics.renamed as select * from analytics_intermediate.int_renamed")
    return {"analytics_intermediate.int_renamed", "analytics.renamed"}


def test_a_full_refresh_changes_nothing_and_shows_nobody_elses_rows(marts: Marts) -> None:
    by_increments = contents(marts)
    assert all(by_increments.values()), {name: len(rows) for name, rows in by_increments.items()}
    watcher = Watcher(marts.database.url("analyst", organisation_id=1))
    watcher.start()
    try:
        # With its tests: after a full refresh they look at every row.
        marts.dbt("build", "--full-refresh", "--exclude-resource-type", "unit_test")
    finally:
        watcher.finish()
    rebuilt = contents(marts)
    assert rebuilt.keys() == by_increments.keys()
    different = [name for name, rows in rebuilt.items() if rows != by_increments[name]]
    assert different == []
    assert watcher.failures == []
    assert watcher.foreign == 0
    assert watcher.looks > 50


def test_what_was_lost_of_the_change_log_is_made_good_by_a_rebuild(marts: Marts) -> None:
    """Entries that retention took unread, or a truncated table, leave no way but to begin again."""
    before = marts.rows("select model_name, rebuilt_xid::text as at from analytics_intermediate.refresh_state")
    with psycopg.connect(marts.database.admin_url) as connection:
        connection.execute(
            "update core.patient_session_completions set pain_level_before = 3 where id = (select min(id) from "
            "core.patient_session_completions)"
        )
        connection.execute("delete from core.row_changes")
        connection.execute("update core.row_changes_lost set below_xid = pg_current_xact_id()")
    marts.dbt("run")
    after = marts.rows("select model_name, rebuilt_xid::text as at from analytics_intermediate.refresh_state")
    assert len(after) == len(before)
    assert not {(row["model_name"], row["at"]) for row in before} & {(row["model_name"], row["at"]) for row in after}
    held = marts.rows(
        "select pain_level_before from analytics.fct_treatment_sessions order by session_completion_id limit 1"
    )
    assert held == [{"pain_level_before": 3}]


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
    held = views.format(ordinal="view_ordinal", table="analytics.fct_media_views")
    source = views.format(ordinal="ordinal", table="telemetry.media_session_metrics")
    assert marts.rows(f"({held} except {source}) union all ({source} except {held})") == []
    # The dropped and the detached month are gone, and only they.
    for table in ("analytics.fct_media_views", "analytics.fct_reps"):
        months = marts.rows(f"select distinct extract(month from started_at)::int as month from {table} order by 1")
        assert [row["month"] for row in months] == [3, 4, 5, 6]
