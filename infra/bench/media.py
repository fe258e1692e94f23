"""What aggregating video events costs: events a second, against reading the same events from JSON; and whether a data
frame would be faster. Writes build/reports/bench_media.json.

Belongs here: measuring, and the data-frame contestant. Does not belong here: a verdict (docs/decisions/0022); a slow
machine is no failure, so nothing here fails a build. CPU time, the least of several rounds, one thread.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

import click
import msgspec
import numpy as np
import polars as pl

from infra.stack.state import PROJECT_DIR
from pipelines.media.aggregate import aggregate
from pipelines.media.counters import NAMES, NOISE, Counters, counted
from pipelines.media.events import ReceivedEvent, decode, encode
from pipelines.media.schema import MediaEvent, PlaybackData
from pipelines.replay import events_object
from pipelines.simulate.video import Video, ordinary_script

CLIP_S: Final = 42.0
LONG_S: Final = 1200.0
_BEGAN: Final = dt.datetime(2026, 2, 16, 9, 3, tzinfo=dt.UTC)
_TOGETHER: Final = (1, 100, 2000)


class Measure(msgspec.Struct):
    """One kind of session. ``ratio``: aggregating over decoding the same events from canonical JSON, CPU over CPU."""

    what: str
    sessions: int
    events: int
    events_per_second: float
    us_per_session: float
    decode_events_per_second: float
    ratio: float


class FrameMeasure(msgspec.Struct):
    """The counters' totals of ``views`` views at once: by the production code, and by a polars query, with building its
    columns from the events and without. ``share``: of the whole aggregation's CPU that this step takes.
    """

    views: int
    python_ms: float
    polars_ms: float
    polars_query_ms: float
    share: float


class Report(msgspec.Struct):
    python: str
    polars: str
    cpu_count: int | None
    rounds: int
    measures: list[Measure]
    data_frame: list[FrameMeasure]


def measure(sessions: int, rounds: int) -> Report:
    """Simulate patients watching, and measure. Raises ``AssertionError`` where the data frame gives other totals."""
    clips = [_received(seed, CLIP_S) for seed in range(sessions)]
    long = [_received(seed, LONG_S) for seed in range(max(1, sessions // 20))]
    return Report(
        python=platform.python_version(),
        polars=pl.__version__,
        cpu_count=os.cpu_count(),
        rounds=rounds,
        measures=[
            _measure(f"{CLIP_S:.0f}-second videos, each event once", clips, rounds),
            _measure("the same, each event sent twice", [one + one for one in clips], rounds),
            _measure(f"{LONG_S:.0f}-second videos", long, rounds),
        ],
        data_frame=[_compare(clips[:views], rounds) for views in _TOGETHER if views <= sessions],
    )


def _received(seed: int, total_s: float) -> list[ReceivedEvent]:
    rng = np.random.default_rng(seed)
    video = Video(UUID(int=seed), "clip", _BEGAN, total_s)
    events = video.watch(ordinary_script(rng, total_s, total_s)).events
    return [ReceivedEvent(event=event, received_at=event.timestamp + dt.timedelta(seconds=0.2)) for event in events]


def _measure(what: str, sessions: Sequence[list[ReceivedEvent]], rounds: int) -> Measure:
    bodies = [b"[" + b",".join(encode(one.event) for one in session) + b"]" for session in sessions]
    events = sum(map(len, sessions))
    decode_ms = _least_cpu_ms(
        lambda: [decode(body, UUID(int=seed), 100_000) for seed, body in enumerate(bodies)], rounds
    )
    aggregate_ms = _least_cpu_ms(lambda: [aggregate(session) for session in sessions], rounds)
    recomputed = events_object.read(events_object.write(sessions[0]))
    if aggregate(recomputed) != aggregate(sessions[0]):
        raise AssertionError("recomputed from its events object, a session has other figures")
    return Measure(
        what=what,
        sessions=len(sessions),
        events=events,
        events_per_second=round(events / aggregate_ms * 1000),
        us_per_session=round(aggregate_ms / len(sessions) * 1000, 1),
        decode_events_per_second=round(events / decode_ms * 1000),
        ratio=round(aggregate_ms / decode_ms, 2),
    )


def _compare(sessions: Sequence[list[ReceivedEvent]], rounds: int) -> FrameMeasure:
    views = [[one.event for one in session] for session in sessions]
    frame = _frame(views)
    wanted = [_totals(counted(view)) for view in views]
    if _query(frame).rows() != wanted:
        raise AssertionError("the data frame gives other totals")
    python_ms = _least_cpu_ms(lambda: [_totals(counted(view)) for view in views], rounds)
    whole_ms = _least_cpu_ms(lambda: [aggregate(session) for session in sessions], rounds)
    return FrameMeasure(
        views=len(views),
        python_ms=round(python_ms, 3),
        polars_ms=round(_least_cpu_ms(lambda: _query(_frame(views)), rounds), 3),
        polars_query_ms=round(_least_cpu_ms(lambda: _query(frame), rounds), 3),
        share=round(python_ms / whole_ms, 3),
    )


def _totals(counters: Counters) -> tuple[float | None, ...]:
    frames = (counters.dropped_frames, counters.total_frames)
    return (counters.watched_s, counters.stall_count, counters.stall_ms, *frames)


def _frame(views: Sequence[Sequence[MediaEvent]]) -> pl.DataFrame:
    told = [
        (number, *(getattr(event.data, name) for name in NAMES))
        for number, view in enumerate(views)
        for event in view
        if isinstance(event.data, PlaybackData)
    ]
    return pl.DataFrame(told, schema=["view", *NAMES], orient="row")


def _query(frame: pl.DataFrame) -> pl.DataFrame:
    """Totals over restarts: the greatest value of each piece, summed over a view's pieces."""
    before = [pl.col(name).shift(1).over("view") - NOISE.get(name, 0) for name in NAMES]
    fell = pl.any_horizontal(pl.col(name) < last for name, last in zip(NAMES, before, strict=True))
    return (
        frame.lazy()
        .with_columns(fell.fill_null(False).cast(pl.Int32).cum_sum().over("view").alias("piece"))
        .group_by("view", "piece")
        .agg(pl.col(name).max() for name in NAMES)
        .group_by("view")
        .agg(pl.col(name).sum() for name in NAMES)
        .sort("view")
        .select(NAMES)
        .collect()
    )


def _least_cpu_ms(work: Callable[[], object], rounds: int) -> float:
    work()  # warm: imports, caches, the allocator
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return max(min(spent), 1e-6) * 1000


@click.command()
@click.option(
    "--sessions", type=click.IntRange(1, 100_000), default=2000, show_default=True, help="Sessions simulated."
)
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True, help="The least of these counts.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=PROJECT_DIR / "build" / "reports" / "bench_media.json",
    show_default="build/reports/bench_media.json",
)
def media(sessions: int, rounds: int, out: Path) -> None:
    """Measure video events aggregated a second, and a data frame against it."""
    report = measure(sessions, rounds)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    for row in report.measures:
        click.echo(
            f"  {row.what:<40}{row.events_per_second:>9.0f} events/s, {row.us_per_session:.0f} us a session"
            f" = {row.ratio:.2f} x decoding"
        )
    for frame in report.data_frame:
        click.echo(
            f"  counters of {frame.views:>5} views: {frame.python_ms:.2f} ms, as a data frame {frame.polars_ms:.2f} ms"
            f" (its query alone {frame.polars_query_ms:.2f} ms); {frame.share:.0%} of aggregating"
        )
    click.echo(f"Report: {out}")
