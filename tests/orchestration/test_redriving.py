"""What is stuck is set moving again, a bounded number of times, however many sweep at once; then a person is told."""

from __future__ import annotations

import datetime as dt
import threading
import uuid

import dagster as dg
import psycopg
import pytest

from infra.stack.throwaway import Bucket, Database
from orchestration.defs.sweep import abort_once
from orchestration.resources import SweeperDatabase
from pipelines.adapters.postgres.sweep_store import PostgresSweepStore
from pipelines.finalise.sweep import Silence, SweepReport, sweep
from tests.orchestration.clinic import ends, session

RULES = Silence(
    silence=dt.timedelta(seconds=60),
    node_lost=dt.timedelta(seconds=900),
    sessions_max=100,
    redrive_delay=dt.timedelta(minutes=15),
    redrives_max=2,
)


def one_pass(database: Database) -> SweepReport:
    with psycopg.connect(database.url("sweeper"), autocommit=True) as connection:
        return sweep(PostgresSweepStore(connection), RULES)


def later(database: Database) -> None:
    """The next attempt of everything is due."""
    execute(database, "update telemetry.redrives set next_attempt_at = clock_timestamp()")


def execute(database: Database, statement: str, *values: object) -> list[tuple[object, ...]]:
    with psycopg.connect(database.admin_url) as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def published(database: Database, session_id: uuid.UUID, state: str | None) -> None:
    """The session's result is on the bus; its delivery is in `state`, or missing for None."""
    execute(
        database,
        "insert into bus.events (topic, key, organisation_id, payload) "
        "select 'session.finalised', session_id || ':' || revision, organisation_id, '{}' from telemetry.sessions "
        "where session_id = %s",
        session_id,
    )
    if state is None:
        execute(database, "delete from bus.deliveries")
    else:
        execute(database, "update bus.deliveries set state = %s, attempts = 9, settled_at = now()", state)


def test_a_session_the_finaliser_gave_up_is_tried_again_twice_and_then_given_up(database: Database) -> None:
    stuck = session(database, state="failed", silent_s=60)
    assert one_pass(database).changed == 0, "not before its delay"
    for _ in range(2):
        later(database)
        assert one_pass(database).finalised_again == 1
        assert ends(database)[stuck][0] == "ended"
        assert one_pass(database).changed == 0
        execute(database, "update telemetry.sessions set state = 'failed'")
        assert one_pass(database).changed == 0, "twice the delay is not over"
    later(database)
    assert one_pass(database).given_up == 1
    later(database)
    assert one_pass(database).changed == 0
    assert ends(database)[stuck][0] == "failed"
    execute(database, "update telemetry.sessions set state = 'finalised', revision = 1, applied_revision = 1")
    one_pass(database)
    assert execute(database, "select * from telemetry.redrives") == []


@pytest.mark.parametrize("state", ["dead", "done", None])
def test_a_result_that_was_not_applied_is_delivered_again(database: Database, state: str | None) -> None:
    stuck = session(database, state="finalised", silent_s=3600, revision=1)
    published(database, stuck, state)
    assert one_pass(database).delivered_again == 1
    assert execute(database, "select state, attempts from bus.deliveries") == [("pending", 0)]
    audited = execute(database, "select actor_role from core.audit_log where action = 'dead_letter.replay'")
    assert audited == ([("schedule",)] if state == "dead" else [])
    assert one_pass(database).changed == 0
    later(database)
    assert one_pass(database).delivered_again == 1
    later(database)
    assert one_pass(database).given_up == 1
    execute(database, "update telemetry.sessions set applied_revision = 1")
    one_pass(database)
    assert execute(database, "select * from telemetry.redrives") == []


def test_a_delivery_that_is_being_tried_keeps_its_own_back_off(database: Database) -> None:
    stuck = session(database, state="finalised", silent_s=3600, revision=1)
    published(database, stuck, "pending")
    one_pass(database)
    assert execute(database, "select attempts from bus.deliveries") == [(9,)]


