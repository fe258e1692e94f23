"""Erasures that were asked for: gone on with until each has its certificate.

Belongs here: when it runs and what the operator sees. Does not belong here: what is erased and in which order
(`pipelines.erasure`), expiry by age (`retention`).
"""

import datetime as dt
from typing import Any
from uuid import UUID

import dagster as dg

from orchestration import runbook
from orchestration.resources import SweeperDatabase
from pipelines.adapters.postgres.erasure_store import PostgresErasureStore
from pipelines.erasure.cli import Outcome, run_due
from pipelines.erasure.run import STEPS

ERASURES = dg.AssetKey(["core", "erasures"])
INTERVAL_S = 300
ROOM = {"restartix/room": "privacy"}
# GDPR Article 12(3) allows a month; somebody shall look before it is over.
LATE = dt.timedelta(days=25)


def metadata(outcomes: list[Outcome]) -> dict[str, Any]:
    """How far each is, by the erasure's id: no patient, session or person. Certificates without who asked."""
    table = [
        dg.TableRecord(
            {
                "erasure": str(outcome.erasure_id),
                "steps_done": outcome.steps_done,
                "steps": len(STEPS),
                "state": state(outcome),
                "waiting_for": outcome.waiting_for or "",
            }
        )
        for outcome in outcomes
    ]
    certificates = {
        str(outcome.erasure_id): {name: value for name, value in outcome.certificate.items() if name != "requested_by"}
        for outcome in outcomes
        if outcome.certificate is not None
    }
    states = [state(outcome) for outcome in outcomes]
    told: dict[str, Any] = {each: states.count(each) for each in ("certified", "waiting", "failed")}
    if table:  # an empty one Dagster refuses
        told |= {"progress": dg.MetadataValue.table(table), "certificates": dg.MetadataValue.json(certificates)}
    return told


def state(outcome: Outcome) -> str:
    """In one word."""
    if outcome.error is not None:
        return "failed"
    return "certified" if outcome.certificate is not None else "waiting"


def late(outcomes: list[Outcome], now: dt.datetime) -> list[Outcome]:
    """Those that were asked for so long ago that the month allowed for them is nearly over."""
    return [outcome for outcome in outcomes if outcome.certificate is None and now - outcome.requested_at > LATE]


@dg.asset(
    key=ERASURES,
    group_name="privacy",
    owners=["team:operations"],
    kinds={"postgres", "s3"},
    tags=ROOM,
    deps=[dg.AssetKey(["telemetry", "sessions"])],
    retry_policy=dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL),
    description=(
        "Patients' erasures, each gone on with as far as it can. One waits for finalisers, for the nodes' word that "
        "their disks are clean, and for the nightly build; the next run goes on. Certified: nothing of the erased set "
        "was found anywhere."
    ),
    check_specs=[
        dg.AssetCheckSpec(
            "no_erasure_fails", asset=ERASURES, description="None ended in an error; one that waits is no error."
        ),
        dg.AssetCheckSpec(
            "erased_within_a_month",
            asset=ERASURES,
            description=f"None was asked for over {LATE.days} days ago and is not certified.",
        ),
    ],
)
def erasures(context: dg.AssetExecutionContext, sweeper: SweeperDatabase) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Go on with every erasure that is not certified."""

    def told(erasure_id: UUID, step: str, done: int, total: int) -> None:
        context.log.info("erasure %s: %s, %s of %s", erasure_id, step, done, total)

    outcomes = run_due(sweeper.environ(), told)
    failed = {str(outcome.erasure_id): outcome.error for outcome in outcomes if outcome.error is not None}
    overdue = late(outcomes, dt.datetime.now(dt.UTC))
    return dg.MaterializeResult(
        metadata=metadata(outcomes),
        check_results=[
            dg.AssetCheckResult(
                check_name="no_erasure_fails",
                passed=not failed,
                metadata={"failed": failed, **runbook.link("no_erasure_fails")},
            ),
            dg.AssetCheckResult(
                check_name="erased_within_a_month",
                passed=not overdue,
                metadata={
                    "late": [str(outcome.erasure_id) for outcome in overdue],
                    **runbook.link("erased_within_a_month"),
                },
            ),
        ],
    )


def definitions() -> dg.Definitions:
    """The asset, its job, and the sensor that starts the job while an erasure is open."""
    job = dg.define_asset_job(
        "erasure",
        selection=dg.AssetSelection.assets(erasures),
        executor_def=dg.in_process_executor,
        description="Go on with every erasure that is not certified.",
        tags={**ROOM, "dagster/max_retries": "1"},
    )

    @dg.sensor(
        name="open_erasures",
        job=job,
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts the job `erasure` while one is asked for and not certified.",
    )
    def open_erasures(context: dg.SensorEvaluationContext, sweeper: SweeperDatabase) -> dg.SensorResult:
        with sweeper.connect() as connection:
            waiting = sum(not due.certified for due in PostgresErasureStore(connection).due())
        if waiting == 0:
            return dg.SensorResult(skip_reason="No erasure is open.")
        under_way = context.instance.get_runs_count(
            dg.RunsFilter(
                job_name="erasure",
                statuses=[dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED],
            )
        )
        if under_way:
            return dg.SensorResult(skip_reason=f"{waiting} open; a run is under way.")
        return dg.SensorResult(run_requests=[dg.RunRequest()])

    return dg.Definitions(assets=[erasures], jobs=[job], sensors=[open_erasures])
