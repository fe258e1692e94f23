"""The nightly retention on a real database: what is old goes, children first, and nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import psycopg
import pytest
from click.testing import CliRunner

from infra.stack.throwaway import Database
from pipelines.adapters.postgres.retention_store import PostgresRetentionStore
from pipelines.retention.apply import RetentionReport, ages, rehearse, run
from pipelines.retention.cli import retention, run_retention
from pipelines.retention.policy import Policy, load

CLINIC = """
INSERT INTO core.organisations (id, name) VALUES (1, 'Clinic');
INSERT INTO core.patients (id, organisation_id, principal_id, time_zone)
  SELECT n, 1, ('00000000-0000-4000-8000-00000000000' || n)::uuid, 'UTC' FROM generate_series(1, 3) n;
INSERT INTO core.exercises (id, organisation_id, name, movement_profile) VALUES (1, 1, 'Squat', 'deep_squat');
INSERT INTO core.treatment_plans (id, organisation_id, name) VALUES (1, 1, 'Knee');
INSERT INTO core.patient_treatment_plans
  (id, organisation_id, patient_id, treatment_plan_id, sessions_total, frequency_per_week, started_on, status, ended_at,
   created_at)
  SELECT n, 1, n, 1, 12, 3, current_date, 'completed', now() - interval '8 years', now() - interval '8 years'
  FROM generate_series(1, 3) n;
INSERT INTO core.form_templates (id, organisation_id, name) VALUES (1, 1, 'After');
INSERT INTO telemetry.nodes (node_id, ingest_url, seen_at, lease_until) VALUES ('node-a', 'http://n', now(), now());
SELECT telemetry.ensure_partitions((now() - interval '9 years')::date, now()::date);
"""

TREATMENT = """
WITH sitting AS (
  INSERT INTO core.patient_session_completions
    (organisation_id, patient_treatment_plan_id, patient_id, session_number, status, started_at)
  VALUES (1, %(patient)s, %(patient)s, %(number)s, 'completed', %(at)s) RETURNING id
), log AS (
  INSERT INTO core.patient_exercise_logs
    (organisation_id, session_completion_id, exercise_id, started_at, sort_order)
  SELECT 1, id, 1, %(at)s, 1 FROM sitting RETURNING id
), form AS (
  INSERT INTO core.forms (organisation_id, form_template_id, patient_id, session_completion_id, submitted_at)
  SELECT 1, 1, %(patient)s, id, %(at)s FROM sitting
), session AS (
  INSERT INTO telemetry.sessions
    (session_id, organisation_id, patient_id, exercise_id, patient_exercise_log_id, node_id, state, started_at,
     token_expires_at, finalised_at, blob_key, events_key, retention)
  SELECT gen_random_uuid(), 1, %(patient)s, 1, id, 'node-a', 'finalised', %(at)s, %(at)s, %(at)s, 'b', 'e',
         %(retention)s FROM log RETURNING session_id
), member AS (
  INSERT INTO telemetry.blob_members
    (session_id, revision, ordinal, organisation_id, start_ms, end_ms, byte_offset, byte_length)
  SELECT session_id, 1, 1, 1, 0, 1, 0, 1 FROM session
), pose AS (
  INSERT INTO telemetry.pose_session_metrics
    (session_id, started_at, organisation_id, patient_id, exercise_id, patient_exercise_log_id, revision, rep_count,
     active_duration_ms, gap_count, gap_ms, frame_count, duration_ms, end_reason, incomplete, movement_profile,
     algorithm_version)
  SELECT session_id, %(at)s, 1, %(patient)s, 1, 1, 1, 1, 1, 0, 0, 1, 1, 'completed', false, 'x', '1' FROM session
)
INSERT INTO telemetry.media_session_metrics
  (session_id, started_at, ordinal, organisation_id, patient_id, exercise_id, patient_exercise_log_id, revision,
   media_id, began_at)
