"""Exercise sessions in given states, straight into a database: what the sweep and its checks look at."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import psycopg

from infra.stack.throwaway import Database


def session(
    database: Database, *, state: str = "open", silent_s: int = 0, node_ready_s: int | None = 3600, revision: int = 0
) -> uuid.UUID:
    """One session of a clinic of its own, last heard of `silent_s` ago, on a node that is ready since `node_ready_s`
    (None: its lease ran out an hour ago)."""
    session_id = uuid.uuid4()
    with psycopg.connect(database.admin_url) as connection:
        organisation = _one(connection, "insert into core.organisations (name) values ('Clinic') returning id")
        node = f"node-{session_id}"
        connection.execute(
            """
            insert into telemetry.nodes (node_id, ingest_url, ready_since, seen_at, lease_until)
            values (%s, 'http://node', clock_timestamp() - %s, clock_timestamp(), clock_timestamp() + %s)
            """,
            [
                node,
                dt.timedelta(seconds=node_ready_s or 0),
                dt.timedelta(hours=1 if node_ready_s is not None else -1),
            ],
        )
        patient = _one(
            connection,
            "insert into core.patients (organisation_id, principal_id, time_zone) values (%s, %s, 'UTC') returning id",
            organisation,
            uuid.uuid4(),
        )
        exercise = _one(
            connection,
            """
            insert into core.exercises (organisation_id, name, movement_profile)
            values (%s, 'Squat', 'deep_squat') returning id
            """,
            organisation,
        )
        template = _one(
            connection,
            "insert into core.treatment_plans (organisation_id, name) values (%s, 'Knee') returning id",
            organisation,
        )
        plan = _one(
            connection,
            """
            insert into core.patient_treatment_plans
              (organisation_id, patient_id, treatment_plan_id, sessions_total, frequency_per_week, started_on)
            values (%s, %s, %s, 12, 3, current_date) returning id
            """,
            organisation,
            patient,
            template,
        )
        sitting = _one(
            connection,
            """
            insert into core.patient_session_completions
              (organisation_id, patient_treatment_plan_id, patient_id, session_number, started_at)
            values (%s, %s, %s, 1, clock_timestamp()) returning id
            """,
            organisation,
            plan,
            patient,
        )
        log = _one(
            connection,
            """
            insert into core.patient_exercise_logs
              (organisation_id, session_completion_id, exercise_id, started_at, sort_order)
            values (%s, %s, %s, clock_timestamp(), 1) returning id
            """,
            organisation,
            sitting,
            exercise,
        )
        connection.execute(
            """
            insert into telemetry.sessions
              (session_id, organisation_id, patient_id, exercise_id, patient_exercise_log_id, node_id, state,
               started_at, token_expires_at, last_received_at, ended_at, revision, finalised_at)
            values (%(id)s, %(org)s, %(patient)s, %(exercise)s, %(log)s, %(node)s, %(state)s, clock_timestamp(),
                    clock_timestamp() + interval '4 hours', clock_timestamp() - %(silent)s,
                    case when %(state)s <> 'open' then clock_timestamp() - %(silent)s end, %(revision)s,
                    case when %(revision)s > 0 then clock_timestamp() - %(silent)s end)
            """,
            {
                "id": session_id,
                "org": organisation,
                "patient": patient,
                "exercise": exercise,
                "log": log,
                "node": node,
                "state": state,
                "silent": dt.timedelta(seconds=silent_s),
                "revision": revision,
            },
        )
    return session_id


def ends(database: Database) -> dict[uuid.UUID, tuple[str, str | None, bool]]:
    """State, end reason and incompleteness of every session."""
    with psycopg.connect(database.admin_url) as connection:
        rows = connection.execute("select session_id, state, end_reason, incomplete from telemetry.sessions")
        return {session_id: (state, reason, incomplete) for session_id, state, reason, incomplete in rows}


def _one(connection: psycopg.Connection[Any], statement: str, *values: object) -> int:
    row = connection.execute(statement.encode(), values).fetchone()
    assert row is not None
    return int(row[0])
