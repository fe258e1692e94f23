"""Dagster's own records: old ones go, new ones and the newest of each stay; and they can live in PostgreSQL."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickStatus

from infra.stack.throwaway import Database
from orchestration.house import Kept, prune
from orchestration.instance import DATABASE_URL, settings, write_home

# The sweep passes again in a minute, and Dagster's own records wait for another night.
ASKED_ONCE = {"dagster/storage", "telemetry/sweep"}
OLD = dt.timedelta(days=31)


@dg.asset(check_specs=[dg.AssetCheckSpec("well", asset="thing")])
def thing() -> dg.MaterializeResult:  # type: ignore[type-arg]
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(check_name="well", passed=True)])


def fill(instance: dg.DagsterInstance) -> None:
    """Three runs, and three reports of a sensor."""
    for _ in range(3):
        assert dg.materialize([thing], instance=instance).success
        instance.report_runless_asset_event(dg.AssetMaterialization("swept"))
        instance.report_runless_asset_event(dg.AssetCheckEvaluation(dg.AssetKey("swept"), "moves_on", passed=True))


def reports(instance: dg.DagsterInstance) -> int:
    return len(instance.fetch_materializations(dg.AssetKey("swept"), limit=100).records)


def hold(instance: dg.DagsterInstance) -> None:
    fill(instance)
    unfinished = instance.create_run_for_job(dg.Definitions(assets=[thing]).resolve_implicit_global_asset_job_def())
    now = dt.datetime.now(dt.UTC)
    young = prune(instance, Kept(), now)
    assert (young.runs, young.events, young.check_executions, young.runs_left) == (0, 0, 0, 4)
    bounded = prune(instance, Kept(runs_max=1), now + OLD)
    assert (bounded.runs, bounded.is_complete) == (1, False)
    old = prune(instance, Kept(), now + OLD)
    assert (old.runs, old.runs_left, old.is_complete) == (2, 1, True)
    assert [run.run_id for run in instance.get_runs()] == [unfinished.run_id]
    assert reports(instance) == 1, "the newest report of each asset stays"
    key = dg.AssetCheckKey(dg.AssetKey("swept"), "moves_on")
    assert len(instance.event_log_storage.get_asset_check_execution_history(key, limit=10)) == 1
    again = prune(instance, Kept(), now + OLD)
    assert (again.runs, again.events, again.check_executions) == (0, 0, 0)


def test_old_runs_and_reports_go_from_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATABASE_URL, raising=False)
    write_home(tmp_path, {})
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        hold(instance)
        left = [path.name for path in (tmp_path / "storage").iterdir() if path.is_dir()]
        assert len([name for name in left if len(name) == 36]) <= 1, "what the steps printed goes too"


def test_the_records_can_live_in_postgres_and_are_pruned_there(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several hosts share one database, which each process is told by its environment."""
    monkeypatch.setenv(DATABASE_URL, database.admin_url.replace("postgres://", "postgresql://", 1))
    path = write_home(tmp_path, {DATABASE_URL: "set"})
    assert database.name not in path.read_text(), "no address is written down"
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert type(instance.run_storage).__name__ == "PostgresRunStorage"
        hold(instance)


def test_dagster_takes_the_bounds_on_what_runs_at_once_and_begins_again_only_what_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DATABASE_URL, raising=False)
    assert "postgres_url" not in settings({})
    write_home(tmp_path, {})
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 3
        assert queue.tag_concurrency_limits == [{"key": "restartix/weight", "value": "heavy", "limit": 1}]
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 0, "but where a job's tag says so"
        assert instance.run_monitoring_enabled
        assert instance.freshness_enabled
        assert not instance.telemetry_enabled
        assert instance.get_tick_retention_settings(InstigatorType.SENSOR)[TickStatus.SKIPPED] == 1


def test_heavy_jobs_wait_for_each_other_and_steps_try_again_with_back_off(definitions: dg.Definitions) -> None:
    jobs = {name: definitions.resolve_job_def(name) for name in ("nightly_marts", "retention", "reconciliation")}
    assert {name: job.tags["restartix/weight"] for name, job in jobs.items()} == dict.fromkeys(jobs, "heavy")
    assert jobs["nightly_marts"].tags["dagster/max_retries"] == "1"
    repository = definitions.get_repository_def()
    steps = {
        key.to_user_string(): assets.op.retry_policy
        for key, assets in repository.assets_defs_by_key.items()
        if assets.is_executable
    }
    # dbt: a test that failed is not made to pass by asking twice.
    asked_once = {name for name, policy in steps.items() if policy is None and not name.startswith("analytics")}
    assert asked_once == ASKED_ONCE
    assert len(steps) > 50
    for name, policy in steps.items():
        if policy is not None:
            assert policy.max_retries >= 1 and policy.backoff is dg.Backoff.EXPONENTIAL, name


def test_the_job_prunes_the_instance_it_runs_in(connected: dg.Definitions, tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        fill(instance)
        result = connected.resolve_job_def("housekeeping").execute_in_process(instance=instance)
    [event] = result.get_asset_materialization_events()
    told = event.step_materialization_data.materialization.metadata
    assert told["removed_runs"].value == 0
    assert told["runs_left"].value == 4
