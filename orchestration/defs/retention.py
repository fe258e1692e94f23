"""Retention, nightly: what the policy (`pipelines/retention/policy.toml`) says is done, and that it was.

Belongs here: when it runs and what the operator sees. Does not belong here: periods and deletes
(`pipelines.retention`), erasure on a person's request (that has its own room and its own job).
"""

import datetime as dt
import os
from collections.abc import Iterable
from typing import Any

import dagster as dg

from orchestration import plots, runbook
from orchestration.resources import SweeperDatabase
from pipelines.retention.apply import AgeReport, RetentionReport, RuleReport
from pipelines.retention.cli import (
    apply_to_bucket,
    audit_objects,
    lifecycle_drift,
    rehearse_retention,
    report_ages,
    run_retention,
)
from pipelines.retention.objects import ObjectsReport

CRON = "45 3 * * *"  # after the marts, so that a night's increments are in before their sources go
GRACE_DAYS = 2  # a row is due after its last kept day, and goes in the night after that
ROWS_MAX_AT_ONCE = 1_000_000  # a dry run that counts more in one rule stops the night: somebody shall look first

DRY_RUN = dg.AssetKey(["retention", "dry_run"])
ROWS = dg.AssetKey(["retention", "rows"])
BUCKET = dg.AssetKey(["retention", "bucket"])
OBJECTS = dg.AssetKey(["storage", "objects"])
NIGHTLY = dg.FreshnessPolicy.time_window(fail_window=dt.timedelta(hours=50), warn_window=dt.timedelta(hours=26))
AGAIN = dg.RetryPolicy(max_retries=2, delay=60, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
ROOM = {"restartix/room": "retention"}

FINDINGS = {
    "every_session_has_its_objects": (("missing", "wrong_size"), "What sessions say is in the bucket is there, whole."),
    "every_object_has_its_session": (("stray",), "Nothing is in the bucket that no session knows."),
    "objects_go_when_promised": (("overdue",), "No object is past its expiry: S3 executes the lifecycle rules."),
    "objects_are_in_their_class": (("wrong_class",), "Each object is in the storage class its age and tag promise."),
    "objects_are_tagged_as_their_session": (("wrong_tag",), "Of a sample: the tag is the session's retention."),
}


def rows_metadata(report: RetentionReport) -> dict[str, Any]:
    """Counts and bytes a kind of data; a picture where anything goes."""
    table = [
        dg.TableRecord(
            {
                "data": rule.data,
                "kept_days": rule.kept_days,
                "deleted_rows": rule.deleted,
                "deleted_bytes_about": -1 if rule.deleted_bytes is None else rule.deleted_bytes,
                "dropped_partitions": len(rule.dropped_partitions),
                "dropped_rows": rule.dropped_rows,
                "dropped_bytes": rule.dropped_bytes,
                "is_complete": rule.is_complete,
            }
        )
        for rule in report.rules
    ]
    told: dict[str, Any] = {
        "partitions_made": report.partitions_made,
        "deleted_rows": sum(rule.deleted for rule in report.rules),
        "dropped_partitions": sum(len(rule.dropped_partitions) for rule in report.rules),
        "dropped_bytes": sum(rule.dropped_bytes for rule in report.rules),
        "deleted_bytes_about": sum(rule.deleted_bytes or 0 for rule in report.rules),
        "by_kind": dg.MetadataValue.table(table),
    }
    gone = {rule.data: float(rule.deleted + rule.dropped_rows) for rule in report.rules}
    picture = plots.bars("Rows by kind of data", "rows", {data: rows for data, rows in gone.items() if rows})
    if picture:
        told["picture"] = dg.MetadataValue.md(picture)
    return told


def overdue(ages: Iterable[AgeReport]) -> list[AgeReport]:
    """The kinds of which a row is older than the policy and the grace allow."""
    return [age for age in ages if age.oldest_days is not None and age.oldest_days > age.kept_days + GRACE_DAYS]


def implausible(report: RetentionReport) -> list[RuleReport]:
    """The rules that would delete more at once than any night should."""
    return [rule for rule in report.rules if rule.deleted + rule.dropped_rows > ROWS_MAX_AT_ONCE]


@dg.asset(
    key=DRY_RUN,
    group_name="retention",
    owners=["team:operations"],
    kinds={"postgres"},
    tags=ROOM,
    retry_policy=AGAIN,
    description=(
        "What tonight would delete, found with the night's own statements and taken back. Rules are counted up to ten "
        "batches; is_complete false: or more. If it looks wrong, the night stops here."
    ),
    check_specs=[
        dg.AssetCheckSpec(
            "is_plausible",
            asset=DRY_RUN,
            blocking=True,
            description=f"No rule would delete over {ROWS_MAX_AT_ONCE:,} rows, and none failed.",
        )
    ],
)
def retention_dry_run(sweeper: SweeperDatabase) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Rehearse the night."""
    report = rehearse_retention(sweeper.environ())
    many = [rule.data for rule in implausible(report)]
    return dg.MaterializeResult(
        metadata=rows_metadata(report),
        check_results=[
            dg.AssetCheckResult(
                check_name="is_plausible",
                passed=not many,
                metadata={"over_the_limit": many, "failures": report.failures, **runbook.link("is_plausible")},
            )
        ],
    )


@dg.asset(
    key=ROWS,
    deps=[DRY_RUN],
    group_name="retention",
    owners=["team:operations"],
    kinds={"postgres"},
    tags=ROOM,
    retry_policy=AGAIN,
    freshness_policy=NIGHTLY,
    description=(
        "One night on Postgres: partitions made ahead, expired months detached and dropped, expired rows deleted in "
        "bounded batches, children first. What a bound leaves waits for the next night."
    ),
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
                check_name="every_rule_ran",
                passed=not report.failures,
                metadata={"failures": report.failures, **runbook.link("every_rule_ran")},
            ),
            dg.AssetCheckResult(
                check_name="nothing_is_left",
                passed=not unfinished,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"unfinished": unfinished, **runbook.link("nothing_is_left")},
            ),
        ],
    )


@dg.asset(
    key=BUCKET,
    group_name="retention",
    owners=["team:operations"],
    kinds={"s3"},
    tags=ROOM,
    retry_policy=AGAIN,
    freshness_policy=NIGHTLY,
    description=(
        "The bucket's lifecycle document: compared with the policy as it was found, put there anew, read back and "
        "compared again. The store executes it; no job expires an object."
    ),
    check_specs=[
        dg.AssetCheckSpec("nobody_changed_it", asset=BUCKET, description="It was found as the policy had left it."),
        dg.AssetCheckSpec("is_the_policys", asset=BUCKET, description="Read back, it says what the policy says."),
    ],
)
def retention_bucket() -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The policy, applied to the bucket."""
    before, _ = lifecycle_drift(os.environ)
    outcome = apply_to_bucket(os.environ)
    after, left_out = lifecycle_drift(os.environ)
    is_new = before == ["the bucket has no lifecycle document"]
    return dg.MaterializeResult(
        metadata={
            "rules": list(outcome.rules),
            "not_supported_by_this_store": left_out,
            "was_new": is_new,
            "mended": 0 if is_new else len(before),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="nobody_changed_it",
                passed=is_new or not before,
                metadata={"differences": before, **runbook.link("nobody_changed_it")},
            ),
            dg.AssetCheckResult(
                check_name="is_the_policys",
                passed=not after,
                metadata={"differences": after, **runbook.link("is_the_policys")},
            ),
        ],
    )


