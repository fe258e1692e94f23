"""Two clinics with one patient each, written by the superuser so that what a role sees of them can be asked."""

from __future__ import annotations

import psycopg
import pytest

from infra.stack.throwaway import Database

ROWS = """
INSERT INTO core.organisations (id, name) VALUES (1, 'Clinic one'), (2, 'Clinic two');
INSERT INTO core.patients (id, organisation_id, principal_id, time_zone)
  SELECT n, n, ('00000000-0000-4000-8000-00000000000' || n)::uuid, 'Europe/Bucharest' FROM generate_series(1, 2) n;
INSERT INTO core.exercises (id, organisation_id, name, movement_profile)
  SELECT n, n, 'Squat', 'deep_squat' FROM generate_series(1, 2) n;
INSERT INTO core.treatment_plans (id, organisation_id, name) SELECT n, n, 'Knee' FROM generate_series(1, 2) n;
INSERT INTO core.patient_treatment_plans
  (id, organisation_id, patient_id, treatment_plan_id, sessions_total, frequency_per_week, started_on)
  SELECT n, n, n, n, 12, 3, current_date FROM generate_series(1, 2) n;
INSERT INTO core.patient_session_completions
  (id, organisation_id, patient_treatment_plan_id, patient_id, session_number, started_at)
  SELECT n, n, n, n, 1, now() FROM generate_series(1, 2) n;
INSERT INTO core.patient_exercise_logs (id, organisation_id, session_completion_id, exercise_id, started_at, sort_order)
  SELECT n, n, n, n, now(), 1 FROM generate_series(1, 2) n;
INSERT INTO telemetry.nodes (node_id, ingest_url, seen_at, lease_until)
  VALUES ('node-a', 'http://127.0.0.1:1', now(), now() + interval '1 hour');
INSERT INTO telemetry.sessions
  (session_id, organisation_id, patient_id, exercise_id, patient_exercise_log_id, node_id, started_at, token_expires_at)
  SELECT ('10000000-0000-4000-8000-00000000000' || n)::uuid, n, n, n, n, 'node-a', now(), now() + interval '4 hours'
  FROM generate_series(1, 2) n;
INSERT INTO telemetry.pose_session_metrics
  (session_id, started_at, organisation_id, patient_id, exercise_id, patient_exercise_log_id, revision, rep_count,
   active_duration_ms, gap_count, gap_ms, frame_count, duration_ms, end_reason, incomplete, movement_profile,
   algorithm_version)
  SELECT s.session_id, s.started_at, s.organisation_id, s.patient_id, s.exercise_id, s.patient_exercise_log_id, 1, 10,
         30000, 0, 0, 900, 30000, 'completed', false, 'deep_squat', '1'
  FROM telemetry.sessions s;
"""


@pytest.fixture
def two_clinics(database: Database) -> Database:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute(ROWS)
    return database
