"""`restartix up`, `down`, `status`, `logs`, `psql` and `token`: the local stack from the command line.

Belongs here: arguments in, words out. Does not belong here: how any of it is done.
"""

from __future__ import annotations

import os
import sys
import time
import uuid

import click
import psycopg
from botocore.exceptions import BotoCoreError, ClientError

from infra.stack.lifecycle import StackError, all_programs
from infra.stack.lifecycle import down as stop_stack
from infra.stack.lifecycle import up as start_stack
from infra.stack.logins import ROLE_OF_LOGIN, UnknownLoginError
from infra.stack.loopback import NoFreePortError
from infra.stack.migrate import MigrationError
from infra.stack.postgres import PostgresUnavailableError, find_installation
from infra.stack.s3 import S3UnavailableError
from infra.stack.state import StackState, load_state
from infra.stack.supervisor import Supervisor, SupervisorError

# What a person may meet: told in one sentence, without a traceback.
EXPECTED_ERRORS = (
    StackError,
    SupervisorError,
    MigrationError,
    PostgresUnavailableError,
    S3UnavailableError,
    NoFreePortError,
    UnknownLoginError,
    ValueError,
    PermissionError,
    psycopg.Error,
    BotoCoreError,
    ClientError,
)


@click.command()
def up() -> None:
    """Start the local stack, or whatever of it is not running, and wait until it is ready."""
    click.echo("Starting the local stack:")
    try:
        state = start_stack(os.environ, click.echo)
    except EXPECTED_ERRORS as error:
        raise click.ClickException(f"{error}\n\nWhat did start is still there: `make status`, `make down`.") from error
    click.echo(
        f"\nReady. Core API {state.url('core_api')}, ingest {state.url('ingest')}, Dagster {state.url('dagster')}\n"
        "Next: `make demo`, `make psql ROLE=analyst ORG=1`, `make logs`, `make down`."
    )


@click.command()
def down() -> None:
    """Stop the local stack; its data stays."""
    try:
        stop_stack(os.environ, click.echo)
    except EXPECTED_ERRORS as error:
        raise click.ClickException(str(error)) from error


@click.command()
def status() -> None:
    """Show each process of the local stack; exit status 3 unless all are running."""
    state = _known_state()
    states = Supervisor(state).states()
    programs = all_programs(state)
    for program in programs:
        click.echo(f"  {program.title:<24}{states.get(program.name, 'not running').lower():<14}{program.url or ''}")
    if state.postgres is None:
        click.echo(f"  {'PostgreSQL':<24}{'external':<14}DATABASE_URL")
    if state.external_s3 is not None:
        click.echo(f"  {'S3':<24}{'external':<14}{state.external_s3.endpoint_url}")
    if any(states.get(program.name) != "RUNNING" for program in programs):
        raise SystemExit(3)


@click.command()
@click.argument("process", required=False)
@click.option("-n", "--lines", default=20, show_default=True, help="Lines of each log.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is written; needs PROCESS.")
def logs(process: str | None, lines: int, follow: bool) -> None:
    """Show the end of every process's log, or of PROCESS's."""
    state = _known_state()
    supervisor = Supervisor(state)
    names = [program.name for program in all_programs(state)]
    if process is not None and process not in names:
        raise click.BadParameter(f"no process {process!r}; there are {', '.join(names)}")
    if follow:
        if process is None:
            raise click.UsageError("say which process to follow")
        sys.stdout.flush()
        os.execvp("tail", ["tail", "-n", str(lines), "-F", str(supervisor.log_path(process))])
    for name in names if process is None else [process]:
        click.echo(f"== {name}: {supervisor.log_path(name)}")
        for line in supervisor.tail(name, lines=lines):
            click.echo(line)


@click.command()
@click.option("--role", help="Whose eyes: analyst, core_api, ingest, ..., or admin (the superuser, sees all tenants).")
@click.option("--org", type=int, help="The organisation to see: every role but admin and console sees one at a time.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(role: str | None, org: int | None, arguments: tuple[str, ...]) -> None:
    """Open psql on the local stack's database as one of its roles. ARGUMENTS go to psql.

    Row-level security is forced: without an organisation a service role sees no rows at all.
    """
    if role is None:
        roles = ", ".join(["analyst", *sorted(ROLE_OF_LOGIN), "admin"])
        raise click.UsageError(
            f"say whose eyes to look through, for example `make psql ROLE=analyst ORG=1`. Roles: {roles}. "
            "Row-level security is forced, so a role sees the rows of one organisation: ORG says which."
        )
    state = _known_state()
    try:
        url = psql_url(state, role, org)
    except psycopg.errors.ForeignKeyViolation as error:
        raise click.ClickException(f"there is no organisation {org}") from error
    except EXPECTED_ERRORS as error:
        raise click.ClickException(str(error)) from error
    variables = dict(os.environ)
    if org is not None and role not in ("admin", "analyst"):
        variables["PGOPTIONS"] = f"-c app.org_id={org}"
    sys.stdout.flush()
    client = find_installation().tool("psql")
    os.execvpe(client, [client, "--dbname", url, *arguments], variables)


@click.command()
@click.option("--role", type=click.Choice(["patient", "specialist", "manager", "console"]), required=True)
@click.option("--org", type=click.IntRange(min=1), help="The organisation the person belongs to; console has none.")
@click.option("--sub", type=click.UUID, required=True, help="The person's principal id.")
@click.option("--hours", type=click.FloatRange(min=0.01, max=24), default=8.0, show_default=True)
def token(role: str, org: int | None, sub: uuid.UUID, hours: float) -> None:
    """Print an identity token for the local Core API, as the clinic app's identity provider would issue it.

    \b
    export RESTARTIX_IDENTITY_TOKEN=$(restartix token --role patient --org 1 --sub UUID)
    """
    if (org is None) != (role == "console"):
        raise click.UsageError("--org is needed for everybody but the console, which belongs to none")
    now_s = int(time.time())
    claims = {
        "aud": "core-api",
        "sub": str(sub),
        **({} if org is None else {"org": org}),
        "role": role,
        "iat": now_s,
        "exp": now_s + round(hours * 3600),
    }
    click.echo(_known_state().identity_keys.mint(claims))


def psql_url(state: StackState, role: str, organisation_id: int | None) -> str:
    """The URL for a role; an analyst's login is made, and mapped to its organisation, on first use."""
    if role.removeprefix("restartix_") == "analyst" and organisation_id is not None:
        return state.logins.provision_analyst(organisation_id)
    return state.logins.url(role, organisation_id=organisation_id)


def _known_state() -> StackState:
    state = load_state(os.environ)
    if state is None:
        raise click.ClickException("there is no local stack yet: `make up` makes one.")
    return state
