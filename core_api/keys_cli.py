"""Command ``keys``: where key rotation meets the database and the master keys."""

from __future__ import annotations

import os
import uuid

import click
import psycopg
from psycopg.rows import dict_row

from core_api.audit import Author
from core_api.database import enter_tenant, every
from core_api.key_rotation import rotate
from core_api.master_key import key_wrapper
from pipelines.environment import SettingInvalid, required
from pipelines.ports.key_wrapper import KeyRefused, KeyWrapperUnavailable


@click.group()
def keys() -> None:
    """The keys of column encryption. RESTARTIX_DATABASE_URL is a login of restartix_core_api."""


@keys.command("rotate")
def rotate_keys() -> None:
    """Wrap every organisation's data key by the current master key.

    With a key file: put the new key on its first line, keep the old one below, run this, then restart nothing; the old
    line may go once no back-up needs it. With AWS KMS: set RESTARTIX_KMS_KEY_ID to the new key (KMS's own yearly
    rotation needs no command).
    """
    author, failed = Author(None, "operator", f"keys-rotate-{uuid.uuid4().hex[:12]}"), 0
    try:
        wrapper = key_wrapper(os.environ)
        connection = psycopg.connect(required(os.environ, "RESTARTIX_DATABASE_URL"), row_factory=dict_row)
    except (SettingInvalid, KeyWrapperUnavailable) as error:
        raise click.ClickException(str(error)) from None
    except psycopg.OperationalError as error:
        raise click.ClickException(f"the database cannot be reached: {error}") from None
    with connection:
        connection.autocommit = True
        organisations = [int(row["organisation_id"]) for row in every(connection, "audited_organisations", {})]
        for organisation_id in organisations:
            try:
                with connection.transaction():
                    enter_tenant(connection, organisation_id)
                    done = rotate(connection, wrapper, organisation_id, author)
            except (KeyRefused, KeyWrapperUnavailable, ValueError) as error:
                failed += 1
                click.echo(f"organisation {organisation_id}: {error}", err=True)
                continue
            if done is None:
                click.echo(f"organisation {organisation_id}: has no data key")
            elif done.before == done.after:
                click.echo(f"organisation {organisation_id}: {done.after} already")
            else:
                click.echo(f"organisation {organisation_id}: {done.before} -> {done.after}")
    if failed:
        raise click.ClickException(f"{failed} data key(s) were not wrapped anew; they are as they were")
