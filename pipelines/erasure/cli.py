"""Command ``erase``, and ``run_due`` for the nightly schedule: where erasures are put together."""

from __future__ import annotations

import datetime as dt
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import click
import msgspec
import psycopg

from pipelines.adapters.postgres.erasure_store import PostgresErasureStore, PostgresMarts
from pipelines.adapters.s3.blob_store import S3BlobStore
from pipelines.adapters.s3.client import connect
from pipelines.adapters.s3.settings import S3Settings, S3SettingsError
from pipelines.environment import SettingInvalid
from pipelines.erasure import ledger
from pipelines.erasure.numbers import retained_number
from pipelines.erasure.run import STEPS, Erasure, NotErased, NotSeen, Rules, Waiting
from pipelines.erasure.settings import ErasureSettings
from pipelines.ports.blob_store import BlobStore, BlobStoreUnavailable
from pipelines.retention import policy

_TEMPORARY = 75  # sysexits.h: EX_TEMPFAIL


class Eraser(NamedTuple):
    """What an erasure needs, put together."""

    store: PostgresErasureStore
    blobs: BlobStore
    marts: PostgresMarts | None
    rules: Rules

    def erasure(self, erasure_id: UUID, told: Callable[[str, int, int], None]) -> Erasure:
        now = lambda: dt.datetime.now(dt.UTC)  # noqa: E731
        return Erasure(erasure_id, self.store, self.blobs, self.marts, self.rules, now=now, told=told)


@contextmanager
def eraser(environ: Mapping[str, str], wait_s: float | None = None) -> Iterator[Eraser]:
    """Raises ``SettingInvalid``, ``S3SettingsError``, ``psycopg.OperationalError``."""
    settings, s3 = ErasureSettings.from_env(environ), S3Settings.from_env(environ)
    rules = Rules(
        wait=dt.timedelta(seconds=settings.wait_s if wait_s is None else wait_s),
        backups_kept=dt.timedelta(days=settings.backups_kept_days),
        idempotency_kept=dt.timedelta(days=policy.load().row_rule("idempotency_keys").kept_days),
    )
    with ExitStack() as stack:

        def connected(url: str) -> psycopg.Connection[Any]:
            return stack.enter_context(
                psycopg.connect(url, autocommit=True, connect_timeout=5, options="-c timezone=UTC")
            )

        yield Eraser(
            PostgresErasureStore(connected(settings.database_url)),
            S3BlobStore(connect(s3), s3),
            PostgresMarts(connected(settings.analytics_database_url)),
            rules,
        )


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one erasure in ``run_due``. ``waiting_for`` None and no error: it is certified."""

    erasure_id: UUID
    requested_at: dt.datetime
    steps_done: int
    certificate: dict[str, Any] | None = None
    waiting_for: str | None = None
    error: str | None = None


def run_due(environ: Mapping[str, str], told: Callable[[UUID, str, int, int], None] | None = None) -> list[Outcome]:
    """Go on with every erasure that is not certified, without waiting; one that fails keeps no other from running.
    ``told(erasure, step, done, total)`` is called as they go on.

    For a schedule: an erasure waits for nodes and for the nightly build. Raises as ``eraser``.
    """
    outcomes = []
    with eraser(environ, wait_s=0) as parts:
        for due in parts.store.due():
            if not due.certified:
                outcomes.append(_go_on(parts, due.erasure_id, told))
    return outcomes


def _go_on(parts: Eraser, erasure_id: UUID, told: Callable[[UUID, str, int, int], None] | None) -> Outcome:
    certificate = waiting_for = failed = None
    try:
        certificate = parts.erasure(
            erasure_id, _silent if told is None else lambda step, done, total: told(erasure_id, step, done, total)
        ).run()
    except Waiting as waiting:
        waiting_for = str(waiting)
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"
    state = parts.store.state(erasure_id)
    if state is None:
        raise LookupError(f"no erasure {erasure_id}")
    return Outcome(
        erasure_id=erasure_id,
        requested_at=state.requested_at,
        steps_done=sum(step in state.steps for step in STEPS),
        certificate=certificate,
        waiting_for=waiting_for,
        error=failed,
    )


def replay(parts: Eraser) -> list[UUID]:
    """Ask again for every erasure of the ledger that this database does not know, or does not know as done; which these
    are. For a database that was restored. A patient who is not there, or whose number is another's now, is passed over.
    """
    again = []
    for entry in ledger.entries(parts.blobs):
        state = parts.store.state(entry.erasure_id)
        if state is not None and state.certificate is not None:
            continue
        made = parts.store.request(
            entry.erasure_id,
            entry.organisation_id,
            entry.patient_id,
            retained_patient_id=entry.retained_patient_id,
            requested_by=entry.requested_by,
            principal_check=bytes.fromhex(entry.principal_check),
        )
        if made is not None or state is not None:
            again.append(entry.erasure_id)
    return again


@click.group()
def erase() -> None:
    """Erase a patient, and certify it.

    Works as the sweeper: RESTARTIX_DATABASE_URL names a login in restartix_sweeper. Looks through what is built by
    night as RESTARTIX_ANALYTICS_DATABASE_URL, a login in restartix_analytics_builder. Every step can be repeated.
    """


@erase.command()
@click.option("--org", "organisation_id", type=int, required=True)
@click.option("--patient", "patient_id", type=int, required=True)
@click.option("--requested-by", required=True, help="Who asked, by reference (a ticket, a letter); no name.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def request(organisation_id: int, patient_id: int, requested_by: str, yes: bool) -> None:
    """Ask for an erasure and print its id. Nothing goes before `erase run`."""
    if not yes:
        click.confirm(f"Erase patient {patient_id} of organisation {organisation_id}? It cannot be undone", abort=True)
    with _parts() as parts:
        made = parts.store.request(
            uuid4(),
            organisation_id,
            patient_id,
            retained_patient_id=retained_number(secrets.randbelow),
            requested_by=requested_by,
            principal_check=None,
        )
    if made is None:
        raise click.ClickException(f"organisation {organisation_id} has no patient {patient_id}")
    click.echo(made)


@erase.command()
@click.argument("erasure_id", type=click.UUID)
@click.option("--wait", "wait_s", type=float, help="Seconds to wait for nodes (else RESTARTIX_ERASURE_WAIT_S).")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the certificate here too.")
def run(erasure_id: UUID, wait_s: float | None, out: Path | None) -> None:
    """Go on with an erasure to its certificate. Exit code 75: it waits for something; run it again later."""
    with _parts(wait_s) as parts, _progress() as told:
        try:
            certificate = parts.erasure(erasure_id, told).run()
        except Waiting as waiting:
            click.echo(f"Not done yet, waiting for: {waiting}", err=True)
            sys.exit(_TEMPORARY)
        except (NotErased, NotSeen, LookupError) as error:
            raise click.ClickException(str(error)) from None
    text = msgspec.json.format(msgspec.json.encode(certificate)).decode()
    if out is not None:
        out.write_text(text + "\n")
    click.echo(text)


@erase.command()
def due() -> None:
    """Go on with every erasure that is not certified, without waiting."""
    try:
        outcomes = run_due(os.environ)
    except (SettingInvalid, S3SettingsError, psycopg.OperationalError) as error:
        raise click.ClickException(str(error)) from None
    for outcome in outcomes:
        click.echo(msgspec.json.encode(outcome))
    if any(outcome.error for outcome in outcomes):
        raise click.ClickException("an erasure failed")


@erase.command()
@click.argument("erasure_id", type=click.UUID)
def status(erasure_id: UUID) -> None:
    """Show what is done, and what each node still owes."""
    with _parts() as parts:
        state, disks = parts.store.state(erasure_id), parts.store.disks(erasure_id)
    if state is None:
        raise click.ClickException(f"no erasure {erasure_id}")
    for name in STEPS:
        step = state.steps.get(name)
        click.echo(f"{name:<16} {'-' if step is None else step['at'][:19] + '  ' + str(step['counts'])}")
    for disk in disks:
        said = "destroyed" if disk.destroyed_at else "clean" if not disk.waiting else f"{disk.waiting} to confirm"
        click.echo(f"node {disk.node_id}: {disk.sessions} sessions, {said}")


@erase.command("node-destroyed")
@click.argument("erasure_id", type=click.UUID)
@click.argument("node_id")
def node_destroyed(erasure_id: UUID, node_id: str) -> None:
    """Say that NODE_ID's disk is destroyed, so that nobody will confirm for it. The certificate says so too."""
    with _parts() as parts:
        told = parts.store.node_destroyed(erasure_id, node_id)
    click.echo(f"{told} sessions of {node_id}")


