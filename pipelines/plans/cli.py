"""The command of ``plans``: where expiry meets Postgres. ``RESTARTIX_DATABASE_URL`` is the sweeper's login."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click
import msgspec
import psycopg

from pipelines.adapters.postgres.plan_store import PostgresPlanStore
from pipelines.environment import SettingInvalid, required
from pipelines.plans.expire import ExpiryReport, expire_plans


def run_expiry(environ: Mapping[str, str]) -> ExpiryReport:
    """One run. Raises ``SettingInvalid``, ``psycopg.Error``."""
    url = required(environ, "RESTARTIX_DATABASE_URL")
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        return expire_plans(PostgresPlanStore(connection))


@click.command("expire-plans")
def expire() -> None:
    """Expire treatment plans whose last day is over where their patient lives; report as JSON."""
    try:
        report = run_expiry(os.environ)
    except SettingInvalid as error:
        raise click.ClickException(str(error)) from error
    click.echo(msgspec.json.encode(report).decode())
    if not report.is_complete:
        raise click.ClickException("more plans are over than one run expires; run it again")
