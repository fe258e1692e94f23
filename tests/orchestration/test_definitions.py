"""What the operator finds: the code location loads without a database and holds exactly this."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

import orchestration.resources
from orchestration.cli import code_location_keys
from orchestration.dbt_manifest import ensure_manifest, profile_variables, project_digest
from orchestration.settings import DBT_PROJECT_DIR, PROJECT_DIR, Pace, SettingsError, required

GOLDEN = Path(__file__).with_name("assets.txt")
JOBS = {
    "erasure",
    "housekeeping",
    "keeping_up",
    "nightly_marts",
    "orphaned_uploads",
    "plan_expiry",
    "reconciliation",
    "retention",
    "source_freshness",
    "sweep",
}
SCHEDULES = JOBS - {"sweep", "erasure"}
SENSORS = {"failed_checks", "failed_runs", "open_erasures", "silent_sessions", "standstill"}
GROUPS = {
    "exposures",
    "intermediate",
    "marts",
    "operations",
    "privacy",
    "retention",
    "source_core",
    "source_pg_catalog",
    "source_telemetry",
    "staging",
    "storage",
}


def test_the_code_location_holds_exactly_this(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    assert code_location_keys(definitions) == GOLDEN.read_text().splitlines(), (
        "what the code location holds has changed; if it should: "
        f"python -m orchestration.cli assets > {GOLDEN.relative_to(PROJECT_DIR)}"
    )
    assert {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")} == JOBS
    assert {schedule.name for schedule in repository.schedule_defs} == SCHEDULES
    assert {sensor.name for sensor in repository.sensor_defs} == SENSORS


def test_an_operator_is_told_what_everything_is_and_whose(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    for spec in definitions.resolve_all_asset_specs():
        name = spec.key.to_user_string()
        assert spec.description, name
        assert spec.owners, name
        assert spec.kinds, name
        assert spec.tags.get("restartix/room") or spec.group_name == "operations", name
        assert spec.group_name in GROUPS, (name, spec.group_name)
    for name in JOBS:
        job = definitions.resolve_job_def(name)
        assert job.description, name
        assert job.tags.get("restartix/room"), name
    for schedule in repository.schedule_defs:
        assert schedule.description, schedule.name
    for sensor in repository.sensor_defs:
        assert sensor.description, sensor.name
    for key in repository.asset_graph.asset_check_keys:
        if key.asset_key.path[0] not in {"analytics", "analytics_staging", "analytics_intermediate", "core"}:
            assert repository.asset_graph.get_check_spec(key).description or key.asset_key.path[0] == "telemetry", key


def test_the_lineage_goes_from_the_sources_to_who_reads(definitions: dg.Definitions) -> None:
    graph = definitions.get_repository_def().asset_graph
    dashboard = dg.AssetKey(["exposure", "organisation_dashboard_of_the_clinic_app"])
    above, waiting = set(), {dashboard}
    while waiting:
        key = waiting.pop()
        above.add(key)
        waiting |= graph.get(key).parent_keys - above
    names = {key.to_user_string() for key in above}
    assert {"core/patient_session_completions", "core/patient_exercise_logs"} <= names
    assert any(name.startswith("analytics_staging/") for name in names)
    assert any(name.startswith("analytics/") for name in names)


def test_tables_say_how_old_they_may_be(definitions: dg.Definitions) -> None:
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    marts = [spec for name, spec in specs.items() if name.startswith("analytics/")]
    assert len(marts) > 5
    for spec in [*marts, specs["retention/rows"], specs["retention/bucket"], specs["storage/objects"]]:
        assert spec.freshness_policy is not None, spec.key
    views = [spec for spec in specs.values() if spec.tags.get("restartix/materialized") == "view"]
    assert len(views) > 5
    assert [spec.key for spec in views if spec.freshness_policy] == [], "a view is as fresh as its source"


def test_everything_that_recurs_is_on_and_runs_in_process(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    for schedule in repository.schedule_defs:
        assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING, schedule.name
    for sensor in repository.sensor_defs:
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING, sensor.name
    for name in JOBS:
        assert definitions.resolve_job_def(name).executor_def.name == "in_process", name
        assert definitions.resolve_job_def(name).description, name


def test_every_dbt_test_of_a_mart_is_an_asset_check(definitions: dg.Definitions) -> None:
    checks = definitions.get_repository_def().asset_graph.asset_check_keys
    by_asset = {key.asset_key.to_user_string() for key in checks}
    marts = {key.to_user_string() for key in definitions.get_repository_def().asset_graph.materializable_asset_keys}
    assert {name for name in marts if name.startswith("analytics/")} <= by_asset
    invariants = {path.stem for path in (DBT_PROJECT_DIR / "tests" / "singular").glob("*.sql")}
    assert len(invariants) >= 8
    assert invariants <= {key.name for key in checks}


def test_the_manifest_is_parsed_once(definitions: dg.Definitions, state_dir: Path, tmp_path: Path) -> None:
    assert definitions  # loading it made the manifest
    manifest = state_dir / "dbt" / "target" / "manifest.json"
    before = manifest.stat().st_mtime_ns
    assert ensure_manifest(DBT_PROJECT_DIR, state_dir / "dbt") == manifest
    assert manifest.stat().st_mtime_ns == before
    (tmp_path / "a.sql").write_text("select 1")
    digest = project_digest(tmp_path)
    assert project_digest(tmp_path) == digest
    (tmp_path / "a.sql").write_text("select 2")
    assert project_digest(tmp_path) != digest


def test_dbt_writes_nothing_into_its_project(definitions: dg.Definitions) -> None:
    assert definitions
    kinds = {path.suffix or path.name for path in DBT_PROJECT_DIR.rglob("*") if path.is_file()}
    assert kinds == {".md", ".sql", ".sqlfluff", ".yml"}
    assert not (DBT_PROJECT_DIR / "target").exists()
    assert not (DBT_PROJECT_DIR / "logs").exists()


def test_a_url_becomes_what_the_profile_reads() -> None:
    variables = profile_variables("postgresql://builder:p%40ss@db.example:6543/clinic?sslmode=require")
    assert variables == {
        "DBT_HOST": "db.example",
        "DBT_PORT": "6543",
        "DBT_USER": "builder",
        "DBT_PASSWORD": "p@ss",
        "DBT_DATABASE": "clinic",
        "DBT_SSLMODE": "require",
    }


def test_settings_name_the_variable_that_is_wrong() -> None:
    assert Pace.from_env({}) == Pace(sweep_interval_s=60, state_dir=PROJECT_DIR / ".local")
    assert Pace.from_env({"RESTARTIX_SWEEP_INTERVAL_S": "5"}).sweep_interval_s == 5
    for wrong in ("soon", "0", "-1"):
        with pytest.raises(SettingsError, match="RESTARTIX_SWEEP_INTERVAL_S"):
            Pace.from_env({"RESTARTIX_SWEEP_INTERVAL_S": wrong})
    with pytest.raises(SettingsError, match="A or B is not set"):
        required({"B": ""}, "A", "B")


@pytest.mark.parametrize(
    "path",
    [*sorted((PROJECT_DIR / "orchestration" / "defs").glob("*.py")), Path(orchestration.resources.__file__)],
    ids=lambda path: path.name,
)
def test_no_definitions_module_postpones_its_annotations(path: Path) -> None:
    """Dagster reads the context's annotation to know what to hand over; a postponed one is a string to it."""
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    assert "__future__" not in {node.module for node in imports}


def test_dg_finds_and_checks_the_code_location(definitions: dg.Definitions, tmp_path: Path) -> None:
    assert definitions  # its manifest is reused: RESTARTIX_STATE is in the environment
    command = [str(Path(sys.executable).parent / "dg"), "check", "defs"]
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    done = subprocess.run(
        command,
        cwd=PROJECT_DIR,
        env={**os.environ, "DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All definitions loaded successfully" in done.stdout + done.stderr
