"""Every column that says something about a patient has its place in an erasure, and an erasure does what is said there.

The catalogue is walked: a column of a personal, clinical or biometric kind, and a sealed one whatever its kind, that is
not in ``pipelines/erasure/places.toml`` fails here.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from infra.stack.throwaway import Database
from pipelines.erasure import places
from tests.erasure.test_erasure import PRINCIPAL, RETAINED_ID, Scene, erased, scene

__all__ = ["scene"]

CLASSIFIED = """
SELECT n.nspname || '.' || c.relname, a.attname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname IN ('core', 'telemetry', 'bus', 'analytics', 'analytics_intermediate', 'analytics_staging')
  AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND (col_description(c.oid, a.attnum) ~ '^(personal|clinical|biometric)' OR a.attname LIKE '%\\_encrypted')
"""
# The ids of a retained row go over to the random patient, wherever they are.
NUMBER = "patient_id"


def classified(database: Database) -> set[tuple[str, str]]:
    with psycopg.connect(database.admin_url) as connection:
        return {(table, column) for table, column in connection.execute(CLASSIFIED)}


def unplaced(database: Database) -> list[str]:
    placed, rows = set(places.load().columns()), set(places.load().erased_tables())
    return sorted(
        f"{table}.{column}"
        for table, column in classified(database)
        if table not in rows and column != NUMBER and (table, column) not in placed
    )


def test_every_classified_column_has_its_place_and_every_place_is_there(database: Database) -> None:
    assert unplaced(database) == []
    with psycopg.connect(database.admin_url) as connection:
        there = {
            (f"{schema}.{table}", column)
            for schema, table, column in connection.execute(
                "SELECT table_schema, table_name, column_name FROM information_schema.columns"
            )
        }
    assert set(places.load().columns()) <= there
    assert set(places.load().erased_tables()) <= {table for table, _ in there}


@pytest.mark.parametrize(
    ("column", "kind", "classification"),
    [("mood", "text", "clinical"), ("gait", "jsonb", "biometric"), ("mood_encrypted", "bytea", "internal")],
)
def test_a_new_column_is_noticed(database: Database, column: str, kind: str, classification: str) -> None:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute(f"ALTER TABLE core.patient_exercise_logs ADD COLUMN {column} {kind}".encode())
        connection.execute(f"COMMENT ON COLUMN core.patient_exercise_logs.{column} IS '{classification}: x'".encode())
    assert unplaced(database) == [f"core.patient_exercise_logs.{column}"]


def test_a_ground_has_to_be_there_and_a_column_in_one_place() -> None:
    known = places.load()
    plans = known.retained[0]
    with pytest.raises(ValueError, match="no such legal ground: good reasons"):
        places.Places(**{**_fields(known), "retained": (_with(plans, grounds=("good reasons",)),)})
    with pytest.raises(ValueError, match="in two places"):
        places.Places(**{**_fields(known), "retained": (plans, plans)})


def _fields(known: places.Places) -> dict[str, Any]:
    return {name: getattr(known, name) for name in known.__struct_fields__}


def _with(entry: places.Retained, **changes: Any) -> places.Retained:  # noqa: ANN401 - the struct's own fields
    return places.Retained(**{**{name: getattr(entry, name) for name in entry.__struct_fields__}, **changes})


def test_an_erasure_does_with_each_column_what_its_place_says(scene: Scene, bodies: list[bytes]) -> None:
    """Before, each place holds something of the patient, so that an erasure that passes one over is seen."""
    known = places.load()
    ours = {table: _columns(scene, table, number=1) for table in {table for table, _ in known.columns()}}
    emptied = [(each.table, column) for each in known.emptied for column in each.columns]
    replaced = [(each.table, column) for each in known.replaced for column in each.columns]
    retained = [(each.table, column) for each in known.retained for column in each.columns]
    assert {table: _count(scene, table) > 0 for table in known.erased_tables()} == dict.fromkeys(
        known.erased_tables(), True
    )
    assert [place for place in (*emptied, *replaced) if not any(row[place[1]] for row in ours[place[0]])] == []

    certificate = erased(scene, bodies)

    assert {table: _count(scene, table) for table in known.erased_tables()} == dict.fromkeys(known.erased_tables(), 0)
    kept = {table: _columns(scene, table, number=RETAINED_ID) for table in ours}
    assert [place for place in emptied if any(row[place[1]] is not None for row in kept[place[0]])] == []
    assert [place for place in replaced if any(row[place[1]] == PRINCIPAL for row in kept[place[0]])] == []
    lost = [place for place in retained if not _values(ours, *place) <= _values(kept, *place)]
    # The plan was in progress and ends with the request.
    assert lost == [("core.patient_treatment_plans", "status")]
    by_table = {each["where"]: each for each in certificate["retained"]}
    assert by_table.keys() == {each.table for each in known.retained}
    assert {table: each["count"] for table, each in by_table.items()} == {
        table: len(rows) for table, rows in kept.items() if table in by_table
    } | {"core.audit_log": by_table["core.audit_log"]["count"]}


_OF_PATIENT = {
    "core.patients": "t.id = {n}",
    "core.patient_exercise_logs": "EXISTS (SELECT FROM core.patient_session_completions c"
    " WHERE c.id = t.session_completion_id AND c.patient_id = {n})",
    "core.service_plan_payments": "EXISTS (SELECT FROM core.patient_treatment_plans c"
    " WHERE c.id = t.patient_treatment_plan_id AND c.patient_id = {n})",
    # Whose an audit row is shows before the erasure only: afterwards it names a number that nothing has.
    "core.audit_log": "t.actor_role = 'patient'",
    "core.specialists": "false",
    "core.treatment_plan_exercises": "false",
    "core.row_changes": "false",
    "analytics_intermediate.affected": "false",
}


def _columns(scene: Scene, table: str, *, number: int) -> list[dict[str, Any]]:
    condition = _OF_PATIENT.get(table, "t.patient_id = {n}").format(n=number)
    return scene.clinic.execute(f"select * from {table} t where {condition}")


def _values(rows: dict[str, list[dict[str, Any]]], table: str, column: str) -> set[str]:
    return {str(row[column]) for row in rows[table]} - {"None"}


def _count(scene: Scene, table: str) -> int:
    """Rows of the one patient who has any."""
    return len(scene.clinic.execute(f"select 1 from {table}"))
