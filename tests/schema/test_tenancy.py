"""One clinic never sees another's row, whatever the query: the policies, role by role."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from infra.stack.throwaway import Database

TENANT_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('core', 'telemetry', 'bus') AND c.relkind IN ('r', 'p')
  AND (c.relname = 'organisations' OR EXISTS (
    SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'organisation_id' AND NOT a.attisdropped))
"""


def rows_seen(url: str, table: str, *, organisation_id: int | None) -> list[int]:
    with psycopg.connect(url) as connection:
        if organisation_id is not None:
            connection.execute("SELECT set_config('app.org_id', %s, true)", [str(organisation_id)])
        column = "id" if table == "core.organisations" else "organisation_id"
        query = sql.SQL("SELECT {} FROM {} ORDER BY 1").format(
            sql.Identifier(column), sql.Identifier(*table.split("."))
        )
        return [found for (found,) in connection.execute(query)]


def test_every_tenant_table_and_partition_forces_row_level_security(database: Database) -> None:
    with psycopg.connect(database.admin_url) as connection:
        tables = connection.execute(TENANT_TABLES).fetchall()
        unprotected = connection.execute(
            f"{TENANT_TABLES} AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"
        ).fetchall()
    assert len(tables) > 100, "the tables and two years of monthly partitions"
    assert unprotected == []


@pytest.mark.parametrize(
    ("role", "table"),
    [
        ("core_api", "core.organisations"),
        ("core_api", "core.patients"),
        ("core_api", "core.patient_session_completions"),
        ("core_api", "telemetry.sessions"),
        ("core_api", "telemetry.pose_session_metrics"),
        ("finaliser", "telemetry.sessions"),
        ("subscriber", "core.patient_exercise_logs"),
    ],
)
def test_a_service_role_sees_the_tenant_of_its_transaction_and_nothing_without_one(
    two_clinics: Database, role: str, table: str
) -> None:
    url = two_clinics.url(role)
    assert rows_seen(url, table, organisation_id=None) == []
    assert rows_seen(url, table, organisation_id=1) == [1]
    assert rows_seen(url, table, organisation_id=2) == [2]


def test_a_service_role_cannot_write_into_another_tenant(two_clinics: Database) -> None:
    with psycopg.connect(two_clinics.url("core_api")) as connection:
        connection.execute("SELECT set_config('app.org_id', '1', true)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            connection.execute("INSERT INTO core.treatment_plans (organisation_id, name) VALUES (2, 'smuggled')")


def test_an_analyst_sees_the_organisation_of_its_login_whatever_it_sets(two_clinics: Database) -> None:
    url = two_clinics.url("analyst", organisation_id=1)
    assert rows_seen(url, "core.patient_exercise_logs", organisation_id=None) == [1]
    assert rows_seen(url, "core.patient_exercise_logs", organisation_id=2) == [1]


def test_an_analyst_cannot_read_identities(two_clinics: Database) -> None:
    with (
        psycopg.connect(two_clinics.url("analyst", organisation_id=1)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT * FROM core.patients")


def test_the_builder_reads_all_tenants_but_no_encrypted_column(two_clinics: Database) -> None:
    url = two_clinics.url("analytics_builder")
    assert rows_seen(url, "core.patient_exercise_logs", organisation_id=None) == [1, 2]
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT full_name_encrypted FROM core.patients")


def test_the_sweeper_sees_times_of_all_tenants_and_nothing_clinical(two_clinics: Database) -> None:
    with psycopg.connect(two_clinics.url("sweeper")) as connection:
        found = connection.execute("SELECT count(*) FROM (SELECT session_id, state FROM telemetry.sessions) s")
        assert found.fetchone() == (2,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT patient_id FROM telemetry.sessions")


@pytest.mark.parametrize("role", ["core_api", "ingest", "sweeper", "analytics_builder", "console"])
def test_a_partition_cannot_be_read_around_its_parent(two_clinics: Database, role: str) -> None:
    with psycopg.connect(two_clinics.admin_url) as connection:
        found = connection.execute(
            "SELECT tableoid::regclass::text FROM telemetry.pose_session_metrics LIMIT 1"
        ).fetchone()
    assert found is not None
    schema, _, partition = found[0].rpartition(".")
    with psycopg.connect(two_clinics.url(role)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(
            sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema or "telemetry", partition.strip('"')))
        )


def test_ingest_reads_no_table_at_all(two_clinics: Database) -> None:
    with psycopg.connect(two_clinics.admin_url) as connection:
        granted = connection.execute(
            "SELECT table_schema, table_name, privilege_type FROM information_schema.role_table_grants"
            " WHERE grantee = 'restartix_ingest'"
        ).fetchall()
    assert granted == []
