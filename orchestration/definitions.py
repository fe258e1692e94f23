"""The Dagster code location: everything an operator can see and run, put together. Nothing is defined here."""

import os

import dagster as dg

from orchestration.dbt_manifest import ensure_manifest
from orchestration.defs import alerts, erasure, house, keeping_up, marts, plans, reconciliation, retention, sweep
from orchestration.resources import AnalyticsDbt, SweeperDatabase
from orchestration.settings import DBT_PROJECT_DIR, Pace, Watch


@dg.definitions
def defs() -> dg.Definitions:
    """Loads without a database: connections are made when something runs."""
    pace = Pace.from_env(os.environ)
    database_url = os.environ.get("RESTARTIX_ANALYTICS_DATABASE_URL")
    manifest = ensure_manifest(DBT_PROJECT_DIR, pace.dbt_dir, database_url)
    return dg.Definitions.merge(
        marts.definitions(manifest),
        sweep.definitions(pace.sweep_interval_s),
        keeping_up.definitions(Watch.from_env(os.environ).interval_s),
        plans.definitions(),
        reconciliation.definitions(),
        retention.definitions(),
        erasure.definitions(),
        house.definitions(),
        alerts.definitions(),
        dg.Definitions(resources={"dbt": AnalyticsDbt(), "sweeper": SweeperDatabase()}),
    )
