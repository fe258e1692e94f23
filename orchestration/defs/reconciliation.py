"""Whether the books close: what was accepted, what is in the bucket, what is in Postgres and what the marts read.

Belongs here: the checks of the night over sessions. Does not belong here: the bucket's listing (`retention.py`, which
reads it anyway), the marts' own invariants (dbt tests).
"""

import datetime as dt
import os

import dagster as dg

from orchestration import runbook
from orchestration.resources import AnalyticsDbt, SweeperDatabase
from pipelines.adapters.postgres.retention_store import PostgresRetentionStore
from pipelines.adapters.postgres.sample_store import sample
from pipelines.adapters.s3.blob_store import S3BlobStore
from pipelines.adapters.s3.client import connect
from pipelines.adapters.s3.settings import S3Settings
from pipelines.finalise.recount import RecountReport, SampledSession, recount
from pipelines.pose.version import algorithm_version

SESSIONS = dg.AssetKey(["telemetry", "sessions"])
REPS = dg.AssetKey(["telemetry", "pose_rep_metrics"])
LOOKBACK = dt.timedelta(days=35)
SAMPLE = 20
CRON = "45 1 * * *"  # before the marts, so that nobody builds on books that do not close
AGAIN = dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL)


@dg.asset_check(
    asset=SESSIONS,
    name="accounting_closes",
    retry_policy=AGAIN,
    description=(
        f"Sessions finalised within {LOOKBACK.days} days: accepted batches = in blobs + duplicates + dropped for "
        "consent, the same for video events, and each blob's member index has as many entries as the blob has batches."
    ),
)
def accounting_closes(sweeper: SweeperDatabase) -> dg.AssetCheckResult:
    """Sums over all organisations."""
    with sweeper.connect() as connection:
        found = PostgresRetentionStore(connection).accounting(LOOKBACK)
    batches = found.batches_in_blobs + found.batches_duplicate + found.batches_dropped
    events = found.events_in_objects + found.events_duplicate + found.events_dropped
    closes = found.accepted_batches == batches and found.accepted_events == events
    return dg.AssetCheckResult(
        passed=closes and found.not_closing == 0 and found.members_differ == 0,
        metadata={**found._asdict(), **runbook.link("accounting_closes")},
    )


@dg.asset_check(
    asset=REPS,
    name="repetitions_recomputed",
    retry_policy=AGAIN,
    description=(
        f"{SAMPLE} sessions at random are computed anew from their blobs: as many repetitions and the same form score "
        "as stored. Results of another version of the algorithm are not compared; where all are, that is a warning."
    ),
)
def repetitions_recomputed(context: dg.AssetCheckExecutionContext, dbt: AnalyticsDbt) -> dg.AssetCheckResult:
    """A sample of blobs against the rows made of them."""
    settings = S3Settings.from_env(os.environ)
    blobs = S3BlobStore(connect(settings), settings)
    with dbt.connect() as connection:
        rows = sample(connection, LOOKBACK, SAMPLE)
    report = recount((SampledSession(*row) for row in rows), blobs, algorithm_version())
    for _, difference in report.differing:
        context.log.warning("a session differs: %s", difference)
    passed, severity = verdict(report)
    return dg.AssetCheckResult(
        passed=passed,
        severity=severity,
        metadata={
            "sampled": report.sampled,
            "equal": report.equal,
            "of_another_version": report.other_version,
            "unreadable": report.unreadable,
            "differing": len(report.differing) - report.unreadable,
            **runbook.link("repetitions_recomputed"),
        },
    )


def verdict(report: RecountReport) -> tuple[bool, dg.AssetCheckSeverity]:
    """Whether the sample passes, and how grave it is if not. One that compared nothing is no proof, and no damage."""
    if report.differing:
        return False, dg.AssetCheckSeverity.ERROR
    if report.equal == 0 and report.other_version > 0:
        return False, dg.AssetCheckSeverity.WARN
    return True, dg.AssetCheckSeverity.ERROR


def definitions() -> dg.Definitions:
    """The checks, their job and their schedule."""
    checks = [accounting_closes, repetitions_recomputed]
    job = dg.define_asset_job(
        "reconciliation",
        selection=dg.AssetSelection.checks(*checks),
        executor_def=dg.in_process_executor,
        description="Whether what was accepted, sealed, stored and counted agree.",
        tags={"restartix/room": "reconciliation", "restartix/weight": "heavy"},
    )
    schedule = dg.ScheduleDefinition(
        name="reconciliation",
        job=job,
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Each night, before the marts.",
    )
    return dg.Definitions(asset_checks=checks, jobs=[job], schedules=[schedule])
