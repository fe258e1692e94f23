"""Treatment plans whose last day is over where their patient lives.

Belongs here: when it runs and what the operator sees. Does not belong here: when a plan is over (`core.expire_plans`).
"""

import dagster as dg

from orchestration.resources import SweeperDatabase
from pipelines.plans.cli import run_expiry

EXPIRED = dg.AssetKey(["core", "expired_plans"])
CRON = "10 * * * *"  # the day ends somewhere every hour


@dg.asset(
    key=EXPIRED,
    group_name="operations",
    owners=["team:operations"],
    kinds={"postgres"},
    tags={"restartix/room": "operations"},
    deps=[dg.AssetKey(["core", "patient_treatment_plans"])],
    retry_policy=dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL),
    description="Treatment plans set to expired after their last day, in their patient's time zone. Each is audited.",
)
def expired_plans(sweeper: SweeperDatabase) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One pass."""
    report = run_expiry(sweeper.environ())
    return dg.MaterializeResult(metadata={"expired": report.expired, "is_complete": report.is_complete})


def definitions() -> dg.Definitions:
    """The asset, its job and its schedule."""
    job = dg.define_asset_job(
        "plan_expiry",
        selection=dg.AssetSelection.assets(expired_plans),
        executor_def=dg.in_process_executor,
        description="Expire treatment plans whose last day is over.",
        tags={"restartix/room": "operations"},
    )
    schedule = dg.ScheduleDefinition(
        name="plan_expiry",
        job=job,
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Hourly.",
    )
    return dg.Definitions(assets=[expired_plans], jobs=[job], schedules=[schedule])
