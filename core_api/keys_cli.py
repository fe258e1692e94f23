"""Command ``keys``: where key rotation meets the database and the master keys."""

from __future__ import annotations

import os
import secrets
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

import click
import psycopg
from psycopg.rows import dict_row

from core_api import resealing
from core_api.audit import Author
from core_api.database import Tx, enter_tenant, every
from core_api.encryption import ColumnCipher, SealBroken
from core_api.key_rotation import rotate
from core_api.master_key import key_wrapper
from core_api.resealing import SETTLED, SETTLED_MIN
from pipelines.environment import SettingInvalid, required
from pipelines.ports.key_wrapper import KeyRefused, KeyWrapper, KeyWrapperUnavailable

_TEMPORARY = 75  # sysexits.h: EX_TEMPFAIL


def _opened(what: str) -> tuple[Author, KeyWrapper, Tx]:
    """Who is recorded, what unwraps, and a connection. Raises ``click.ClickException``."""
    try:
        wrapper = key_wrapper(os.environ)
        connection = psycopg.connect(required(os.environ, "RESTARTIX_DATABASE_URL"), row_factory=dict_row)
    except (SettingInvalid, KeyWrapperUnavailable) as error:
        raise click.ClickException(str(error)) from None
    except psycopg.OperationalError as error:
        raise click.ClickException(f"the database cannot be reached: {error}") from None
    return Author(None, "operator", f"{what}-{uuid.uuid4().hex[:12]}"), wrapper, connection


@contextmanager
def _tenant(connection: Tx, organisation_id: int) -> Iterator[Tx]:
    """One transaction of the organisation."""
    with connection.transaction():
        enter_tenant(connection, organisation_id)
        yield connection


@click.group()
def keys() -> None:
    """The keys of column encryption. RESTARTIX_DATABASE_URL is a login of restartix_core_api."""


@keys.command("replace")
@click.option("--org", "organisation_id", type=int, required=True)
@click.option("--continue", "goes_on", is_flag=True, help="Make no key: reseal and destroy what an earlier run left.")
@click.option(
    "--settled-s",
    default=SETTLED.total_seconds(),
    show_default=True,
    help=f"Longer than any request takes; {SETTLED_MIN.total_seconds():.0f} at least.",
)
@click.option("--test-without-requests", "any_settled", is_flag=True, hidden=True)  # a test cannot wait that long
def replace_key(organisation_id: int, goes_on: bool, settled_s: float, any_settled: bool) -> None:
    """Give an organisation a new data key, reseal everything by it, and destroy the old ones: after a leak.

    Each run without --continue makes a key, also while one before is not destroyed yet. Nothing has to be stopped.
    Exit code 75: all is resealed, and an old key waits until it has been retired for so long that no request can
    still be sealing by it. Then, or where a run was broken off, go on with --continue.
    """
    if not (any_settled or settled_s >= SETTLED_MIN.total_seconds()):
        raise click.BadParameter(
            f"at least {SETTLED_MIN.total_seconds():.0f}: a request under way may still be sealing by the old key",
            param_hint="--settled-s",
        )
    author, wrapper, connection = _opened("keys-replace")
    cipher = ColumnCipher(wrapper, secrets.token_bytes)

    def tenant() -> AbstractContextManager[Tx]:
        return _tenant(connection, organisation_id)

    try:
        with connection:
            connection.autocommit = True
            with tenant() as tx:
                if goes_on:
                    version = resealing.present_version(tx)
                else:
                    version = resealing.replace_key(tx, wrapper, secrets.token_bytes, organisation_id, author)
            if version is None:
                raise click.ClickException(f"organisation {organisation_id} has no data key")
            which = f"data key {version} as before, none made" if goes_on else f"data key {version} made"
            click.echo(f"organisation {organisation_id}: {which}")
            _reseal(tenant, cipher, organisation_id)
            with tenant() as tx:
                destroyed, left = resealing.destroy(tx, organisation_id, author, timedelta(seconds=settled_s))
    except (KeyRefused, KeyWrapperUnavailable, SealBroken) as error:
        raise click.ClickException(str(error)) from None
    except psycopg.errors.DeadlockDetected:
        raise click.ClickException(f"deadlocked {resealing.ATTEMPTS_MAX} times; go on with --continue") from None
    click.echo(f"organisation {organisation_id}: old data keys: {destroyed} destroyed, {left} waiting")
    if left:
        click.echo(f"later: restartix keys replace --org {organisation_id} --continue", err=True)
        sys.exit(_TEMPORARY)


def _reseal(tenant: Callable[[], AbstractContextManager[Tx]], cipher: ColumnCipher, organisation_id: int) -> None:
    """Reseal every column, batch by batch, each a transaction. Raises ``SealBroken``, ``DeadlockDetected``."""
    for column in resealing.COLUMNS:
        with tenant() as tx:
            total = resealing.remaining(tx, column)
        with click.progressbar(length=total, label=column.place, file=sys.stderr) as bar:
            done = 1
            while done:
                done = resealing.reseal_batch(tenant, cipher, organisation_id, column)
                bar.update(done)


@keys.command("rotate")
def rotate_keys() -> None:
    """Wrap every organisation's data key by the current master key.

    With a key file: put the new key on its first line, keep the old one below, run this, then restart nothing; the old
    line may go once no back-up needs it. With AWS KMS: set RESTARTIX_KMS_KEY_ID to the new key (KMS's own yearly
    rotation needs no command).
    """
    (author, wrapper, connection), failed = _opened("keys-rotate"), 0
    with connection:
        connection.autocommit = True
        organisations = [int(row["organisation_id"]) for row in every(connection, "audited_organisations", {})]
        for organisation_id in organisations:
            try:
                with _tenant(connection, organisation_id) as tx:
                    done = rotate(tx, wrapper, organisation_id, author)
            except (KeyRefused, KeyWrapperUnavailable, ValueError) as error:
                failed += 1
                click.echo(f"organisation {organisation_id}: {error}", err=True)
                continue
            if done is None:
                click.echo(f"organisation {organisation_id}: has no data key")
                continue
            which = f"{done.after} already" if done.before == done.after else f"{done.before} -> {done.after}"
            also = f"; {done.retired} retired data key(s) wrapped anew" if done.retired else ""
            click.echo(f"organisation {organisation_id}: {which}{also}")
    if failed:
        raise click.ClickException(f"{failed} data key(s) were not wrapped anew; they are as they were")
