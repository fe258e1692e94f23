"""The sweep: sessions that fell silent are closed, so that their home node finalises them as incomplete.

Belongs here: when it runs and what the operator sees of it. Does not belong here: what silent means
(`pipelines.finalise.sweep`).

A pass is two short statements, so the sensor makes it itself instead of launching a run (a process of several seconds)
for it; what it closed is recorded as a materialisation of the same asset that the job `sweep` makes by hand.
"""

import datetime as dt

import dagster as dg

from orchestration.resources import SweeperDatabase
from pipelines.adapters.postgres.sweep_store import PostgresSweepStore
from pipelines.finalise.settings import SweepSettings
from pipelines.finalise.sweep import Silence, SweepReport, sweep

ASSET_KEY = dg.AssetKey(["telemetry", "sweep"])


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
        "is_complete": report.is_complete,
    }


@dg.asset(
    key=ASSET_KEY,
    group_name="operations",
    owners=["team:operations"],
    description=(
        "Sessions closed because nothing came for RESTARTIX_SILENCE_S (timeout) or because their ingest node is given "
        "up (node_lost). silent_but_spared: silent, but their node was not ready all the time, so the silence is ours."
    ),
)
def swept_sessions(sweeper: SweeperDatabase) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One pass, asked for by hand."""
    return dg.MaterializeResult(metadata=metadata(sweep_once(sweeper)))


def definitions(interval_s: int) -> dg.Definitions:
    """The asset, the job that makes one pass, and the sensor that makes one every `interval_s`."""
    job = dg.define_asset_job(
        "sweep",
        selection=dg.AssetSelection.assets(swept_sessions),
        executor_def=dg.in_process_executor,
        description="One pass of the sweep, by hand. The sensor silent_sessions makes them all the time.",
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
        if report.timeout + report.node_lost == 0:
            return dg.SensorResult(skip_reason=f"Nothing to close; {report.spared} silent but spared.")
        return dg.SensorResult(
            skip_reason=f"Closed {report.timeout} silent sessions and {report.node_lost} of lost nodes.",
            asset_events=[dg.AssetMaterialization(asset_key=ASSET_KEY, metadata=told)],
        )

    return dg.Definitions(assets=[swept_sessions], jobs=[job], sensors=[silent_sessions])
