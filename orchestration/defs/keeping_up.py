"""Whether every session moves on: closed ones are finalised, finalised ones are applied, none has failed.

Belongs here: checks over states and times. Does not belong here: mending (the finaliser and the subscriber try again
by themselves; `docs/orchestration.md` says what to do when they gave up).
"""

import datetime as dt
from collections.abc import Mapping
from typing import NamedTuple

import dagster as dg

from orchestration.resources import SweeperDatabase
from pipelines.adapters.postgres import sql

SESSIONS = dg.AssetKey(["telemetry", "sessions"])
PATIENCE = dt.timedelta(minutes=15)
CRON = "*/15 * * * *"

DESCRIPTIONS: Mapping[str, str] = {
    "not_finalised": f"Sessions that ended over {PATIENCE} ago and have no result: is their node's finaliser running?",
    "not_applied": f"Results sealed over {PATIENCE} ago that the Core API does not show: is the subscriber running?",
    "failed": "Sessions whose finalising was given up: they need an operator.",
}


class Backlog(NamedTuple):
    """How many sessions, and how long the oldest has waited (None: there is none)."""

    sessions: int
    oldest_s: float | None


def backlog(sweeper: SweeperDatabase, name: str, patience: dt.timedelta = PATIENCE) -> Backlog:
    """The named backlog (a key of DESCRIPTIONS)."""
    statement = sql.load(__package__, "keeping_up.sql")[name]
    with sweeper.connect() as connection:
        row = connection.execute(statement, {"patience": patience}).fetchone()
    if row is None:
        raise LookupError(f"{name}: a count without a row")
    return Backlog(*row)


def _check(name: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=SESSIONS, name=name, description=DESCRIPTIONS[name])
    def check(sweeper: SweeperDatabase) -> dg.AssetCheckResult:
        found = backlog(sweeper, name)
        told: dict[str, int | float] = {"sessions": found.sessions}
        if found.oldest_s is not None:
            told["oldest_s"] = round(found.oldest_s, 1)
        return dg.AssetCheckResult(passed=found.sessions == 0, severity=dg.AssetCheckSeverity.ERROR, metadata=told)

    return check


def definitions() -> dg.Definitions:
    """The checks, and the job and schedule that make them."""
    checks = [_check(name) for name in DESCRIPTIONS]
    job = dg.define_asset_job(
        "keeping_up",
        selection=dg.AssetSelection.checks(*checks),
        executor_def=dg.in_process_executor,
        description="Whether closed sessions are finalised and finalised ones applied.",
    )
    schedule = dg.ScheduleDefinition(
        name="keeping_up",
        job=job,
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return dg.Definitions(asset_checks=checks, jobs=[job], schedules=[schedule])
