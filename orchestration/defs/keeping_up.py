"""Whether everything moves on: sessions are finalised and applied, subscribers keep up, nodes have room.

Belongs here: checks over states, times and counts, made every minute by a sensor and by hand as a job. Does not belong
here: mending (`sweep.py`; finaliser and subscriber try again by themselves), telling people (`alerts.py`).

A look is a few short statements, so the sensor makes it itself instead of launching a run. It reports a check when the
answer changed, and each hour otherwise, so that the history is short and still shows that somebody looked.
"""

import datetime as dt
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import dagster as dg
import msgspec

from orchestration import node_metrics, runbook
from orchestration.resources import SweeperDatabase
from orchestration.settings import Watch
from pipelines.adapters.postgres.sweep_store import NodeRow, PostgresSweepStore

SESSIONS = dg.AssetKey(["telemetry", "sessions"])
DELIVERIES = dg.AssetKey(["bus", "deliveries"])
NODES = dg.AssetKey(["telemetry", "nodes"])
PATIENCE = dt.timedelta(minutes=15)
REPORT_AGAIN_S = 3600
FINALISER_SILENT_S = 120
CRON = "5 * * * *"


class Look(NamedTuple):
    """The answer of one check."""

    passed: bool
    metadata: Mapping[str, int | float | str]


class Watched(NamedTuple):
    """One check: of what, what it means in a sentence, and who looks."""

    asset: dg.AssetKey
    name: str
    description: str
    look: Callable[[PostgresSweepStore, Watch], Look]


def _stuck(kind: str) -> Callable[[PostgresSweepStore, Watch], Look]:
    def look(store: PostgresSweepStore, _: Watch) -> Look:
        found = next(row for row in store.stuck(PATIENCE) if row.kind == kind)
        told: dict[str, int | float | str] = {"sessions": found.waiting, "given_up": found.given_up}
        if found.oldest_s is not None:
            told["oldest_s"] = round(found.oldest_s, 1)
        return Look(found.waiting == 0, told)

    return look


def _given_up(store: PostgresSweepStore, _: Watch) -> Look:
    given_up = {row.kind: row.given_up for row in store.stuck(PATIENCE)}
    told: dict[str, int | float | str] = {kind: count for kind, count in given_up.items() if kind != "not_finalised"}
    return Look(sum(given_up.values()) == 0, told)


def _dead_letters(store: PostgresSweepStore, _: Watch) -> Look:
    backlog = store.bus_backlog()
    return Look(all(row.dead == 0 for row in backlog), {row.consumer: row.dead for row in backlog})


def _subscriber_lag(store: PostgresSweepStore, _: Watch) -> Look:
    told: dict[str, int | float | str] = {}
    late = False
    for row in store.bus_backlog():
        told |= {f"{row.consumer} pending": row.pending, f"{row.consumer} tried in vain": row.retrying}
        if row.oldest_pending_s is not None:
            told[f"{row.consumer} oldest_s"] = round(row.oldest_pending_s, 1)
            late = late or row.oldest_pending_s > PATIENCE.total_seconds()
    return Look(not late, told)


def _leases(store: PostgresSweepStore, _: Watch) -> Look:
    now = dt.datetime.now(dt.UTC)
    nodes = store.nodes()
    ready = sum(1 for node in nodes if node.lease_until >= now and node.ready_since is not None)
    lapsed = sum(1 for node in nodes if _is_lapsed(node, now))
    return Look(ready > 0 or not nodes, {"nodes": len(nodes), "ready": ready, "lapsed_within_a_day": lapsed})


def _is_lapsed(node: NodeRow, now: dt.datetime) -> bool:
    return now - dt.timedelta(days=1) < node.lease_until < now


def _spools(store: PostgresSweepStore, watch: Watch) -> Look:
    now = dt.datetime.now(dt.UTC)
    told: dict[str, int | float | str] = {}
    passed = True
    for node in store.nodes():
        if node.lease_until < now:
            continue  # `a_node_is_ready` tells; its disk cannot be asked
        url = watch.node_metrics_url.format(node_id=node.node_id, ingest_url=node.ingest_url.rstrip("/"))
        try:
            figures = node_metrics.fetch(url)
        except (OSError, ValueError) as error:
            told[node.node_id], passed = f"does not answer: {type(error).__name__}", False
            continue
        wrong = _wrong(figures, watch)
        told[node.node_id] = "; ".join(wrong) or f"spool {figures.spool_bytes}, free {figures.disk_free_bytes} bytes"
        passed = passed and not wrong
    return Look(passed, told)


def _wrong(figures: node_metrics.NodeFigures, watch: Watch) -> list[str]:
    wrong = []
    if figures.spool_bytes is not None and figures.spool_bytes > watch.spool_max_bytes:
        wrong.append(f"spool of {figures.spool_bytes} bytes")
    if figures.disk_free_bytes is not None and figures.disk_free_bytes < watch.disk_free_min_bytes:
        wrong.append(f"{figures.disk_free_bytes} bytes free")
    if figures.unknown_sessions:
        wrong.append(f"spools of {figures.unknown_sessions} unknown sessions")
    if figures.finaliser_seen_s is not None and time.time() - figures.finaliser_seen_s > FINALISER_SILENT_S:
        wrong.append(f"no sign of its finaliser for {time.time() - figures.finaliser_seen_s:.0f} s")
    return wrong


