"""Commands of the Core API. Composition only."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import click
import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool

from core_api.logs import configure_logging
from core_api.subscriber.apply import apply_result
from core_api.subscriber.runner import CONSUMER, Runner
from core_api.subscriber.settings import SubscriberSettings
from pipelines.adapters.postgres.bus import PostgresConsumer
from pipelines.environment import SettingInvalid
from pipelines.ports.bus import RetryPolicy

log = structlog.get_logger(__name__)


@click.command()
def subscriber() -> None:
    """Run the bus subscriber until SIGTERM or SIGINT; what was claimed is finished first."""
    configure_logging()
    try:
        settings = SubscriberSettings.from_env(os.environ)
    except SettingInvalid as error:
        raise click.ClickException(str(error)) from None
    stop = threading.Event()

    def ask_to_stop(signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    if not run_subscriber(settings, stop):
        raise click.ClickException("a thread of the subscriber failed")


def run_subscriber(settings: SubscriberSettings, stop: threading.Event) -> bool:
    """Run ``settings.threads`` loops until ``stop`` is set; False where one failed, which stops the others too."""
    timeout_ms = int(settings.statement_timeout_s * 1000)
    options = {
        "application_name": "subscriber",
        "connect_timeout": 5,
        "options": f"-c statement_timeout={timeout_ms} -c lock_timeout={timeout_ms} -c timezone=UTC",
    }
    size = 2 * settings.threads
    pool: ConnectionPool[Connection[Any]] = ConnectionPool(
        settings.database_url, kwargs=options, min_size=1, max_size=size, timeout=5, open=False
    )
    pool.open(wait=False)
    policy = RetryPolicy(attempts_max=settings.attempts_max)
    runners = [
        Runner(
            PostgresConsumer(pool, settings.database_url, CONSUMER, policy),
            pool.connection,
            apply_result,
            claim_max=settings.claim_max,
            poll_s=settings.poll_s,
        )
        for _ in range(settings.threads)
    ]
    try:
        with ThreadPoolExecutor(settings.threads, "subscriber") as threads:
            outcomes = [threads.submit(_run_or_stop, runner, stop) for runner in runners]
        return all(outcome.result() for outcome in outcomes)
    finally:
        pool.close()


def _run_or_stop(runner: Runner[Connection[Any]], stop: threading.Event) -> bool:
    """A thread that died while the process lived would look like health: stop the process instead."""
    try:
        runner.run(stop)
    except Exception as error:
        log.error("subscriber_failed", exc_info=error)
        stop.set()
        return False
    return True