def objects_metadata(report: ObjectsReport) -> dict[str, Any]:
    """Counts and bytes by retention, storage class and age."""
    rows = [
        dg.TableRecord(
            {
                "retention": holding.tag,
                "storage_class": holding.storage_class,
                "age": holding.age,
                "objects": holding.objects,
                "bytes": holding.bytes,
            }
        )
        for holding in report.holdings
    ]
    told: dict[str, Any] = {
        "sessions": report.sessions,
        "objects": report.objects,
        "bytes": report.bytes,
        "tags_read": report.tags_read,
        "holdings": dg.MetadataValue.table(rows) if rows else "none",
    }
    names = list(dict.fromkeys(f"{holding.tag}, {holding.age}" for holding in report.holdings))
    parts = {
        storage_class: [
            sum(
                holding.bytes / 1e6
                for holding in report.holdings
                if f"{holding.tag}, {holding.age}" == name and holding.storage_class == storage_class
            )
            for name in names
        ]
        for storage_class in sorted({holding.storage_class for holding in report.holdings})
    }
    picture = plots.stacked("Bytes by retention and age", "MB", names, parts)
    if picture:
        told["picture"] = dg.MetadataValue.md(picture)
    return told


@dg.asset(
    key=OBJECTS,
    deps=[BUCKET, dg.AssetKey(["telemetry", "sessions"])],
    group_name="storage",
    owners=["team:operations"],
    kinds={"s3"},
    tags=ROOM,
    retry_policy=AGAIN,
    freshness_policy=NIGHTLY,
    description=(
        "The bucket's listing, read once and held against the sessions in Postgres and against what the policy "
        "promises of each object by its tag, storage class and age. Changes nothing."
    ),
    check_specs=[dg.AssetCheckSpec(name, asset=OBJECTS, description=said) for name, (_, said) in FINDINGS.items()],
)
def stored_objects(context: dg.AssetExecutionContext, sweeper: SweeperDatabase) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """What is there against what ought to be."""
    report = audit_objects(sweeper.environ(), dt.datetime.now(dt.UTC))
    results = []
    for check, (names, _) in FINDINGS.items():
        counts = {name: getattr(report, name).objects for name in names}
        told = {**counts, **runbook.link(check)}
        results.append(dg.AssetCheckResult(check_name=check, passed=not any(counts.values()), metadata=told))
    if report.disagreements:
        context.log.warning("%s; `restartix retention audit-bucket` names them", "; ".join(report.disagreements))
    return dg.MaterializeResult(metadata=objects_metadata(report), check_results=results)