@erase.command("replay")
def replay_ledger() -> None:
    """After a restore: erase again what the erasure ledger says, before anybody uses the database."""
    failed = False
    with _parts() as parts:
        again = replay(parts)
        for erasure_id in again:
            try:
                with _progress() as told:
                    parts.erasure(erasure_id, told).run()
                click.echo(f"{erasure_id} is erased again")
            except (Waiting, NotErased, NotSeen) as error:
                failed = True
                click.echo(f"{erasure_id}: {error}")
    if failed:
        raise click.ClickException("not everything is erased again yet; run it again")
    if not again:
        click.echo("Nothing to erase again.")


@contextmanager
def _parts(wait_s: float | None = None) -> Iterator[Eraser]:
    try:
        with eraser(os.environ, wait_s) as parts:
            yield parts
    except (SettingInvalid, S3SettingsError) as error:
        raise click.ClickException(str(error)) from None
    except (psycopg.OperationalError, BlobStoreUnavailable) as error:
        raise click.ClickException(f"a store cannot be reached; run it again: {error}") from None


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A line a step on standard error, and a bar over objects."""
    shown = ""

    def told(step: str, done: int, total: int) -> None:
        nonlocal shown
        if total > 1:
            filled = 30 * done // total
            end = "\n" if done == total else ""
            click.echo(f"\r{step:<16} [{'#' * filled}{'-' * (30 - filled)}] {done}/{total}{end}", nl=False, err=True)
        elif step != shown:
            click.echo(step, err=True)
        shown = step

    yield told


def _silent(step: str, done: int, total: int) -> None:
    """Nobody watches."""