WATCHED = (
    Watched(
        SESSIONS,
        "ended_sessions_are_finalised",
        f"Sessions that ended over {PATIENCE} ago and have no result: is their node's finaliser running?",
        _stuck("not_finalised"),
    ),
    Watched(
        SESSIONS,
        "results_are_applied",
        f"Results sealed over {PATIENCE} ago that the Core API does not show: is the subscriber running?",
        _stuck("not_applied"),
    ),
    Watched(
        SESSIONS,
        "no_session_failed",
        "Sessions whose finalising failed; the sweep has them tried again.",
        _stuck("failed"),
    ),
    Watched(
        SESSIONS, "nothing_is_given_up", "What the sweep tried to set moving in vain: it needs an operator.", _given_up
    ),
    Watched(
        DELIVERIES,
        "no_dead_letters",
        "Results the subscriber gave up; the runbook says how to read why.",
        _dead_letters,
    ),
    Watched(
        DELIVERIES,
        "subscriber_keeps_up",
        f"The oldest result that waits to be applied is under {PATIENCE} old.",
        _subscriber_lag,
    ),
    Watched(NODES, "a_node_is_ready", "At least one ingest node is ready: patients can be received.", _leases),
    Watched(
        NODES,
        "nodes_have_room",
        "Each node answers, has room, its finaliser shows signs of life, and it holds no spool nobody knows.",
        _spools,
    ),
)


def observe(sweeper: SweeperDatabase, watched: Watched) -> Look:
    """Make one check."""
    with sweeper.connect() as connection:
        return watched.look(PostgresSweepStore(connection), Watch.from_env(os.environ))


def _check(watched: Watched) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=watched.asset, name=watched.name, description=watched.description)
    def check(sweeper: SweeperDatabase) -> dg.AssetCheckResult:
        passed, told = observe(sweeper, watched)
        metadata = {**told, **runbook.link(watched.name)}
        return dg.AssetCheckResult(passed=passed, severity=dg.AssetCheckSeverity.ERROR, metadata=metadata)

    return check


class Seen(msgspec.Struct, frozen=True):
    """What the sensor last reported of one check, and when (Unix time)."""

    passed: bool
    at_s: float


def changes(
    looks: Iterator[tuple[Watched, Look]], seen: Mapping[str, Seen], now_s: float
) -> tuple[list[dg.AssetCheckEvaluation], dict[str, Seen]]:
    """What is worth reporting, and what is seen from now on."""
    events, after = [], dict(seen)
    for watched, look in looks:
        name = f"{watched.asset.to_user_string()}: {watched.name}"
        last = seen.get(name)
        if last is not None and last.passed == look.passed and now_s - last.at_s < REPORT_AGAIN_S:
            continue
        after[name] = Seen(look.passed, now_s)
        events.append(
            dg.AssetCheckEvaluation(
                asset_key=watched.asset,
                check_name=watched.name,
                passed=look.passed,
                metadata={**look.metadata, **runbook.link(watched.name)},
            )
        )
    return events, after


def definitions(interval_s: int) -> dg.Definitions:
    """The watched tables, their checks, the sensor that makes them all the time, and the job that makes them now."""
    checks = [_check(watched) for watched in WATCHED]
    job = dg.define_asset_job(
        "keeping_up",
        selection=dg.AssetSelection.checks(*checks),
        executor_def=dg.in_process_executor,
        description="Whether sessions are finalised and applied, subscribers keep up and nodes have room, now.",
        tags={"restartix/room": "operations"},
    )
    schedule = dg.ScheduleDefinition(
        name="keeping_up",
        job=job,
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Each hour as a run of its own, whatever the sensor saw.",
    )

    @dg.sensor(
        name="standstill",
        minimum_interval_seconds=interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Looks for sessions, subscribers, nodes and spools that stand still, and reports what changed.",
    )
    def standstill(context: dg.SensorEvaluationContext, sweeper: SweeperDatabase) -> dg.SensorResult:
        seen = msgspec.json.decode(context.cursor, type=dict[str, Seen]) if context.cursor else {}
        looks = ((watched, observe(sweeper, watched)) for watched in WATCHED)
        events, after = changes(looks, seen, time.time())
        failing = sorted(name for name, one in after.items() if not one.passed)
        return dg.SensorResult(
            skip_reason=f"Standing still: {', '.join(failing)}" if failing else "Everything moves on.",
            asset_events=events,
            cursor=msgspec.json.encode(after).decode(),
        )

    tables = [
        dg.AssetSpec(
            DELIVERIES,
            group_name="operations",
            owners=["team:operations"],
            kinds={"postgres"},
            description="The bus: one row a consumer and result, until it is settled. Watched, not made here.",
        ),
        dg.AssetSpec(
            NODES,
            group_name="operations",
            owners=["team:operations"],
            kinds={"postgres"},
            description="Ingest nodes and their leases. Watched, not made here.",
        ),
    ]
    return dg.Definitions(assets=tables, asset_checks=checks, jobs=[job], schedules=[schedule], sensors=[standstill])