@dg.asset_check(
    asset=ROWS,
    name="nothing_outlives_the_policy",
    retry_policy=AGAIN,
    description=f"No row is more than {GRACE_DAYS} days older than its kind is kept.",
    blocking=False,
)
def nothing_outlives_the_policy(sweeper: SweeperDatabase) -> dg.AssetCheckResult:
    """Looks at the oldest row of each kind, whatever the night's deletes reported."""
    ages = report_ages(sweeper.environ(), dt.datetime.now(dt.UTC))
    late = overdue(ages)
    oldest = {age.data: float(age.oldest_days) for age in ages if age.oldest_days is not None}
    told: dict[str, Any] = {"overdue": [age.data for age in late], "oldest_days": oldest}
    picture = plots.bars("Oldest row, and how long it may be kept", "days", oldest, {a.data: a.kept_days for a in ages})
    if picture:
        told["picture"] = dg.MetadataValue.md(picture)
    return dg.AssetCheckResult(passed=not late, metadata={**told, **runbook.link("nothing_outlives_the_policy")})


def definitions() -> dg.Definitions:
    """The assets, their checks, and the job and schedule that run them."""
    assets = [retention_dry_run, retention_rows, retention_bucket, stored_objects]
    job = dg.define_asset_job(
        "retention",
        selection=dg.AssetSelection.assets(*assets),
        executor_def=dg.in_process_executor,
        description="Dry run, partitions ahead, expiry of rows, lifecycle rules, and the bucket against all of it.",
        tags={**ROOM, "restartix/weight": "heavy", "dagster/max_retries": "1"},
    )
    schedule = dg.ScheduleDefinition(
        name="retention",
        job=job,
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Each night, after the marts.",
    )
    return dg.Definitions(assets=assets, asset_checks=[nothing_outlives_the_policy], jobs=[job], schedules=[schedule])
