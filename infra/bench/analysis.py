"""What analysing a session costs, as ratios against the physical work underneath, in one run on one machine.

Seconds differ between machines, ratios hardly: each measure is divided by gunzipping the same bytes with libdeflate
on one thread. CPU time, the least of several rounds. Writes build/reports/bench.json.

Belongs here: measuring. Does not belong here: a verdict; a slow machine is no failure, so nothing here fails a build.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import deflate
import msgspec
import numpy as np

from infra.stack.state import PROJECT_DIR
from pipelines.pose import profile, wire
from pipelines.pose.model import PoseSummary, Prescription
from pipelines.pose.summary import summarise
from pipelines.simulate.performance import Performance, perform
from pipelines.simulate.recording import Recording

EXERCISE = "deep_squat"
FRAMES_PER_BATCH = 30


class Measure(msgspec.Struct):
    """One row of the report: `ratio` = `cpu_ms` / `gunzip_cpu_ms`; `target_ratio` None where none is set."""

    what: str
    cpu_ms: float
    gunzip_cpu_ms: float
    ratio: float
    target_ratio: float | None


class Report(msgspec.Struct):
    """The machine, the input and the measures."""

    python: str
    cpu_count: int | None
    session_s: int
    frame_count: int
    batch_count: int
    compressed_bytes: int
    reps_simulated: int
    reps_counted: int | None
    measures: list[Measure]


def measure(session_s: int, rounds: int) -> Report:
    """Simulate one patient for `session_s` seconds, and measure decoding and analysing what she sent."""
    recording = perform(Performance(exercise=EXERCISE, reps=max(1, session_s // 4), tempo_s=4.0, seed=1))
    bodies = _batches(recording)
    batches = [wire.decode(body) for body in bodies]
    sizes = [int.from_bytes(body[-4:], "little") for body in bodies]  # gzip's own trailer (RFC 1952, ISIZE)
    profile_ = profile.load(EXERCISE)

    def analyse() -> PoseSummary:
        decoded = [wire.decode(body) for body in bodies]
        landmarks_m = np.concatenate([batch.landmarks for batch in decoded])
        timestamp_ms = np.concatenate([batch.timestamp_ms for batch in decoded])
        return summarise(landmarks_m, timestamp_ms, profile_, Prescription())

    gunzip_ms = _least_cpu_ms(lambda: _gunzip(bodies, sizes), rounds)
    rows = [
        ("decode every batch", lambda: _decode(bodies), None),
        ("spooled batches to session aggregates", analyse, 5.0),
    ]
    measures = []
    for what, work, target in rows:
        cpu_ms = _least_cpu_ms(work, rounds)
        measures.append(Measure(what, round(cpu_ms, 2), round(gunzip_ms, 2), round(cpu_ms / gunzip_ms, 2), target))
    return Report(
        python=platform.python_version(),
        cpu_count=os.cpu_count(),
        session_s=session_s,
        frame_count=sum(batch.frame_count for batch in batches),
        batch_count=len(bodies),
        compressed_bytes=sum(map(len, bodies)),
        reps_simulated=recording.true_reps or 0,
        reps_counted=analyse().rep_count,
        measures=measures,
    )


def _batches(recording: Recording) -> list[bytes]:
    starts = range(0, len(recording.timestamp_ms), FRAMES_PER_BATCH)
    return [
        wire.encode(
            recording.landmarks[start : start + FRAMES_PER_BATCH],
            recording.timestamp_ms[start : start + FRAMES_PER_BATCH],
            recording.fps,
        )
        for start in starts
    ]


def _gunzip(bodies: Sequence[bytes], sizes: Sequence[int]) -> None:
    for body, size in zip(bodies, sizes, strict=True):
        deflate.gzip_decompress(body, size)


def _decode(bodies: Sequence[bytes]) -> None:
    for body in bodies:
        wire.decode(body)


def _least_cpu_ms(work: Callable[[], object], rounds: int) -> float:
    work()  # warm: imports, caches, the allocator
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent) * 1000


@click.command()
@click.option("--session-s", type=click.IntRange(10, 7200), default=1200, show_default=True, help="Session length.")
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True, help="The least of these counts.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=PROJECT_DIR / "build" / "reports" / "bench.json",
    show_default="build/reports/bench.json",
)
def analysis(session_s: int, rounds: int, out: Path) -> None:
    """Measure what a session costs, against gunzipping the same bytes."""
    report = measure(session_s, rounds)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    click.echo(
        f"{report.frame_count} frames in {report.batch_count} batches, {report.compressed_bytes / 1e6:.1f} MB; "
        f"{report.reps_counted} of {report.reps_simulated} repetitions counted"
    )
    for row in report.measures:
        target = "" if row.target_ratio is None else f"   (target {row.target_ratio})"
        click.echo(f"  {row.what:<42}{row.cpu_ms:>9.1f} ms CPU = {row.ratio:.2f} x gunzip{target}")
    click.echo(f"Report: {out}")
