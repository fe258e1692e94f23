"""Telling people that a run or a check failed or a table got old, and when it is well again.

Belongs here: what is worth a notice, and to whom in words. Does not belong here: sending (`notifications.py`), looking
(the checks, and the daemon that holds tables to their freshness policy). What only warns is seen in the UI; only an
error is told.
"""

import datetime as dt
import os
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import dagster as dg
import msgspec
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateRecord
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from orchestration import runbook
from orchestration.notifications import NotDeliveredError, Notice, send
from orchestration.settings import Watch

_SETTLED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
_FRESHNESS = {FreshnessState.PASS, FreshnessState.FAIL}
UP_TO_DATE = "up_to_date"  # how a notice calls a table's freshness policy
_ERRORS_MAX = 500  # characters of an error in a notice


class Verdict(NamedTuple):
    """The newest answer of one check, or of one table's freshness policy, and what of it may be told."""

    name: str  # `asset: check`, or `asset: up_to_date`
    passed: bool
    url_path: str
    metadata: Mapping[str, str | int | float | bool | None]


class Failing(msgspec.Struct, frozen=True):
    """A check that failed when last told. Unix times."""

    since_s: float
    told_s: float


def verdicts(records: Sequence[AssetCheckExecutionRecord]) -> list[Verdict]:
    """Settled checks that are errors when they fail; runs of checks that never ended say nothing."""
    found = []
    for record in records:
        event = record.event.dagster_event if record.event is not None else None
        if record.status not in _SETTLED or event is None:
            continue
        evaluation = event.asset_check_evaluation_data
        passed = record.status is AssetCheckExecutionRecordStatus.SUCCEEDED
        if not passed and evaluation.severity is not dg.AssetCheckSeverity.ERROR:
            continue
        path = "/".join(record.key.asset_key.path)
        told = {
            name: value.value
            for name, value in evaluation.metadata.items()
            if isinstance(value.value, str | int | float | bool)
            and not str(value.value).startswith("![")
            and name != "runbook"  # the notice has it itself
        }
        name = f"{record.key.asset_key.to_user_string()}: {record.key.name}"
        found.append(Verdict(name, passed, f"/assets/{path}?view=checks", told))
    return sorted(found)


def staleness(records: Sequence[FreshnessStateRecord]) -> list[Verdict]:
    """Tables that are older than their policy allows at most, and those that are fresh; a warning says nothing."""
    found = []
    for record in records:
        if record.freshness_state not in _FRESHNESS:
            continue
        path = "/".join(record.entity_key.path)
        told = {"since": record.updated_at.isoformat(timespec="seconds")}
        name = f"{record.entity_key.to_user_string()}: {UP_TO_DATE}"
        passed = record.freshness_state is FreshnessState.PASS
        found.append(Verdict(name, passed, f"/assets/{path}", told))
    return sorted(found)


def notices(
    found: Sequence[Verdict], failing: Mapping[str, Failing], watch: Watch, now_s: float
) -> tuple[list[Notice], dict[str, Failing]]:
    """What is to be told, and what fails from now on: news at once, old news once a `reminder_s`."""
    told, after = [], {name: one for name, one in failing.items() if name not in {verdict.name for verdict in found}}
    for verdict in found:
        last = failing.get(verdict.name)
        if verdict.passed:
            if last is not None:
                told.append(_notice("recovered", verdict, watch, now_s, f"{verdict.name} passes again."))
            continue
        if last is None:
            told.append(_notice("failed", verdict, watch, now_s, f"{verdict.name} fails."))
            after[verdict.name] = Failing(now_s, now_s)
        elif now_s - last.told_s >= watch.reminder_s:
            hours = (now_s - last.since_s) / 3600
            told.append(_notice("reminder", verdict, watch, now_s, f"{verdict.name} still fails, for {hours:.0f} h."))
            after[verdict.name] = Failing(last.since_s, now_s)
        else:
            after[verdict.name] = last
    return told, after


def _notice(kind: str, verdict: Verdict, watch: Watch, now_s: float, text: str) -> Notice:
    return msgspec.convert(
        {
            "kind": kind,
            "what": verdict.name,
            "text": text,
            "severity": "info" if kind == "recovered" else "error",
            "at": _time(now_s),
            "url": f"{watch.dagster_url}{verdict.url_path}" if watch.dagster_url else None,
            "runbook": f"{watch.runbook_url}#{runbook.anchor(verdict.name.split(': ')[-1])}"
            if watch.runbook_url
            else None,
            "metadata": dict(verdict.metadata),
        },
        Notice,
    )


def _time(now_s: float) -> str:
    return dt.datetime.fromtimestamp(now_s, dt.UTC).isoformat(timespec="seconds")


@dg.run_failure_sensor(
    name="failed_runs",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="POSTs a notice to RESTARTIX_ALERT_WEBHOOK_URL for each run that failed.",
)
def failed_runs(context: dg.RunFailureSensorContext) -> None:
    """One notice a failed run."""
    watch = Watch.from_env(os.environ)
    run = context.dagster_run
    message = context.failure_event.message or ""
    notice = Notice(
        kind="failed",
        what=f"job {run.job_name}",
        text=f"The job {run.job_name} failed: {message[:_ERRORS_MAX]}",
        severity="error",
        at=_time(time.time()),
        url=f"{watch.dagster_url}/runs/{run.run_id}" if watch.dagster_url else None,
        runbook=f"{watch.runbook_url}#a-job-failed" if watch.runbook_url else None,
    )
    if watch.webhook_url is None:
        context.log.warning("RESTARTIX_ALERT_WEBHOOK_URL is not set, so nobody is told: %s", notice.text)
        return
    send(watch.webhook_url, notice)


def _has_policy(repository: dg.RepositoryDefinition, key: dg.AssetKey) -> bool:
    return repository.asset_graph.get(key).freshness_policy is not None


def definitions() -> dg.Definitions:
    """The two sensors that tell people."""

    @dg.sensor(
        name="failed_checks",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="POSTs to RESTARTIX_ALERT_WEBHOOK_URL when a check begins to fail or a table gets too old, when"
        " that goes on, and when it is well again.",
    )
    def failed_checks(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        watch = Watch.from_env(os.environ)
        failing = msgspec.json.decode(context.cursor, type=dict[str, Failing]) if context.cursor else {}
        repository = context.repository_def
        if repository is None:
            raise RuntimeError("a sensor is evaluated without its code location")
        keys = list(repository.asset_graph.asset_check_keys)
        latest = context.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
        aging = [key for key in repository.asset_graph.get_all_asset_keys() if _has_policy(repository, key)]
        ages = context.instance.get_freshness_state_records(aging)
        found = [*verdicts(list(latest.values())), *staleness(list(ages.values()))]
        told, after = notices(found, failing, watch, time.time())
        undelivered = 0
        for notice in told:
            if watch.webhook_url is None:
                context.log.warning("RESTARTIX_ALERT_WEBHOOK_URL is not set, so nobody is told: %s", notice.text)
                continue
            try:
                send(watch.webhook_url, notice)
            except NotDeliveredError as error:
                # As it was before: the next tick tells it again.
                undelivered += 1
                after.pop(notice.what, None)
                if notice.what in failing:
                    after[notice.what] = failing[notice.what]
                context.log.error("%s", error)
        return dg.SensorResult(
            skip_reason=f"{len(after)} checks fail or tables are old;"
            f" {len(told) - undelivered} news, {undelivered} not delivered.",
            cursor=msgspec.json.encode(after).decode(),
        )

    return dg.Definitions(sensors=[failed_runs, failed_checks])
