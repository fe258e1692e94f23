"""Commands of ``retention``: where the policy meets the stores. ``RESTARTIX_DATABASE_URL`` is the sweeper's login."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
import msgspec
import psycopg

from pipelines.adapters.postgres.retention_store import PostgresRetentionStore
from pipelines.adapters.s3.client import connect
from pipelines.adapters.s3.inventory import BucketInventory
from pipelines.adapters.s3.lifecycle import LifecycleOutcome, apply_lifecycle
from pipelines.adapters.s3.settings import S3Settings, S3SettingsError
from pipelines.retention.apply import AgeReport, RetentionReport, ages
from pipelines.retention.apply import rehearse as rehearse_once
from pipelines.retention.apply import run as run_once
from pipelines.retention.document import markdown
from pipelines.retention.drift import drift
from pipelines.retention.lifecycle import MINIMUM_OBJECT_SIZE, render, without_transitions
from pipelines.retention.objects import ObjectsReport, audit
from pipelines.retention.policy import load
from pipelines.retention.terraform import terraform

T = TypeVar("T")


class DatabaseUrlMissing(ValueError):  # noqa: N818 - reads as what it is
    """RESTARTIX_DATABASE_URL is not set."""


def run_retention(environ: Mapping[str, str]) -> RetentionReport:
    """One night on Postgres. Raises ``DatabaseUrlMissing``; a failed rule is in the report."""
    with _database(environ) as connection:
        return run_once(PostgresRetentionStore(connection), load())


def rehearse_retention(environ: Mapping[str, str]) -> RetentionReport:
    """What one night would do. Raises ``DatabaseUrlMissing``."""
    with _database(environ) as connection:
        return rehearse_once(PostgresRetentionStore(connection), load())


def lifecycle_drift(environ: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """What the bucket's lifecycle document says otherwise than the policy's, a line each, and what of the policy this
    store cannot do. The whole document missing is one line. Raises ``S3SettingsError``, boto3's errors.
    """
    settings = S3Settings.from_env(environ)
    found = BucketInventory(connect(settings), settings.bucket).lifecycle()
    asked = render(load())
    if not found["Rules"]:
        return ["the bucket has no lifecycle document"], []
    size = found["TransitionDefaultMinimumObjectSize"]
    lines = [] if size in (None, MINIMUM_OBJECT_SIZE) else [f"objects change class from {size}"]
    reduced, left_out = without_transitions(asked)
    if not any("Transitions" in rule for rule in found["Rules"]) and not drift(reduced, found):
        # A store without storage classes takes no transition; `audit_objects` then expects none either.
        return lines, left_out if settings.endpoint_url is not None else drift(asked, found)
    return lines + drift(asked, found), []


def audit_objects(environ: Mapping[str, str], now: dt.datetime) -> ObjectsReport:
    """The bucket's objects against policy and sessions. Raises ``DatabaseUrlMissing``, ``S3SettingsError``."""
    settings = S3Settings.from_env(environ)
    inventory = BucketInventory(connect(settings), settings.bucket)
    has_classes = any("Transitions" in rule for rule in inventory.lifecycle()["Rules"])
    with _database(environ) as connection:
        return audit(inventory, PostgresRetentionStore(connection), load(), now, has_classes=has_classes)


def apply_to_bucket(environ: Mapping[str, str]) -> LifecycleOutcome:
    """Put the lifecycle document on the bucket. Raises ``S3SettingsError``, boto3's errors."""
    settings = S3Settings.from_env(environ)
    document = render(load())
    return apply_lifecycle(connect(settings), settings.bucket, document, MINIMUM_OBJECT_SIZE, without_transitions)


def report_ages(environ: Mapping[str, str], now: dt.datetime) -> list[AgeReport]:
    """The oldest row of each kind against the policy. Raises ``DatabaseUrlMissing``."""
    with _database(environ) as connection:
        return ages(PostgresRetentionStore(connection), load(), now)


@click.group()
def retention() -> None:
    """Keep each kind of data for as long as the policy says, and no longer."""


@retention.command()
@click.option("--dry-run", is_flag=True, help="Say what would go; nothing goes.")
def run(dry_run: bool) -> None:
    """Make partitions ahead, drop expired ones and delete expired rows; report as JSON. Fails if a rule failed."""
    report = _or_exit(lambda: (rehearse_retention if dry_run else run_retention)(os.environ))
    click.echo(_pretty(report))
    if report.failures:
        raise click.ClickException("; ".join(report.failures))


@retention.command()
def apply() -> None:
    """Put the lifecycle rules on the bucket, and say what the store could not take."""
    outcome = _or_exit(lambda: apply_to_bucket(os.environ))
    click.echo(f"Rules: {', '.join(outcome.rules)}")
    for line in outcome.left_out:
        click.echo(f"Not supported by this store: {line}")


@retention.command()
def audit_bucket() -> None:
    """Compare the bucket's objects and lifecycle document with the policy and the sessions; report as JSON. Fails where
    they differ.
    """
    lines, left_out = _or_exit(lambda: lifecycle_drift(os.environ))
    found = _or_exit(lambda: audit_objects(os.environ, dt.datetime.now(dt.UTC)))
    click.echo(_pretty({"lifecycle": lines, "not_supported_by_this_store": left_out, "objects": found}))
    if lines or found.disagreements:
        raise click.ClickException("; ".join([*lines, *found.disagreements]))


@retention.command()
@click.option("--policy", "only_policy", is_flag=True, help="Show the policy alone; no store is asked.")
@click.option("--lifecycle", "only_lifecycle", is_flag=True, help="Show the S3 lifecycle document as JSON.")
@click.option("--terraform", "only_terraform", is_flag=True, help="Show the document as infra/terraform has it.")
def report(only_policy: bool, only_lifecycle: bool, only_terraform: bool) -> None:
    """Show the policy, and how old the oldest row of each kind is, as JSON."""
    if only_policy:
        click.echo(markdown(load()), nl=False)
    elif only_terraform:
        click.echo(terraform(render(load())), nl=False)
    elif only_lifecycle:
        click.echo(_pretty(render(load())))
    else:
        found = _or_exit(lambda: report_ages(os.environ, dt.datetime.now(dt.UTC)))
        click.echo(_pretty(found))


def _database(environ: Mapping[str, str]) -> psycopg.Connection[Any]:
    url = environ.get("RESTARTIX_DATABASE_URL", "").strip()
    if not url:
        raise DatabaseUrlMissing("RESTARTIX_DATABASE_URL must be set")
    return psycopg.connect(url, autocommit=True, connect_timeout=10)


def _or_exit(work: Callable[[], T]) -> T:
    try:
        return work()
    except (DatabaseUrlMissing, S3SettingsError) as error:
        raise click.ClickException(str(error)) from error


def _pretty(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
