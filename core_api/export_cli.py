"""Command ``export``: where an export meets the database, the keys and the disk."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import click
import psycopg
from psycopg import Connection
from psycopg.rows import DictRow, dict_row

from core_api.audit import Author
from core_api.database import enter_tenant
from core_api.encryption import ColumnCipher, SealBroken
from core_api.export import BeingErased, Export, PatientUnknown, work_folder_name
from core_api.master_key import key_wrapper
from pipelines.environment import SettingInvalid, required
from pipelines.export.archive import Folder
from pipelines.ports.key_wrapper import KeyRefused, KeyWrapperUnavailable


@click.command()
@click.option("--org", "organisation_id", type=int, required=True)
@click.option("--patient", "patient_id", type=int, required=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The archive (.zip).")
def export(organisation_id: int, patient_id: int, out: Path) -> None:
    """Write everything about a patient into one archive: JSON, CSV, Parquet and FHIR R4.

    RESTARTIX_DATABASE_URL is a login of restartix_core_api. Broken off, it goes on where it was when it is run again
    with the same --out. The archive is readable by its owner only; it is registered, and an erasure removes it.
    """
    out = out.absolute()
    work = out.parent / work_folder_name(organisation_id, patient_id)
    export_id = uuid4()
    try:
        cipher = ColumnCipher(key_wrapper(os.environ), secrets.token_bytes)
        with _connection(required(os.environ, "RESTARTIX_DATABASE_URL")) as connection:

            @contextmanager
            def open_tx() -> Iterator[Connection[DictRow]]:
                with connection.transaction():
                    enter_tenant(connection, organisation_id)
                    yield connection

            folder = Folder(work)
            made = Export(
                open_tx, cipher, folder, organisation_id=organisation_id, patient_id=patient_id, told=_told
            ).run(out, Author(None, "operator", f"export-{export_id}"), export_id, datetime.now(UTC))
            folder.remove()
    except (PatientUnknown, BeingErased) as error:
        Folder(work).remove()
        raise click.ClickException(str(error)) from None
    except (SettingInvalid, KeyRefused, KeyWrapperUnavailable, SealBroken, OSError) as error:
        raise click.ClickException(str(error)) from None
    except psycopg.OperationalError as error:
        raise click.ClickException(f"the database cannot be reached; run it again: {error}") from None
    click.echo(f"{made.path}  {made.size_bytes} bytes  sha256 {made.sha256}")


def _connection(url: str) -> Connection[DictRow]:
    return psycopg.connect(url, row_factory=dict_row, autocommit=True, connect_timeout=5, options="-c timezone=UTC")


def _told(part: str, done: int, total: int) -> None:
    filled = 30 * done // total
    click.echo(f"\r[{'#' * filled}{'-' * (30 - filled)}] {part:<22}", nl=False, err=True)
    if part == "archive" and done >= total - 1:
        click.echo(err=True)
    sys.stderr.flush()
