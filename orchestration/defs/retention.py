"""Retention, nightly: what the policy (`pipelines/retention/policy.toml`) says is done, and that it was.

Belongs here: when it runs and what the operator sees. Does not belong here: periods and deletes
(`pipelines.retention`).
"""

import datetime as dt
import os
from collections.abc import Iterable
from typing import Any

import dagster as dg

from orchestration.resources import SweeperDatabase
from pipelines.retention.apply import AgeReport, RetentionReport
from pipelines.retention.cli import apply_to_bucket, report_ages, run_retention

CRON = "45 3 * * *"  # after the marts, so that a night's increments are in before their sources go
GRACE_DAYS = 2  # a row is due after its last kept day, and goes in the night after that

ROWS = dg.AssetKey(["retention", "rows"])
BUCKET = dg.AssetKey(["retention", "bucket"])


def rows_metadata(report: RetentionReport) -> dict[str, dg.MetadataValue[Any] | int]:
    """Counts a kind of data; only what happened."""
    table = [
        dg.TableRecord(
            {
                "data": rule.data,
                "kept_days": rule.kept_days,
                "deleted_rows": rule.deleted,
                "dropped_partitions": len(rule.dropped_partitions),
                "is_complete": rule.is_complete,
            }
        )
        for rule in report.rules
    ]
    return {
        "partitions_made": report.partitions_made,
        "deleted_rows": sum(rule.deleted for rule in report.rules),
        "dropped_partitions": sum(len(rule.dropped_partitions) for rule in report.rules),
        "by_kind": dg.MetadataValue.table(table),
    }


def overdue(ages: Iterable[AgeReport]) -> list[AgeReport]:
    """The kinds of which a row is older than the policy and the grace allow."""
    return [age for age in ages if age.oldest_days is not None and age.oldest_days > age.kept_days + GRACE_DAYS]


@dg.asset(
    key=ROWS,
    group_name="operations",
    owners=["team:operations"],
    description="One night on Postgres: partitions made ahead and dropped when due, expired rows deleted in batches.",
    check_specs=[
        dg.AssetCheckSpec("every_rule_ran", asset=ROWS, description="No rule failed."),
        dg.AssetCheckSpec("nothing_is_left", asset=ROWS, description="No rule reached the night's bound."),
    ],
)
def retention_rows(sweeper: SweeperDatabase) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The policy, applied to rows and partitions."""
    report = run_retention(sweeper.environ())
    unfinished = [rule.data for rule in report.rules if not rule.is_complete]
    return dg.MaterializeResult(
        metadata=rows_metadata(report),
        check_results=[
            dg.AssetCheckResult(
                check_name="every_rule_ran", passed=not report.failures, metadata={"failures": report.failures}
            ),
            dg.AssetCheckResult(
                check_name="nothing_is_left",
                passed=not unfinished,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"unfinished": unfinished},
            ),
        ],
    )


@dg.asset(
    key=BUCKET,
    group_name="operations",
    owners=["team:operations"],
    description="The bucket's lifecycle rules, put there from the policy. They expire objects; no job does.",
)
def retention_bucket() -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The policy, applied to the bucket."""
    outcome = apply_to_bucket(os.environ)
    return dg.MaterializeResult(
        metadata={"rules": list(outcome.rules), "not_supported_by_this_store": list(outcome.left_out)}
    )


@dg.asset_check(
    asset=ROWS,
    name="nothing_outlives_the_policy",
    description=f"No row is more than {GRACE_DAYS} days older than its kind is kept.",
    blocking=False,
)
def nothing_outlives_the_policy(sweeper: SweeperDatabase) -> dg.AssetCheckResult:
    """Looks at the oldest row of each kind, whatever the night's deletes reported."""
    ages = report_ages(sweeper.environ(), dt.datetime.now(dt.UTC))
    late = overdue(ages)
    return dg.AssetCheckResult(
        passed=not late,
        metadata={
            "overdue": [age.data for age in late],
            "oldest_days": {age.data: age.oldest_days for age in ages if age.oldest_days is not None},
        },
    )


def definitions() -> dg.Definitions:
    """The assets, their checks, and the job and schedule that run them."""
    job = dg.define_asset_job(
        "retention",
        selection=dg.AssetSelection.assets(retention_rows, retention_bucket),
        executor_def=dg.in_process_executor,
        description="Partitions ahead, expiry of rows, lifecycle rules of the bucket.",
    )
    schedule = dg.ScheduleDefinition(
        name="retention",
        job=job,
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return dg.Definitions(
        assets=[retention_rows, retention_bucket],
        asset_checks=[nothing_outlives_the_policy],
        jobs=[job],
        schedules=[schedule],
    )