def test_a_result_whose_event_is_gone_is_given_up_at_once(database: Database) -> None:
    session(database, state="finalised", silent_s=3600, revision=1)
    session(database, state="finalised", silent_s=60, revision=1)
    report = one_pass(database)
    assert (report.delivered_again, report.given_up) == (0, 1)


def test_two_sweeps_at_once_do_what_one_would(database: Database) -> None:
    silent = [session(database, silent_s=90) for _ in range(6)]
    failed = [session(database, state="failed", silent_s=60) for _ in range(3)]
    one_pass(database)
    execute(
        database, "update telemetry.sessions set state = 'open', end_reason = null where session_id = any(%s)", silent
    )
    later(database)
    barrier, reports = threading.Barrier(4), []

    def work() -> None:
        with psycopg.connect(database.url("sweeper"), autocommit=True) as connection:
            store = PostgresSweepStore(connection)
            barrier.wait(timeout=20)
            reports.append(sweep(store, RULES))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(reports) == 4
    assert sum(report.timeout for report in reports) == 6
    assert sum(report.finalised_again for report in reports) == 3
    assert {ends(database)[one][0] for one in [*silent, *failed]} == {"ended"}
    assert execute(database, "select distinct attempts from telemetry.redrives") == [(1,)]


def test_uploads_nobody_completes_are_aborted_and_those_of_running_sessions_are_not(
    with_bucket: dg.Definitions, database: Database, s3: Bucket
) -> None:
    client = s3.client()
    stray = client.create_multipart_upload(Bucket=s3.bucket, Key="1/stray")["UploadId"]
    kept = client.create_multipart_upload(Bucket=s3.bucket, Key="1/kept")["UploadId"]
    running = session(database)
    execute(
        database,
        "insert into telemetry.safety_copies (session_id, organisation_id, node_id, object_key, upload_id) "
        "select session_id, organisation_id, node_id, '1/kept', %s from telemetry.sessions where session_id = %s",
        kept,
        running,
    )
    result = with_bucket.resolve_job_def("orphaned_uploads").execute_in_process()
    assert result.success
    now = dt.datetime.now(dt.UTC)
    assert abort_once(SweeperDatabase(), now).old == 0, "too young"
    report = abort_once(SweeperDatabase(), now + dt.timedelta(hours=7))
    assert (report.under_way, report.old, report.aborted, report.given_up) == (2, 2, 1, 0)
    left = client.list_multipart_uploads(Bucket=s3.bucket).get("Uploads", [])
    assert [upload["UploadId"] for upload in left] == [kept]
    assert stray != kept


def test_an_upload_that_resists_is_given_up_and_shown(database: Database) -> None:
    with psycopg.connect(database.url("sweeper"), autocommit=True) as connection:
        store = PostgresSweepStore(connection)
        delay = dt.timedelta(hours=1)
        assert store.orphan_uploads(["u"], delay, 2) == [("u", False)]
        assert store.orphan_uploads(["u"], delay, 2) == [], "not due"
        later(database)
        assert store.orphan_uploads(["u"], delay, 2) == [("u", False)]
        later(database)
        assert store.orphan_uploads(["u"], delay, 2) == [("u", True)]
        later(database)
        assert store.orphan_uploads(["u"], delay, 2) == []
        [row] = [row for row in store.stuck(dt.timedelta(minutes=15)) if row.kind == "upload"]
        assert (row.waiting, row.given_up) == (1, 1)
        assert store.orphan_uploads([], delay, 2) == []
        assert execute(database, "select * from telemetry.redrives") == []


def test_other_roles_set_nothing_moving(database: Database) -> None:
    for role in ("core_api", "subscriber", "finaliser", "ingest", "analytics_builder", "console"):
        with (
            psycopg.connect(database.url(role), autocommit=True) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("select telemetry.redrive_failed('1 hour', 1, 1)")
