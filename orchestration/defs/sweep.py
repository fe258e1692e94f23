"""The sweep: sessions that fell silent are closed, so that their home node finalises them as incomplete; what is stuck
is set moving again.

Belongs here: when it runs and what the operator sees of it. Does not belong here: what silent and stuck mean
(`pipelines.finalise.sweep`, `.orphans`).

A pass is a few short statements, so the sensor makes it itself instead of launching a run (a process of several
seconds) for it; what it closed is recorded as a materialisation of the same asset that the job `sweep` makes by hand.
"""

import datetime as dt
import os

import dagster as dg

from orchestration import runbook
from orchestration.resources import SweeperDatabase
from pipelines.adapters.postgres.sweep_store import PostgresSweepStore
from pipelines.adapters.s3.client import connect
from pipelines.adapters.s3.inventory import BucketInventory
from pipelines.adapters.s3.settings import S3Settings
from pipelines.finalise.orphans import OrphanReport, OrphanRules, abort_orphans
from pipelines.finalise.settings import SweepSettings
from pipelines.finalise.sweep import Silence, SweepReport, sweep

ASSET_KEY = dg.AssetKey(["telemetry", "sweep"])
UPLOADS = dg.AssetKey(["storage", "uploads"])
UPLOADS_CRON = "20 * * * *"


def sweep_once(sweeper: SweeperDatabase) -> SweepReport:
    """One pass, by the rules of the environment. Overlapping passes do no harm."""
    settings = SweepSettings.from_env(sweeper.environ())
    rules = Silence(
        silence=dt.timedelta(seconds=settings.silence_s + settings.touch_interval_s),
        node_lost=dt.timedelta(seconds=settings.node_lost_s),
        sessions_max=settings.sessions_max,
    )
    with sweeper.connect() as connection:
        return sweep(PostgresSweepStore(connection), rules)


def metadata(report: SweepReport) -> dict[str, int | bool]:
    """What the operator sees: counts, no ids."""
    return {
        "closed_as_timeout": report.timeout,
        "closed_as_node_lost": report.node_lost,
        "silent_but_spared": report.spared,
        "finalised_again": report.finalised_again,
        "delivered_again": report.delivered_again,
        "given_up": report.given_up,
        "is_complete": report.is_complete,
    }


@dg.asset(
    key=ASSET_KEY,
    group_name="operations",
    owners=["team:operations"],
    description=(
        "Sessions closed because nothing came for RESTARTIX_SILENCE_S (timeout) or because their ingest node is given "
        "up (node_lost). silent_but_spared: silent, but their node was not ready all the time, so the silence is ours. "
        "finalised_again, delivered_again: stuck and set moving; given_up: in vain, so a person has to look."
    ),
    kinds={"postgres"},
    tags={"restartix/room": "operations"},
    deps=[dg.AssetKey(["telemetry", "sessions"])],
)
def swept_sessions(sweeper: SweeperDatabase) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One pass, asked for by hand."""
    return dg.MaterializeResult(metadata=metadata(sweep_once(sweeper)))


@dg.asset(
    key=UPLOADS,
    group_name="storage",
    owners=["team:operations"],
    description=(
        "Multipart uploads of the bucket that nothing will complete, because the finaliser that began them died before "
        "it noted them: aborted once they are six hours old. Cost storage and show in no listing of objects."
    ),
    kinds={"s3"},
    tags={"restartix/room": "operations"},
    retry_policy=dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS),
    check_specs=[
        dg.AssetCheckSpec("every_upload_let_go", asset=UPLOADS, description="The store aborted what it was asked to.")
    ],
)
def orphaned_uploads(sweeper: SweeperDatabase) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One pass over the uploads."""
    report = abort_once(sweeper, dt.datetime.now(dt.UTC))
    return dg.MaterializeResult(
        metadata={
            "under_way": report.under_way,
            "old": report.old,
            "aborted": report.aborted,
            "given_up": report.given_up,
            "is_complete": report.is_complete,
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="every_upload_let_go",
                passed=report.given_up == 0,
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={"given_up": report.given_up, **runbook.link("every_upload_let_go")},
            )
        ],
    )


def abort_once(sweeper: SweeperDatabase, now: dt.datetime) -> OrphanReport:
    """One pass over the bucket's uploads as of `now`."""
    settings = S3Settings.from_env(os.environ)
    with sweeper.connect() as connection:
        inventory = BucketInventory(connect(settings), settings.bucket)
        return abort_orphans(inventory, PostgresSweepStore(connection), OrphanRules(), now)


def definitions(interval_s: int) -> dg.Definitions:
    """The asset, the job that makes one pass, and the sensor that makes one every `interval_s`."""
    job = dg.define_asset_job(
        "sweep",
        selection=dg.AssetSelection.assets(swept_sessions),
        executor_def=dg.in_process_executor,
        description="One pass of the sweep, by hand. The sensor silent_sessions makes them all the time.",
        tags={"restartix/room": "operations"},
    )
    uploads = dg.define_asset_job(
        "orphaned_uploads",
        selection=dg.AssetSelection.assets(orphaned_uploads),
        executor_def=dg.in_process_executor,
        description="Abort multipart uploads that nothing will complete.",
        tags={"restartix/room": "operations"},
    )
    schedule = dg.ScheduleDefinition(
        name="orphaned_uploads",
        job=uploads,
        cron_schedule=UPLOADS_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Hourly.",
    )

    @dg.sensor(
        name="silent_sessions",
        minimum_interval_seconds=interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Closes sessions that fell silent, and tells what it closed.",
    )
    def silent_sessions(context: dg.SensorEvaluationContext, sweeper: SweeperDatabase) -> dg.SensorResult:
        report = sweep_once(sweeper)
        told = metadata(report)
        context.log.info("swept: %s", told)
        if report.changed == 0:
            return dg.SensorResult(skip_reason=f"Nothing to close; {report.spared} silent but spared.")
        return dg.SensorResult(
            skip_reason=(
                f"Closed {report.timeout} silent sessions and {report.node_lost} of lost nodes; "
                f"{report.finalised_again + report.delivered_again} set moving again, {report.given_up} given up."
            ),
            asset_events=[dg.AssetMaterialization(asset_key=ASSET_KEY, metadata=told)],
        )

    return dg.Definitions(
        assets=[swept_sessions, orphaned_uploads], jobs=[job, uploads], schedules=[schedule], sensors=[silent_sessions]
    )
