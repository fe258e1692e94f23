"""Commands of the Core API. Composition only."""

from __future__ import annotations

import datetime as dt
import os
import signal
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import click
import msgspec
import psycopg
import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool

from core_api.logs import configure_logging
from core_api.subscriber import dead_letters as letters
from core_api.subscriber.apply import apply_result
from core_api.subscriber.backlog import BacklogWatch
from core_api.subscriber.meter import SubscriberMeter
from core_api.subscriber.runner import CONSUMER, Runner
from core_api.subscriber.settings import SubscriberSettings
from pipelines.adapters.nats.bus import NatsConsumer
from pipelines.adapters.nats.link import NatsLink
from pipelines.adapters.nats.relay import POLICY as RELAY_POLICY
from pipelines.adapters.nats.relay import Relay
from pipelines.adapters.nats.settings import NatsSettings
from pipelines.adapters.postgres.bus import PostgresConsumer
from pipelines.environment import SettingInvalid
from pipelines.ports.bus import Consumer, RetryPolicy

log = structlog.get_logger(__name__)


@click.command()
def subscriber() -> None:
    """Run the bus subscriber until SIGTERM or SIGINT; what was claimed is finished first."""
    settings, stop = _serving()
    try:
        finished = run_subscriber(settings, stop)
    except OSError as error:
        raise click.ClickException(f"metrics cannot be served at RESTARTIX_SUBSCRIBER_METRICS_BIND: {error}") from None
    if not finished:
        raise click.ClickException("a thread of the subscriber failed")


@click.command()
def relay() -> None:
    """Hand what is due on the bus to NATS until SIGTERM or SIGINT; needed once where RESTARTIX_BUS_URL is set.

    Works as the subscriber does: RESTARTIX_DATABASE_URL names a login in restartix_subscriber. It reads ids only.
    """
    settings, stop = _serving()
    if settings.nats is None:
        raise click.ClickException("RESTARTIX_BUS_URL must be set: without it the subscriber needs no relay")
    run_relay(settings, settings.nats, stop)


def _serving() -> tuple[SubscriberSettings, threading.Event]:
    """The settings, and what SIGTERM and SIGINT set."""
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
    return settings, stop


@click.group("dead-letters")
def dead_letters() -> None:
    """Results that could not be applied and were given up: see them, and try them again.

    Works as the subscriber does: RESTARTIX_DATABASE_URL names a login in restartix_subscriber.
    """


@dead_letters.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of a table.")
def list_letters(as_json: bool) -> None:
    """Show what was given up, the oldest first, and the kind of error each time."""
    with _subscriber_connection() as connection:
        found = letters.dead_letters(connection, CONSUMER)
    for letter in found:
        if as_json:
            click.echo(msgspec.json.encode(letter))
        else:
            given_up = f"{letter.given_up_at:%Y-%m-%d %H:%M:%S}Z after {letter.attempts} attempts"
            click.echo(f"{letter.event_id}  {letter.topic} {letter.key}  organisation {letter.organisation_id}")
            click.echo(f"    {given_up}: {letter.last_error or 'no error was kept'}")
    if not found and not as_json:
        click.echo("No dead letters.")


@dead_letters.command("replay")
@click.argument("event_ids", type=int, nargs=-1)
@click.option("--all", "all_of_them", is_flag=True, help="Every dead letter there is.")
def replay_letters(event_ids: tuple[int, ...], all_of_them: bool) -> None:
    """Try EVENT_IDS again (or --all). What was applied meanwhile is not applied twice."""
    if bool(event_ids) == all_of_them:
        raise click.UsageError("name the events by id (see `dead-letters list`), or give --all")
    with _subscriber_connection() as connection:
        wanted = event_ids or tuple(each.event_id for each in letters.dead_letters(connection, CONSUMER))
        revived = letters.replay(connection, CONSUMER, wanted)
    for event_id in revived:
        click.echo(f"{event_id} is due again")
    unknown = sorted(set(wanted) - set(revived))
    if unknown:
        raise click.ClickException(f"not dead letters: {', '.join(map(str, unknown))}")
    if not revived:
        click.echo("No dead letters.")


