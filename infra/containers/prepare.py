"""Makes empty stores ready, once and again: schema, logins, Dagster's database, keys, bucket. Safe to repeat.

For the composition. Where Terraform and a database's operators prepare the stores, only ``dbmate`` remains to be run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click
import psycopg
from psycopg import sql

from infra.stack.keys import SigningKeys, column_key_file
from infra.stack.logins import ROLE_OF_LOGIN
from infra.stack.migrate import MigrationError, migrate
from infra.stack.s3 import prepare_bucket
from pipelines.adapters.s3.client import connect
from pipelines.adapters.s3.lifecycle import apply_lifecycle
from pipelines.adapters.s3.settings import S3Settings
from pipelines.environment import SettingInvalid, origins, required
from pipelines.retention.lifecycle import MINIMUM_OBJECT_SIZE, render, without_transitions
from pipelines.retention.policy import load

# The owner's role is the migrations' alone: nobody logs in as it.
LOGINS = tuple(login for login in ROLE_OF_LOGIN if login != "owner")
DAGSTER = "dagster"


def prepare(environ: Mapping[str, str]) -> list[str]:
    """What was done, a line each. Raises ``SettingInvalid``, ``MigrationError``, psycopg's and boto3's errors."""
    admin_url = required(environ, "RESTARTIX_ADMIN_DATABASE_URL")
    passwords = {name: required(environ, f"RESTARTIX_PASSWORD_{name.upper()}") for name in (*LOGINS, DAGSTER)}
    keys = Path(required(environ, "RESTARTIX_KEYS_DIR"))
    said = [f"applied {name}" for name in migrate(admin_url)]
    with psycopg.connect(admin_url, autocommit=True) as connection:
        for login, password in passwords.items():
            _ensure_login(connection, login, password)
        _ensure_database(connection, DAGSTER)
    said.append(f"logins: {', '.join(passwords)}")
    said.append(f"session key: {SigningKeys.load_or_create(keys, 'session').key_id}")
    column_key_file(keys / "columns.key")
    s3 = S3Settings.from_env(environ)
    client = connect(s3)
    prepare_bucket(client, s3.bucket, origins=origins(environ, "RESTARTIX_PORTAL_ORIGINS"))
    outcome = apply_lifecycle(client, s3.bucket, render(load()), MINIMUM_OBJECT_SIZE, without_transitions)
    said.append(f"bucket {s3.bucket}: {', '.join(outcome.rules)}")
    return said + [f"not supported by this store: {line}" for line in outcome.left_out]


def _ensure_login(connection: psycopg.Connection[tuple[object, ...]], login: str, password: str) -> None:
    found = connection.execute("select 1 from pg_roles where rolname = %s", [login]).fetchone()
    verb = sql.SQL("alter role {} login password {}" if found else "create role {} login password {}")
    connection.execute(verb.format(sql.Identifier(login), sql.Literal(password)))
    if login in ROLE_OF_LOGIN:
        member = sql.SQL("grant {} to {}").format(sql.Identifier(ROLE_OF_LOGIN[login]), sql.Identifier(login))
        connection.execute(member)


def _ensure_database(connection: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    """A database that the login of its name owns."""
    if connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone() is None:
        connection.execute(sql.SQL("create database {0} owner {0}").format(sql.Identifier(name)))


@click.command()
def main() -> None:
    """Make the stores ready that the environment names."""
    try:
        for line in prepare(os.environ):
            click.echo(line)
    except (SettingInvalid, MigrationError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
