"""Who sees what: row-level security on every table dbt builds, by role; classifications on every column."""

from __future__ import annotations

import re

import psycopg
import pytest

from tests.dbt.conftest import Marts

# The first test of a run waits for all nights.
pytestmark = pytest.mark.timeout(900)

CLINIC_MARTS = (
    "cohort_outcomes",
    "cohort_retention",
    "dim_exercises",
    "dim_patients",
    "dim_treatment_plans",
    "exercise_performance",
    "exercise_trends",
    "fct_exercise_logs",
    "fct_media_views",
    "fct_reps",
    "fct_treatment_sessions",
    "media_engagement",
    "media_outcomes",
    "media_quality",
    "media_quality_levels",
    "organisation_dashboard",
    "patient_progress",
    "plan_outcomes",
    "plan_weekly_adherence",
    "revenue_per_plan",
    "top_exercises",
)


@pytest.mark.parametrize("mart", CLINIC_MARTS)
def test_an_analyst_sees_its_own_organisation_only(marts: Marts, mart: str) -> None:
    query = f"select organisation_id, count(*) as found from analytics.{mart} group by organisation_id"
    everything = {row["organisation_id"]: row["found"] for row in marts.rows(query)}
    assert set(everything) == {1, 2}
    for organisation_id, found in everything.items():
        url = marts.database.url("analyst", organisation_id=organisation_id)
        # What the session says of itself is not believed.
        for claimed in (None, 1, 2):
            rows = marts.rows(query, url, organisation_id=claimed)
            assert rows == [{"organisation_id": organisation_id, "found": found}]


@pytest.mark.parametrize("mart", CLINIC_MARTS)
def test_the_core_api_sees_the_organisation_of_its_transaction(marts: Marts, mart: str) -> None:
    query = f"select distinct organisation_id from analytics.{mart}"
    url = marts.database.url("core_api")
    assert marts.rows(query, url) == []
    assert marts.rows(query, url, organisation_id=2) == [{"organisation_id": 2}]


def test_the_console_reads_suppressed_marts_and_nothing_else(marts: Marts) -> None:
    url = marts.database.url("console")
    assert marts.rows("select * from analytics.console_cohorts", url)
    for mart in CLINIC_MARTS:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            marts.rows(f"select * from analytics.{mart}", url)
    for role, organisation_id in (("analyst", 1), ("core_api", None)):
        other = marts.database.url(role, organisation_id=organisation_id)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            marts.rows("select * from analytics.console_cohorts", other)


@pytest.mark.parametrize("schema", ["analytics_staging", "analytics_intermediate"])
@pytest.mark.parametrize("role", ["analyst", "core_api", "console"])
def test_only_the_builder_reaches_the_layers_below(marts: Marts, schema: str, role: str) -> None:
    url = marts.database.url(role, organisation_id=1 if role == "analyst" else None)
    table = "stg_core__patients" if schema == "analytics_staging" else "int_plan_outcomes"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        marts.rows(f"select * from {schema}.{table}", url)


def test_every_table_has_forced_row_level_security_and_a_lawful_owner(marts: Marts) -> None:
    tables = marts.rows(
        """
        select c.relname, c.relrowsecurity and c.relforcerowsecurity as protected, c.relowner::regrole::text as owner
        from pg_class c where c.relkind = 'r' and c.relnamespace::regnamespace::text like 'analytics%'
        """
    )
    assert len(tables) >= len(CLINIC_MARTS) + 1
    assert [row["relname"] for row in tables if not row["protected"]] == []
    assert {row["owner"] for row in tables} == {"restartix_analytics_builder"}


def test_every_column_says_how_sensitive_it_is(marts: Marts) -> None:
    columns = marts.rows(
        """
        select c.oid::regclass::text || '.' || a.attname as name, col_description(c.oid, a.attnum) as comment
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind in ('r', 'v') and c.relnamespace::regnamespace::text like 'analytics%'
        """
    )
    assert len(columns) > 200
    classified = re.compile(r"(public|internal|personal|clinical|biometric): \S")
    assert [row["name"] for row in columns if not classified.match(row["comment"] or "")] == []


def test_no_identity_and_no_encrypted_column_reaches_a_mart(marts: Marts) -> None:
    names = marts.rows(
        "select distinct column_name from information_schema.columns where table_schema like 'analytics%'"
    )
    forbidden = re.compile(r"principal|encrypted|full_name|contact|responses")
    assert [row["column_name"] for row in names if forbidden.search(row["column_name"])] == []
