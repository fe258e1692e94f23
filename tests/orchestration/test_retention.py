"""The retention job over a real database and a real bucket."""

from __future__ import annotations

import datetime as dt

import dagster as dg
import psycopg
import pytest

from infra.stack.throwaway import Bucket, Database
from orchestration.defs.retention import FINDINGS, GRACE_DAYS, ROWS_MAX_AT_ONCE, implausible, overdue
from pipelines.retention.apply import AgeReport, RetentionReport, RuleReport
from tests.orchestration.clinic import session


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
    assert set(checks.values()) == {True}, evaluations
    assert {"is_plausible", "every_rule_ran", "is_the_policys", *FINDINGS} <= checks.keys()
    assert shown["dry_run"]["deleted_rows"].value == 1
    assert "data:image/png" in str(shown["rows"]["picture"].value)
    on_bucket = s3.client().get_bucket_lifecycle_configuration(Bucket=s3.bucket)["Rules"]
    assert sorted(rule["ID"] for rule in on_bucket) == shown["bucket"]["rules"].value
    assert len(on_bucket) >= 3


def test_a_row_that_outlives_the_policy_is_named() -> None:
    def age(oldest_days: int | None) -> AgeReport:
        return AgeReport(data="d", title="D", kept_days=30, counted_from="writing", oldest_days=oldest_days)

    assert overdue([age(None), age(30), age(30 + GRACE_DAYS)]) == []
    assert overdue([age(30 + GRACE_DAYS + 1)]) == [age(30 + GRACE_DAYS + 1)]


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}


def test_what_somebody_changed_and_what_is_missing_or_stray_fails_a_check(
    with_bucket: dg.Definitions, database: Database, s3: Bucket
) -> None:
    job = with_bucket.resolve_job_def("retention")
    client = s3.client()
    assert job.execute_in_process().success
    found = client.get_bucket_lifecycle_configuration(Bucket=s3.bucket)["Rules"]
    client.put_bucket_lifecycle_configuration(Bucket=s3.bucket, LifecycleConfiguration={"Rules": found[1:]})
    lost = session(database, state="finalised", revision=1)
    with psycopg.connect(database.admin_url) as connection:
        connection.execute(
            "update telemetry.sessions set blob_key = organisation_id || '/' || session_id || '.bin.gz',"
            " finalised_at = now() - interval '1 day'"
        )
    client.put_object(Bucket=s3.bucket, Key="nobody/knows", Body=b"1")
    result = job.execute_in_process()
    checks = checks_of(result)
    assert not checks["nobody_changed_it"]
    assert checks["is_the_policys"], "it was mended"
    assert not checks["every_session_has_its_objects"]
    assert not checks["every_object_has_its_session"]
    assert checks["objects_go_when_promised"]
    # No id reaches Dagster: it has no login.
    events = [str(event) for event in result.all_events]
    assert not any(str(lost) in event or "nobody/knows" in event for event in events)


def test_a_dry_run_that_looks_wrong_is_named() -> None:
    def report(deleted: int) -> RetentionReport:
        rule = RuleReport(data="consents", kept_days=2557, deleted=deleted)
        return RetentionReport(is_rehearsal=True, partitions_made=0, rules=(rule,))

    assert implausible(report(ROWS_MAX_AT_ONCE)) == []
    assert [rule.data for rule in implausible(report(ROWS_MAX_AT_ONCE + 1))] == ["consents"]


def test_an_implausible_dry_run_stops_the_night(
    with_bucket: dg.Definitions, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.defs.retention.ROWS_MAX_AT_ONCE", 1)
    session(database)
    for days in (40, 41):
        expired_event(database, days)
    result = with_bucket.resolve_job_def("retention").execute_in_process(raise_on_error=False)
    assert not checks_of(result)["is_plausible"]
    with psycopg.connect(database.admin_url) as connection:
        row = connection.execute("select count(*) from bus.events").fetchone()
    assert row == (2,), "nothing was deleted"