def _subscriber_connection() -> Connection[Any]:
    """A transaction that commits on leaving. Times are read in UTC."""
    try:
        settings = SubscriberSettings.from_env(os.environ)
        return psycopg.connect(settings.database_url, connect_timeout=5, options="-c timezone=UTC")
    except SettingInvalid as error:
        raise click.ClickException(str(error)) from None
    except psycopg.OperationalError as error:
        raise click.ClickException(f"the database cannot be reached: {error}") from None


def run_subscriber(settings: SubscriberSettings, stop: threading.Event) -> bool:
    """Run ``settings.threads`` loops until ``stop`` is set; False where one failed, which stops the others too.

    Raises ``OSError`` where metrics are asked for at an address that is not to be had.
    """
    meter = SubscriberMeter(lambda: dt.datetime.now(dt.UTC))
    if settings.metrics_bind is not None:
        meter.serve(*settings.metrics_bind)
    # One connection each to claim and to apply, and one for the look at what waits.
    pool = _pool(settings, "subscriber", 2 * settings.threads + 1)
    policy = RetryPolicy(attempts_max=settings.attempts_max)
    link = None if settings.nats is None else NatsLink(settings.nats, "subscriber")
    runners = [
        Runner(
            _consumer(pool, settings.database_url, policy, link),
            pool.connection,
            apply_result,
            claim_max=settings.claim_max,
            poll_s=settings.poll_s,
            meter=meter,
        )
        for _ in range(settings.threads)
    ]
    try:
        watch = BacklogWatch(pool.connection, CONSUMER, meter)
        threading.Thread(target=watch.run, args=(stop,), name="backlog", daemon=True).start()
        with ThreadPoolExecutor(settings.threads, "subscriber") as threads:
            outcomes = [threads.submit(_run_or_stop, runner, stop) for runner in runners]
        return all(outcome.result() for outcome in outcomes)
    finally:
        if link is not None:
            link.close()
        pool.close()


def run_relay(settings: SubscriberSettings, nats: NatsSettings, stop: threading.Event) -> None:
    """Until ``stop`` is set."""
    pool, link = _pool(settings, "relay", 2), NatsLink(nats, "relay")
    source = PostgresConsumer(pool, settings.database_url, CONSUMER, RELAY_POLICY)
    try:
        Relay(source, link, CONSUMER, uuid.uuid4, settings.poll_s).run(stop)
    finally:
        link.close()
        pool.close()


def _pool(settings: SubscriberSettings, name: str, size: int) -> ConnectionPool[Connection[Any]]:
    timeout_ms = int(settings.statement_timeout_s * 1000)
    options = {
        "application_name": name,
        "connect_timeout": 5,
        "options": f"-c statement_timeout={timeout_ms} -c lock_timeout={timeout_ms} -c timezone=UTC",
    }
    pool: ConnectionPool[Connection[Any]] = ConnectionPool(
        settings.database_url, kwargs=options, min_size=1, max_size=size, timeout=5, open=False
    )
    pool.open(wait=False)
    return pool


def _consumer(
    pool: ConnectionPool[Connection[Any]], database_url: str, policy: RetryPolicy, link: NatsLink | None
) -> Consumer[Connection[Any]]:
    if link is None:
        return PostgresConsumer(pool, database_url, CONSUMER, policy)
    return NatsConsumer(link, pool, database_url, CONSUMER, policy)


def _run_or_stop(runner: Runner[Connection[Any]], stop: threading.Event) -> bool:
    """A thread that died while the process lived would look like health: stop the process instead."""
    try:
        runner.run(stop)
    except Exception as error:
        log.error("subscriber_failed", exc_info=error)
        stop.set()
        return False
    return True
