"""What finalising a long session costs: from its spool to its aggregates, against gunzipping the same bytes.

A session of one exercise is landed as the ingest service lands it. A process of its own then reads the spool, sorts it
by consent, decodes, analyses and assembles the blob, as the finaliser does, until nothing new has to be imported or
cached, and is measured from there on: CPU seconds of all its threads, the least of several rounds, and its peak memory.
The limit beside it is libdeflate on one thread over the same gzip members. Sealing into an S3 service is apart: it is
mostly somebody else's time. Writes build/reports/bench_finaliser.json.

Belongs here: measuring. Does not belong here: a verdict; a slow machine is no failure, so nothing here fails a build.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import UUID

import click
import deflate
import msgspec
import xxhash

from infra.stack.s3 import S3UnavailableError
from infra.stack.state import PROJECT_DIR
from infra.stack.throwaway import fresh_bucket, s3_service
from pipelines.adapters.s3.blob_store import S3BlobStore
from pipelines.adapters.s3.settings import S3Settings
from pipelines.finalise.compute import Computed, compute, select
from pipelines.finalise.load import Windows
from pipelines.finalise.seal import seal
from pipelines.landing import reader
from pipelines.landing.disk import DiskOptions, open_log
from pipelines.ports.landing import RecordKind, SessionHeader
from pipelines.ports.session_store import SessionRow
from pipelines.pose import profile, wire
from pipelines.pose.model import Prescription
from pipelines.replay.consent import ConsentWindow
from pipelines.simulate.performance import Performance, perform

EXERCISE: Final = "deep_squat"
FPS: Final = 30
FRAMES_PER_BATCH: Final = 30
TEMPO_S: Final = 4.0
SPARE_S: Final = 60.0  # repetitions differ in length, so the patient goes on standing until there are frames enough
TARGET_RATIO: Final = 5.0
_SESSION: Final = UUID("10000000-0000-4000-8000-000000000001")
_START: Final = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)


class FinaliserReport(msgspec.Struct, frozen=True):
    """CPU seconds but for ``upload_seconds``, which is by the clock and None where no S3 service could be had."""

    finaliser_seconds: float
    gunzip_seconds: float
    ratio: float
    upload_seconds: float | None
    peak_rss_bytes: int


class _Measured(msgspec.Struct, frozen=True):
    finaliser_seconds: float
    gunzip_seconds: float
    peak_rss_bytes: int
    frame_count: int
    rep_count: int | None


def land(data_dir: Path, session_s: int) -> int:
    """Simulate one patient for ``session_s`` seconds and land what she sends; how many repetitions she did."""
    reps = max(1, int((session_s - TEMPO_S) / TEMPO_S))
    idle_s = session_s - reps * TEMPO_S + SPARE_S
    recording = perform(
        Performance(exercise=EXERCISE, reps=reps, tempo_s=TEMPO_S, idle_after_s=idle_s, idle_before_s=2.0, seed=1)
    )
    frames = session_s * FPS
    header = SessionHeader(
        session_id=_SESSION,
        organisation_id=1,
        principal_id=UUID("00000000-0000-4000-8000-000000000001"),
        log_id=1,
        exercise_id=1,
        started_at=_START,
        token_expires_at=_START + dt.timedelta(hours=4),
    )
    log, _ = open_log(data_dir, started_at=_START, salt=b"once", options=DiskOptions())
    try:
        for first in range(0, frames, FRAMES_PER_BATCH):
            past = min(first + FRAMES_PER_BATCH, frames)
            body = wire.encode(recording.landmarks[first:past], recording.timestamp_ms[first:past], recording.fps)
            payload = bytes(wire.decompress(body, 1 << 20))
            at = _START + dt.timedelta(milliseconds=int(recording.timestamp_ms[past - 1]) + 200)
            log.append(header, RecordKind.BATCH, at, xxhash.xxh3_128_digest(payload), body)
    finally:
        log.close()
    return reps


def session_row() -> SessionRow:
    """The session as its table has it while it is open."""
    return SessionRow(
        session_id=_SESSION,
        organisation_id=1,
        patient_id=1,
        exercise_id=1,
        patient_exercise_log_id=1,
        state="ended",
        started_at=_START,
        created_at=_START,
        last_received_at=None,
        ended_at=None,
        end_reason=None,
        movement_profile=msgspec.json.encode(profile.load(EXERCISE)).decode(),
        prescription=msgspec.json.encode(Prescription(sets=3, reps=10)).decode(),
        revision=0,
        consumed_offsets={},
        retention="default",
        blob_version_id=None,
        events_version_id=None,
        accepted_records=None,
        accepted_events=None,
        batches_dropped_for_consent=None,
        events_dropped_for_consent=None,
    )


def spool_to_aggregates(data_dir: Path, row: SessionRow) -> Computed:
    """What the finaliser does between the spool and the stores."""
    always = ConsentWindow(_START, None)
    return compute(row, select(reader.read_session(data_dir, row.session_id), Windows(always, always)))


def _measured(data_dir: Path, rounds: int) -> _Measured:
    """Runs in a process of its own, so that neither simulation nor upload is in its memory or on its clock."""
    row = session_row()
    computed = spool_to_aggregates(data_dir, row)
    finaliser_s = _least_cpu_s(lambda: spool_to_aggregates(data_dir, row), rounds)
    peak_rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    records = reader.read_session(data_dir, row.session_id).records
    bodies = [record.body for record in records if record.kind is RecordKind.BATCH]
    sizes = [int.from_bytes(body[-4:], "little") for body in bodies]  # gzip's own trailer (RFC 1952, ISIZE)

    def gunzip() -> None:
        for body, size in zip(bodies, sizes, strict=True):
            deflate.gzip_decompress(body, size)

    gunzip()
    gunzip_s = _least_cpu_s(gunzip, rounds)
    assert computed.pose is not None
    return _Measured(finaliser_s, gunzip_s, peak_rss_bytes, computed.pose.frame_count, computed.pose.rep_count)


def _least_cpu_s(work: Callable[[], object], rounds: int) -> float:
    spent: list[float] = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)


def _upload_s(data_dir: Path) -> float | None:
    """Seconds by the clock to seal the session into an S3 service on this machine, reading back included."""
    row = session_row()
    computed = spool_to_aggregates(data_dir, row)
    try:
        with s3_service(os.environ) as endpoint, fresh_bucket(endpoint) as bucket:
            settings = S3Settings(bucket=bucket.bucket, endpoint_url=bucket.endpoint_url, encryption="none")
            store = S3BlobStore(bucket.client(), settings)
            began = time.perf_counter()
            seal(store, row, computed)
            return time.perf_counter() - began
    except S3UnavailableError as error:
        click.echo(f"upload not measured: {error}", err=True)
        return None


@click.command()
@click.option("--session-s", type=click.IntRange(10, 7200), default=1200, show_default=True, help="Session length.")
@click.option("--rounds", type=click.IntRange(1, 100), default=7, show_default=True, help="The least of these counts.")
@click.option("--upload/--no-upload", default=True, show_default=True, help="Seal it into a local S3 service as well.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=PROJECT_DIR / "build" / "reports" / "bench_finaliser.json",
    show_default="build/reports/bench_finaliser.json",
)
def finaliser(session_s: int, rounds: int, upload: bool, out: Path) -> None:
    """Measure a session from spool to aggregates, against gunzipping the same bytes."""
    with tempfile.TemporaryDirectory(prefix="restartix-bench-") as directory:
        data_dir = Path(directory)
        reps = land(data_dir, session_s)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            measured = pool.apply(_measured, (data_dir, rounds))
        upload_s = _upload_s(data_dir) if upload else None
    report = FinaliserReport(
        finaliser_seconds=round(measured.finaliser_seconds, 5),
        gunzip_seconds=round(measured.gunzip_seconds, 5),
        ratio=round(measured.finaliser_seconds / measured.gunzip_seconds, 3),
        upload_seconds=None if upload_s is None else round(upload_s, 3),
        peak_rss_bytes=measured.peak_rss_bytes,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    click.echo(f"{measured.frame_count} frames; {measured.rep_count} of {reps} repetitions counted")
    click.echo(
        f"  spool to aggregates {measured.finaliser_seconds * 1000:.1f} ms CPU = {report.ratio:.2f} x gunzip "
        f"({measured.gunzip_seconds * 1000:.1f} ms)   target {TARGET_RATIO:g}; "
        f"peak memory {measured.peak_rss_bytes / 1e6:.0f} MB"
        + ("" if upload_s is None else f"; upload and reading back {upload_s * 1000:.0f} ms")
    )
    click.echo(f"Report: {out}")
