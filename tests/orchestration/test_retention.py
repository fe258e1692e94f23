"""The retention job over a real database and a real bucket."""

from __future__ import annotations

import datetime as dt

import dagster as dg
import psycopg
import pytest

from infra.stack.throwaway import Bucket, Database
from orchestration.defs.retention import GRACE_DAYS, overdue
from pipelines.retention.apply import AgeReport
from tests.orchestration.clinic import session


@pytest.fixture
def with_bucket(connected: dg.Definitions, s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    return connected


def expired_event(database: Database, age_days: int) -> None:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute(
            """
            insert into bus.events (topic, key, organisation_id, payload, created_at)
            values ('other', %s, 1, '{}', clock_timestamp() - %s)
            """,
            [str(age_days), dt.timedelta(days=age_days)],
        )


def test_the_job_applies_the_policy_and_reports_counts(
    with_bucket: dg.Definitions, database: Database, s3: Bucket
) -> None:
    session(database)
    expired_event(database, 40)
    expired_event(database, 5)
    result = with_bucket.resolve_job_def("retention").execute_in_process()
    shown = {
        data.materialization.asset_key.path[-1]: data.materialization.metadata
        for event in result.get_asset_materialization_events()
        for data in [event.step_materialization_data]
    }
    assert shown["rows"]["deleted_rows"].value == 1
    with psycopg.connect(database.admin_url) as connection:
        kept = connection.execute("select key from bus.events").fetchall()
    assert kept == [("5",)]
    evaluations = result.get_asset_check_evaluations()
    checks = {evaluation.check_name: evaluation.passed for evaluation in evaluations}
    assert checks == {"every_rule_ran": True, "nothing_is_left": True, "nothing_outlives_the_policy": True}, evaluations
    on_bucket = s3.client().get_bucket_lifecycle_configuration(Bucket=s3.bucket)["Rules"]
    assert sorted(rule["ID"] for rule in on_bucket) == shown["bucket"]["rules"].value
    assert len(on_bucket) >= 3


def test_a_row_that_outlives_the_policy_is_named() -> None:
    def age(oldest_days: int | None) -> AgeReport:
        return AgeReport(data="d", title="D", kept_days=30, counted_from="writing", oldest_days=oldest_days)

    assert overdue([age(None), age(30), age(30 + GRACE_DAYS)]) == []
    assert overdue([age(30 + GRACE_DAYS + 1)]) == [age(30 + GRACE_DAYS + 1)]
