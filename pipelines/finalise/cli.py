"""Commands ``finaliser`` (a daemon beside each ingest node) and ``sweep`` (one pass): where they are put together."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from uuid import UUID

import click
import msgspec
import psycopg
import structlog
from psycopg_pool import ConnectionPool

from pipelines.adapters.postgres.bus import Connection, PostgresPublisher
from pipelines.adapters.postgres.erasure_store import PostgresNodeErasures
from pipelines.adapters.postgres.safety_copy_store import PostgresSafetyCopyStore
from pipelines.adapters.postgres.session_store import PostgresSessionStore
from pipelines.adapters.postgres.sweep_store import PostgresSweepStore
from pipelines.adapters.s3.blob_store import S3BlobStore
from pipelines.adapters.s3.client import connect
from pipelines.adapters.s3.settings import S3Settings, S3SettingsError
from pipelines.environment import SettingInvalid
from pipelines.erasure.node import confirm_forever
from pipelines.finalise.copier import Copier
from pipelines.finalise.copy_loop import CopyLoop
from pipelines.finalise.disk import FinaliserRunsError, NodeDisk, sole_finaliser
from pipelines.finalise.finaliser import Finaliser
from pipelines.finalise.meter import CopyMeter
from pipelines.finalise.run import Runner
from pipelines.finalise.safety_copy import CopyRules, SafetyCopies
from pipelines.finalise.settings import FinaliserSettings, SweepSettings
from pipelines.finalise.sweep import Silence, SweepReport
from pipelines.finalise.sweep import sweep as sweep_once


def open_pool(settings: FinaliserSettings, stack: ExitStack) -> ConnectionPool[Connection]:
    """Connections enough for every thread, closed with ``stack``."""
    return stack.enter_context(
        ConnectionPool(
            settings.database_url, min_size=1, max_size=settings.thread_count + 4, timeout=10, open=True, name="store"
        )
    )


def run_finaliser(environ: Mapping[str, str], stop: threading.Event) -> None:
    """Serve until ``stop``. Raises ``SettingInvalid``, ``S3SettingsError``, ``FinaliserRunsError``."""
    settings, s3 = FinaliserSettings.from_env(environ), S3Settings.from_env(environ)
    log = _logger("finaliser").bind(node_id=settings.node_id)
    with ExitStack() as stack:
        stack.enter_context(sole_finaliser(settings.data_dir))
        pool = open_pool(settings, stack)
        store = PostgresSessionStore(pool, PostgresPublisher())
        blobs = S3BlobStore(connect(s3), s3)
        disk = NodeDisk(settings.data_dir)
        rules = CopyRules(dt.timedelta(seconds=settings.safety_copy.age_s), settings.safety_copy.part_bytes)
        copies = SafetyCopies(PostgresSafetyCopyStore(pool), blobs, rules, CopyMeter())
        stack.enter_context(_copying(settings, store, copies, stop, log))
        stack.enter_context(_confirming(settings, pool, stop, log))
        log.info("finaliser started", data_dir=str(settings.data_dir), bucket=s3.bucket, threads=settings.thread_count)
        Runner(
            settings=settings,
            disk=disk,
            store=store,
            finaliser=Finaliser(disk, store, blobs, copies, _now),
            meter=copies.meter,
            now=_now,
            monotonic_s=time.monotonic,
            log=log,
        ).run(stop)
        log.info("finaliser stopped")


@contextlib.contextmanager
def _copying(
    settings: FinaliserSettings,
    store: PostgresSessionStore,
    copies: SafetyCopies,
    stop: threading.Event,
    log: structlog.stdlib.BoundLogger,
) -> Iterator[None]:
    """Keep the safety copies going beside what is inside, in a thread of their own that ends with ``stop``."""
    disk = NodeDisk(settings.data_dir)
    loop = CopyLoop(
        node_id=settings.node_id,
        data_dir=settings.data_dir,
        lost_s=settings.node_lost_s,
        disk=disk,
        sessions=store,
        copier=Copier(node_id=settings.node_id, landing=disk, sessions=store, copies=copies, now=_now),
        copies=copies,
        monotonic_s=time.monotonic,
        log=log,
    )
    thread = threading.Thread(target=loop.run, args=(stop, settings.safety_copy.interval_s), name="safety-copies")
    if settings.safety_copy.is_on:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if thread.ident is not None:
            thread.join()


@contextlib.contextmanager
def _confirming(
    settings: FinaliserSettings,
    pool: ConnectionPool[Connection],
    stop: threading.Event,
    log: structlog.stdlib.BoundLogger,
) -> Iterator[None]:
    """Say of erased sessions that they are off this disk, in a thread of its own that ends with ``stop``."""
    thread = threading.Thread(
        target=confirm_forever,
        args=(settings.data_dir, settings.node_id, PostgresNodeErasures(pool.connection)),
        kwargs={"interval_s": settings.cleanup_s, "stop": stop, "log": log},
        name="erasures",
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def run_sweep(environ: Mapping[str, str]) -> SweepReport:
    """One pass. Raises ``SettingInvalid``."""
    settings = SweepSettings.from_env(environ)
    rules = Silence(
        silence=dt.timedelta(seconds=settings.silence_s + settings.touch_interval_s),
        node_lost=dt.timedelta(seconds=settings.node_lost_s),
        sessions_max=settings.sessions_max,
    )
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        return sweep_once(PostgresSweepStore(connection), rules)


@click.command()
@click.option("--retry", "retried", type=click.UUID, multiple=True, help="Give a failed session another chance; exit.")
def finaliser(retried: tuple[UUID, ...]) -> None:
    """Turn ended sessions into sealed blobs and numbers, beside an ingest node, until stopped."""
    try:
        if retried:
            _retry(FinaliserSettings.from_env(os.environ), retried)
            return
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        run_finaliser(os.environ, stop)
    except (SettingInvalid, S3SettingsError, FinaliserRunsError) as error:
        raise click.ClickException(str(error)) from error


@click.command()
def sweep() -> None:
    """Close sessions that fell silent, and those of nodes that are given up: one pass, reported as JSON."""
    try:
        report = run_sweep(os.environ)
    except SettingInvalid as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(msgspec.to_builtins(report)))


def _retry(settings: FinaliserSettings, session_ids: tuple[UUID, ...]) -> None:
    with ExitStack() as stack:
        store = PostgresSessionStore(open_pool(settings, stack), PostgresPublisher())
        known = {session.session_id: session for session in store.states(settings.node_id, session_ids)}
        for session_id in session_ids:
            if session_id not in known:
                raise click.ClickException(f"{session_id} is not a session of node {settings.node_id}")
            if not store.retry(known[session_id].organisation_id, session_id):
                raise click.ClickException(f"{session_id} is {known[session_id].state}, not failed")
            click.echo(f"{session_id} will be tried again")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _logger(process: str) -> structlog.stdlib.BoundLogger:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )
    logger: structlog.stdlib.BoundLogger = structlog.get_logger().bind(process=process)
    return logger
