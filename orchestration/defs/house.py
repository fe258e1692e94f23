"""Dagster's own house: runs and events that nobody will look at any more.

Belongs here: when it runs and what the operator sees. Does not belong here: what goes (`orchestration/house.py`).
"""

import datetime as dt

import dagster as dg

from orchestration.house import Kept, prune

CRON = "30 4 * * *"
STORAGE = dg.AssetKey(["dagster", "storage"])


@dg.asset(
    key=STORAGE,
    group_name="operations",
    owners=["team:operations"],
    kinds={"dagster"},
    tags={"restartix/room": "operations"},
    description=(
        "Dagster's own records: finished runs with their logs, and what sensors reported, removed after 30 days; the "
        "newest report of each asset and check stays. Ticks go by dagster.yaml."
    ),
)
def dagster_storage(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One pass."""
    pruned = prune(context.instance, Kept(), dt.datetime.now(dt.UTC))
    return dg.MaterializeResult(
        metadata={
            "removed_runs": pruned.runs,
            "removed_events": pruned.events,
            "removed_check_executions": pruned.check_executions,
            "runs_left": pruned.runs_left,
            "is_complete": pruned.is_complete,
        }
    )


def definitions() -> dg.Definitions:
    """The asset, its job and its schedule."""
    job = dg.define_asset_job(
        "housekeeping",
        selection=dg.AssetSelection.assets(dagster_storage),
        executor_def=dg.in_process_executor,
        description="Remove old runs and events from Dagster's storage.",
        tags={"restartix/room": "operations"},
    )
    schedule = dg.ScheduleDefinition(
        name="housekeeping",
        job=job,
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Each night, when the other jobs are done.",
    )
    return dg.Definitions(assets=[dagster_storage], jobs=[job], schedules=[schedule])
