"""Command ``audit``: where the chain's verification meets the database. ``RESTARTIX_DATABASE_URL`` is a login of
``restartix_core_api``; nothing is written.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec
import psycopg
from psycopg import Connection, IsolationLevel
from psycopg.rows import DictRow, dict_row

from core_api.audit_chain import Anchor, Verdict, verify
from core_api.database import Tx, enter_tenant, every
from pipelines.environment import SettingInvalid, required
from pipelines.retention import policy


@click.group()
def audit() -> None:
    """The audit log: verify its chains, and keep their ends elsewhere."""


@audit.command("verify")
@click.option("--org", "organisation_ids", type=int, multiple=True, help="Only this organisation; may be repeated.")
@click.option("--anchors", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Ends kept by `anchor`.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def verify_chains(organisation_ids: tuple[int, ...], anchors: Path | None, as_json: bool) -> None:
    """Recompute every link; name the first broken one. Fails where there is one.

    Whoever owns the database could rewrite a whole chain. What shows that is an anchor: the output of `audit anchor`,
    kept where they cannot write, and given back here with --anchors.
    """
    kept = timedelta(days=policy.load().row_rule("audit_log").kept_days)
    known = _read_anchors(anchors)
    broken = 0
    with _connection() as connection:
        for organisation_id in organisation_ids or _organisations(connection):
            ends = {each.sequence: each.link for each in known if each.organisation_id == organisation_id}
            with connection.transaction():
                enter_tenant(connection, organisation_id)
                with click.progressbar(length=_length(connection), label=f"organisation {organisation_id}",
                                       file=sys.stderr, hidden=as_json) as bar:  # fmt: skip
                    verdict = verify(
                        connection, organisation_id, kept, datetime.now(UTC), anchors=ends, progress=bar.update
                    )
            _say(verdict, as_json=as_json)
            broken += verdict.broken is not None
    if broken:
        raise click.ClickException(f"{broken} audit chain(s) broken")


@audit.command("anchor")
def anchor_chains() -> None:
    """Print the end of each chain, one JSON object a line, after verifying it. Keep it where nobody here can write."""
    kept = timedelta(days=policy.load().row_rule("audit_log").kept_days)
    with _connection() as connection:
        for organisation_id in _organisations(connection):
            with connection.transaction():
                enter_tenant(connection, organisation_id)
                verdict = verify(connection, organisation_id, kept, datetime.now(UTC))
            if verdict.broken is not None:
                _say(verdict, as_json=False)
                raise click.ClickException("a broken chain is no anchor")
            click.echo(msgspec.json.encode(verdict.head))


def _say(verdict: Verdict, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(verdict))
        return
    line = f"organisation {verdict.organisation_id}: {verdict.links} links"
    line += f", {verdict.expired} of them of rows that have expired" if verdict.expired else ""
    line += f", {verdict.erased_actors} of rows whose actor was erased" if verdict.erased_actors else ""
    broken = verdict.broken
    if broken is None:
        click.echo(f"{line}; whole, ends in {verdict.head.link[:16]}")
    else:
        where = f"link {broken.sequence}" if broken.sequence is not None else "no link"
        row = f" (row {broken.audit_id})" if broken.audit_id is not None else ""
        click.echo(f"{line}; BROKEN at {where}{row}: {broken.fault.replace('_', ' ')}")


def _read_anchors(path: Path | None) -> list[Anchor]:
    if path is None:
        return []
    try:
        return [msgspec.json.decode(line, type=Anchor) for line in path.read_bytes().splitlines() if line.strip()]
    except (msgspec.DecodeError, OSError) as error:
        raise click.ClickException(f"{path} holds no anchors: {error}") from None


def _organisations(connection: Tx) -> list[int]:
    with connection.transaction():
        return [int(row["organisation_id"]) for row in every(connection, "audited_organisations", {})]


def _length(connection: Tx) -> int:
    head = every(connection, "audit_head", {})
    return int(head[0]["sequence"]) if head else 0


@contextmanager
def _connection() -> Iterator[Connection[DictRow]]:
    """Repeatable read, in UTC."""
    try:
        url = required(os.environ, "RESTARTIX_DATABASE_URL")
        connection = psycopg.connect(url, row_factory=dict_row, connect_timeout=5, options="-c timezone=UTC")
    except SettingInvalid as error:
        raise click.ClickException(str(error)) from None
    except psycopg.OperationalError as error:
        raise click.ClickException(f"the database cannot be reached: {error}") from None
    with connection:
        connection.autocommit = True
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        yield connection
