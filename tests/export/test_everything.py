"""The export's statements give every column that says something about a patient: the catalogue is walked."""

from __future__ import annotations

import psycopg
import pytest

from core_api.export import PARTS
from core_api.queries import query
from infra.stack.throwaway import Database
from tests.erasure.test_places import classified

TABLES = {
    "patient": "core.patients",
    "plans": "core.patient_treatment_plans",
    "payments": "core.service_plan_payments",
    "treatment_sessions": "core.patient_session_completions",
    "exercise_logs": "core.patient_exercise_logs",
    "forms": "core.forms",
    "consents": "core.consents",
    "reference_sessions": "core.reference_sessions",
    "personal_references": "core.personal_references",
    "exercise_sessions": "telemetry.sessions",
    "movement_of_sessions": "telemetry.pose_session_metrics",
    "repetitions": "telemetry.pose_rep_metrics",
    "video_views": "telemetry.media_session_metrics",
    "video_stalls": "telemetry.media_buffering_events",
    "audit": "core.audit_log",
}
# What is not in it, and why.
LEFT_OUT = {
    "core.specialists": "staff",
    "core.treatment_plan_exercises": "a template of the clinic; what was prescribed is in logs and sessions",
    "core.idempotency_keys": "copies of answers, for two days",
    "core.exports": "the register of exports",
    "core.row_changes": "ids for the nightly build",
    "analytics_intermediate.affected": "ids for the nightly build",
    "bus.events": "copies of results, which are in the parts",
    "telemetry.blob_members": "where batches lie in a recording",
}
# The patient is said once, and the person's own rows need no pointer to it.
POINTERS = {"patient_id", "patient_exercise_log_id", "session_completion_id", "patient_treatment_plan_id"}
COLUMNS_LEFT_OUT = {
    # The profile is the product's but for the patient's own reference, which is a part.
    ("telemetry.sessions", "movement_profile"),
    ("telemetry.sessions", "last_received_at"),
    ("core.patient_treatment_plans", "specialist_id"),
    # Staff by their ids: the role of who did it is given.
    ("core.audit_log", "actor_principal_id"),
    ("core.reference_sessions", "marked_by"),
}


def test_every_part_is_of_a_table() -> None:
    assert set(PARTS) == set(TABLES)


def test_every_classified_table_is_exported_or_left_out_for_a_reason(database: Database) -> None:
    assert {table for table, _ in classified(database)} == {*TABLES.values(), *LEFT_OUT}


@pytest.mark.parametrize("part", PARTS)
def test_every_classified_column_is_in_its_part(database: Database, part: str) -> None:
    with psycopg.connect(database.admin_url) as connection:
        given = connection.execute(query(f"export_{part}"), {"patient_id": 1, "principal_id": None})
        assert given.description is not None
        names = {column.name for column in given.description}
    table = TABLES[part]
    wanted = {column for of, column in classified(database) if of == table and (of, column) not in COLUMNS_LEFT_OUT}
    assert wanted - POINTERS - names == set()