SELECT session_id, %(at)s, 1, 1, %(patient)s, 1, 1, 1, 'm', %(at)s FROM session
"""


@dataclass
class Store:
    """The database as its superuser, and the retention as the sweeper."""

    database: Database
    retention: PostgresRetentionStore

    def execute(self, statement: str, **values: object) -> None:
        with psycopg.connect(self.database.admin_url) as connection:
            connection.execute(statement.encode(), values or None)

    def count(self, what: str) -> int:
        with psycopg.connect(self.database.admin_url) as connection:
            row = connection.execute(f"select count(*) from {what}".encode()).fetchone()
        assert row is not None
        return int(row[0])

    def treatment(self, days_ago: float, *, patient: int = 1, number: int = 1, retention: str = "default") -> None:
        self.execute(TREATMENT, at=_ago(days_ago), patient=patient, number=number, retention=retention)


def _ago(days: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) - dt.timedelta(days=days)


def _deleted(report: RetentionReport) -> dict[str, int]:
    return {rule.data: rule.deleted for rule in report.rules if rule.deleted}


def _small(policy: Policy, rows: int, count_max: int) -> Policy:
    batches = msgspec.structs.replace(policy.batches, rows=rows, count_max=count_max)
    return msgspec.structs.replace(policy, batches=batches)


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute(CLINIC)
    with psycopg.connect(database.url("sweeper"), autocommit=True) as connection:
        yield Store(database, PostgresRetentionStore(connection))


def test_a_treatment_session_goes_after_seven_years_with_everything_below_it(store: Store) -> None:
    store.treatment(2558, number=1)
    store.treatment(2556, number=2)
    report = run(store.retention, load())
    assert report.failures == []
    assert report.is_complete
    assert _deleted(report)["treatment_sessions"] == 1
    for table in (
        "core.patient_session_completions",
        "core.patient_exercise_logs",
        "core.forms",
        "telemetry.sessions",
        "telemetry.pose_session_metrics",
    ):
        assert store.count(table) == 1, table
    assert _deleted(run(store.retention, load())) == {}


def test_whole_months_are_dropped_and_the_rest_of_a_month_is_deleted(store: Store) -> None:
    for number, days in enumerate((3200, 2558, 2556, 740, 732, 730, 1), start=1):
        store.treatment(days, number=number)
    report = run(store.retention, load())
    assert report.failures == []
    dropped = {rule.data: rule.dropped_partitions for rule in report.rules}
    assert len(dropped["telemetry.pose_session_metrics"]) > 0
    assert max(dropped["telemetry.pose_session_metrics"]) < f"pose_session_metrics_{_ago(2557):%Y%m}"
    assert max(dropped["telemetry.media_session_metrics"]) < f"media_session_metrics_{_ago(731):%Y%m}"
    assert store.count("telemetry.pose_session_metrics") == 5
    assert store.count("telemetry.media_session_metrics") == 2
    oldest = {report.data: report.oldest_days for report in ages(store.retention, load(), dt.datetime.now(dt.UTC))}
    assert oldest["telemetry.media_session_metrics"] == 730
    assert oldest["telemetry.pose_rep_metrics"] is None
    assert oldest["treatment_sessions"] == 2556


def test_the_index_goes_with_its_blob_and_the_session_stays(store: Store) -> None:
    store.treatment(185, number=1)
    store.treatment(185, number=2, retention="clinical")
    store.treatment(183, number=3)
    assert _deleted(run(store.retention, load())) == {"replay_index_default": 1}
    assert store.count("telemetry.blob_members") == 2
    assert store.count("telemetry.sessions where blob_key is null") == 1
    assert store.count("telemetry.sessions where events_key is not null") == 3


def test_a_ledger_goes_seven_years_after_the_patients_last_row(store: Store) -> None:
    rows = """
      ALTER TABLE core.consents DISABLE TRIGGER stamp;
      INSERT INTO core.forms (id, organisation_id, form_template_id, patient_id, submitted_at)
        VALUES (7, 1, 1, 1, now() - interval '8 years'), (8, 1, 1, 1, now() - interval '8 years');
      INSERT INTO core.consents (organisation_id, patient_id, purpose, granted, effective_at, recorded_by, form_id)
        VALUES (1, 1, 'biometric', true, now() - interval '2600 days', gen_random_uuid(), 7),
               (1, 2, 'biometric', true, now() - interval '2600 days', gen_random_uuid(), NULL),
               (1, 2, 'biometric', false, now() - interval '2500 days', gen_random_uuid(), NULL),
               (1, 3, 'analytics', true, now() - interval '2600 days', gen_random_uuid(), NULL);
    """
    store.execute(rows)
    store.treatment(10, patient=3)
    first = run(store.retention, load())
    assert _deleted(first) == {"other_forms": 1, "consents": 1}
    assert store.count("core.consents where patient_id = 1") == 0
    assert store.count("core.consents") == 3
    assert _deleted(run(store.retention, load())) == {"other_forms": 1}, "the consent's own form goes after it"


def test_a_consents_form_outlives_its_session(store: Store) -> None:
    store.treatment(2600)
    store.execute(
        "ALTER TABLE core.consents DISABLE TRIGGER stamp;"
        "INSERT INTO core.consents (organisation_id, patient_id, purpose, granted, effective_at, recorded_by, form_id)"
        " SELECT 1, 1, 'biometric', true, now() - interval '100 days', gen_random_uuid(), id FROM core.forms"
    )
    report = run(store.retention, load())
    assert report.failures == []
    assert _deleted(report)["treatment_sessions"] == 1
    assert store.count("core.forms where session_completion_id is null") == 1


def test_audit_entries_stay_while_what_they_speak_of_is_there(store: Store) -> None:
    store.treatment(10, patient=1)
    store.execute("""
      INSERT INTO core.audit_log
        (organisation_id, occurred_at, actor_role, actor_principal_id, action, entity, entity_id, session_id)
      SELECT 1, now() - interval '2600 days', 'patient', principal_id, 'session.completed', 'x', 'y', NULL::uuid
        FROM core.patients WHERE id < 3
      UNION ALL SELECT 1, now() - interval '2600 days', 'manager', NULL, 'blob.read', 's', 'z', session_id
        FROM telemetry.sessions
      UNION ALL SELECT 1, now() - interval '2600 days', 'manager', NULL, 'patient.changed', 'core.patients', '2', NULL
      UNION ALL SELECT 1, now() - interval '2500 days', 'manager', NULL, 'patient.changed', 'core.patients', '2', NULL
    """)
    assert _deleted(run(store.retention, load())) == {"audit_log": 2}
    assert store.count("core.audit_log") == 3


def test_the_bus_keeps_what_is_waited_for_and_dead_letters_longer(store: Store) -> None:
    store.execute("""
      INSERT INTO bus.events (topic, key, organisation_id, payload, created_at)
        SELECT 'session.finalised', state, 1, '{}', now() - interval '40 days'
        FROM unnest(ARRAY['done', 'pending', 'dead', 'old dead']) state;
      UPDATE bus.deliveries d SET state = split_part(e.key, ' ', cardinality(string_to_array(e.key, ' '))),
        settled_at = now() - CASE e.key WHEN 'old dead' THEN interval '91 days' ELSE interval '40 days' END
        FROM bus.events e WHERE e.id = d.event_id;
      INSERT INTO bus.events (topic, key, organisation_id, payload, created_at)
        VALUES ('session.finalised', 'young', 1, '{}', now() - interval '29 days'),
               ('nobody.listens', 'old', 1, '{}', now() - interval '31 days');
    """)
    run(store.retention, load())
    run(store.retention, load())  # the event of a dead letter goes once the letter has
    assert store.count("bus.events") == 3
    assert store.count("bus.events where key in ('pending', 'dead', 'young')") == 3
    assert store.count("bus.deliveries") == 3


def test_a_certificate_goes_seven_years_after_it_was_issued_and_an_open_erasure_stays(store: Store) -> None:
    with psycopg.connect(store.database.admin_url) as connection:
        connection.execute(
            "insert into core.erasures (id, organisation_id, patient_id, retained_patient_id, principal_check,"
            " requested_by, requested_at, certificate) select ('00000000-0000-4000-8000-00000000000' || n)::uuid, 1, n,"
            " 100 + n, sha256('x'), 'letter', now() - interval '9 years', case when n < 3 then '{}'::jsonb end"
            " from generate_series(1, 3) n;"
            "insert into core.erasure_steps (erasure_id, step, organisation_id, done_at, counts)"
            " select id, case when patient_id < 3 then 'certified' else 'requested' end, 1,"
            " now() - make_interval(days => case patient_id when 2 then 2556 else 2558 end), '{}' from core.erasures;"
            "insert into core.erasure_sessions (erasure_id, session_id, organisation_id, started_at, node_id)"
            " select id, gen_random_uuid(), 1, now(), 'node-a' from core.erasures;"
            "insert into core.exports (id, organisation_id, patient_id, made_at, size_bytes, sha256)"
            " select gen_random_uuid(), 1, 1, now() - make_interval(days => d), 1, sha256('x')"
            " from unnest(array[2556, 2558]) d"
        )
    deleted = _deleted(run(store.retention, load()))
    assert (deleted["erasures"], deleted["exports"]) == (1, 1)
    with psycopg.connect(store.database.admin_url) as connection:
        for table in ("core.erasures", "core.erasure_steps", "core.erasure_sessions"):
            assert connection.execute(f"select count(*) from {table}".encode()).fetchone() == (2,)
    left = {age.data: age.oldest_days for age in ages(store.retention, load(), dt.datetime.now(dt.UTC))}
    assert (left["erasures"], left["exports"]) == (2556, 2556)


def test_a_night_is_bounded_and_says_that_more_remains(store: Store) -> None:
    for number in range(1, 6):
        store.treatment(2600, number=number)
    report = run(store.retention, _small(load(), rows=2, count_max=2))
    assert not report.is_complete
    [treated] = [rule for rule in report.rules if rule.data == "treatment_sessions"]
    assert (treated.deleted, treated.is_complete, treated.error) == (4, False, None)
    assert run(store.retention, _small(load(), rows=2, count_max=2)).is_complete


def test_a_rule_that_fails_is_reported_and_the_others_run(store: Store) -> None:
    store.treatment(2600)
    store.execute("alter table core.audit_log rename column occurred_at to happened_at")
    report = run(store.retention, load())
    assert [failure.partition(":")[0] for failure in report.failures] == ["audit_log"]
    assert _deleted(report)["treatment_sessions"] == 1


def test_no_slip_of_the_policy_deletes_what_is_young(store: Store) -> None:
    store.treatment(100)
    for data in ("treatment_sessions", "consents", "audit_log", "other_forms"):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="floor"):
            store.retention.expire_rows(data, 99, 10)
    for partitions in (store.retention.drop_partitions, store.retention.due_partitions):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="floor"):
            partitions("telemetry.pose_rep_metrics", 99)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="partitioned"):
        store.retention.drop_partitions("sessions", 2557)


def test_the_sweeper_deletes_through_the_functions_only(store: Store) -> None:
    with psycopg.connect(store.database.url("sweeper"), autocommit=True) as connection:
        for table in ("core.patient_session_completions", "telemetry.sessions", "bus.events"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"delete from {table}".encode())
    for role in ("core_api", "finaliser", "subscriber", "ingest"):
        with (
            psycopg.connect(store.database.url(role), autocommit=True) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("select telemetry.expire_consents(2557, 1)")


def test_a_dry_run_says_what_the_night_then_does_and_does_nothing(store: Store) -> None:
    for number, days in enumerate((3200, 2600, 2558, 740, 1), start=1):
        store.treatment(days, number=number)
    store.execute("analyze")
    before = {table: store.count(table) for table in ("telemetry.sessions", "telemetry.pose_session_metrics")}
    rehearsed = rehearse(store.retention, load())
    assert rehearsed.is_rehearsal
    assert rehearsed.failures == []
    assert {table: store.count(table) for table in before} == before
    said = {rule.data: rule for rule in rehearsed.rules}
    done = {rule.data: rule for rule in run(store.retention, load()).rules}
    assert said["treatment_sessions"].deleted == done["treatment_sessions"].deleted == 3
    for table in ("telemetry.pose_session_metrics", "telemetry.media_session_metrics"):
        assert said[table].dropped_partitions == done[table].dropped_partitions != ()
        assert said[table].dropped_rows == done[table].dropped_rows > 0
        assert done[table].dropped_bytes > 0
    assert (done["treatment_sessions"].deleted_bytes or 0) > 0
    again = {rule.data: rule for rule in rehearse(store.retention, load()).rules}
    assert {rule.deleted for rule in again.values()} == {0}
    assert again["telemetry.pose_session_metrics"].is_complete


def test_a_month_that_was_detached_and_not_dropped_goes_the_next_night_unless_it_holds_a_young_row(
    store: Store,
) -> None:
    store.treatment(2700, number=1)
    month = f"pose_session_metrics_{_ago(2700):%Y%m}"
    store.execute(f"alter table telemetry.pose_session_metrics detach partition telemetry.{month}")
    store.treatment(2700 - 365, number=2)
    young = f"insert into telemetry.{month} select * from telemetry.pose_session_metrics"
    store.execute(young)
    refused = {rule.data: rule for rule in run(store.retention, load()).rules}["telemetry.pose_session_metrics"]
    assert refused.error is not None
    assert "younger" in refused.error
    assert store.count(f"telemetry.{month}") == 2, "no row of it was lost"
    store.execute(f"delete from telemetry.{month} where started_at > now() - interval '2557 days'")
    dropped = {gone.name: gone.rows for gone in store.retention.drop_partitions("telemetry.pose_session_metrics", 2557)}
    assert dropped[month] == 1
    assert sum(dropped.values()) == 1
    with pytest.raises(psycopg.errors.UndefinedTable):
        store.count(f"telemetry.{month}")


def test_a_month_goes_by_its_bounds_and_not_by_its_name(store: Store) -> None:
    wrong_name = "pose_session_metrics_199901"
    start = _ago(20).date().replace(day=1)
    right_name = f"pose_session_metrics_{start:%Y%m}"
    store.execute(f"alter table telemetry.{right_name} rename to {wrong_name}")
    dropped = store.retention.drop_partitions("telemetry.pose_session_metrics", 2557)
    assert wrong_name not in {month.name for month in dropped}
    assert store.count(f"telemetry.{wrong_name}") == 0


def test_partitions_are_made_ahead(store: Store) -> None:
    store.execute(f"drop table telemetry.pose_rep_metrics_{_ago(-300):%Y%m}")
    assert run(store.retention, load()).partitions_made == 1
    assert run(store.retention, load()).partitions_made == 0


def test_the_commands(store: Store) -> None:
    environment = {"RESTARTIX_DATABASE_URL": store.database.url("sweeper")}
    done = CliRunner().invoke(retention, ["run"], env=environment)
    assert done.exit_code == 0, done.output
    assert {rule["data"] for rule in msgspec.json.decode(done.output)["rules"]} >= {"treatment_sessions", "bus_events"}
    told = CliRunner().invoke(retention, ["report"], env=environment)
    assert told.exit_code == 0, told.output
    assert len(msgspec.json.decode(told.output)) == len(load().rows) + len(load().partitioned)
    assert run_retention(environment).is_complete
