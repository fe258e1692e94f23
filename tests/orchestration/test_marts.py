"""The nightly refresh over a real database: by the job, and by the command."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import psycopg
import pytest
from click.testing import CliRunner

from infra.stack.throwaway import Database
from orchestration.cli import main
from orchestration.defs.marts import SITTINGS
from orchestration.instance import write_home
from orchestration.resources import AnalyticsDbt
from tests.orchestration.clinic import session

pytestmark = pytest.mark.timeout(900)  # it starts dbt


def test_the_command_refreshes_the_marts_and_says_what_it_built(
    connected: dg.Definitions, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connected
    write_home(tmp_path, {})
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    session(database)
    session(database)
    answer = CliRunner().invoke(main, ["marts"])
    assert answer.exit_code == 0, answer.output
    lines = dict(line.split()[:2] for line in answer.output.splitlines() if line.endswith(" rows"))
    assert lines["organisation_dashboard"] == "2"
    assert lines["plan_weekly_adherence"] == "2"
    assert lines["console_cohorts"] == "0"
    with psycopg.connect(database.admin_url) as connection:
        found = connection.execute(
            "select plans_active, sessions_expected, adherence_percent from analytics.organisation_dashboard"
        ).fetchall()
    assert found == [(1, 0, None), (1, 0, None)]
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        event = instance.get_latest_materialization_event(SITTINGS)
    assert event is not None and event.asset_materialization is not None
    told = event.asset_materialization.metadata
    assert told["dagster/row_count"].value == 2
    assert str(told["sittings_a_week"].value).startswith("![Sittings a week](data:image/png;base64,")
    weeks = AnalyticsDbt().sittings_by_week()
    assert len(weeks) == 12
    assert [(week["completed"], week["skipped"], week["unfinished"]) for week in weeks[-2:]] == [(0, 0, 0), (0, 0, 2)]


def test_a_broken_invariant_fails_the_refresh_and_is_named(
    connected: dg.Definitions, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connected
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    session(database)
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("update core.patient_treatment_plans set sessions_completed = 5")
    answer = CliRunner().invoke(main, ["marts"])
    assert answer.exit_code != 0
    assert "plan_counters_match_sittings" in answer.output


def test_without_a_database_the_command_names_the_variable(definitions: dg.Definitions) -> None:
    assert definitions
    answer = CliRunner().invoke(main, ["marts"])
    assert answer.exit_code != 0
    assert "RESTARTIX_ANALYTICS_DATABASE_URL" in answer.output
