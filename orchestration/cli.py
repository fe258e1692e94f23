"""Commands of the orchestration: `marts` refreshes them here and now, `dbt` runs dbt with the stack's settings.

Belongs here: putting a command together. Does not belong here: what is run (`defs`).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import dagster as dg

from orchestration.dbt_manifest import dbt_executable, ensure_manifest, profile_variables
from orchestration.instance import write_home
from orchestration.settings import DBT_PROJECT_DIR, Pace, SettingsError, required

_QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


class RefreshError(RuntimeError):
    """The nightly job did not succeed; the message says which step and why."""


def refresh_marts(say: Callable[[str], None]) -> float:
    """Run the job nightly_marts in this process; tell what was built; return the seconds it took.

    The run is kept in the instance of DAGSTER_HOME, so that it is seen in the UI, or nowhere if that is not set.
    Raises RefreshError, SettingsError.
    """
    from orchestration.definitions import defs  # noqa: PLC0415 - parses the dbt project

    required(os.environ, "RESTARTIX_ANALYTICS_DATABASE_URL")
    began = time.monotonic()
    job = defs().resolve_job_def("nightly_marts")
    log = Pace.from_env(os.environ).dbt_dir / "marts.log"
    with (
        dg.DagsterInstance.get() if os.environ.get("DAGSTER_HOME") else dg.DagsterInstance.ephemeral() as instance,
        log.open("w") as dbt_says,
        contextlib.redirect_stdout(dbt_says),
    ):
        result = job.execute_in_process(instance=instance, run_config=_QUIET, raise_on_error=False)
    for event in result.get_asset_materialization_events():
        built = event.step_materialization_data.materialization
        rows = built.metadata.get("dagster/row_count")
        if built.asset_key.path[0] == "analytics" and rows is not None:
            say(f"  {built.asset_key.path[-1]:<28}{rows.value:>10} rows")
    failed = [
        f"{evaluation.asset_key.to_user_string()}: {evaluation.check_name}"
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed and evaluation.severity is dg.AssetCheckSeverity.ERROR
    ]
    if not result.success or failed:
        steps = [f"{event.step_key}: {event.message}" for event in result.filter_events(lambda e: e.is_step_failure)]
        raise RefreshError("\n".join([f"the marts were not refreshed (dbt said: {log})", *steps, *failed]))
    return time.monotonic() - began


@click.group()
def main() -> None:
    """Refresh and inspect the marts."""


@main.command()
def marts() -> None:
    """Run the nightly job now and print what it built."""
    try:
        seconds = refresh_marts(click.echo)
    except (RefreshError, SettingsError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Marts refreshed in {seconds:.1f} s")


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dbt(arguments: tuple[str, ...]) -> None:
    """Run dbt with ARGUMENTS against RESTARTIX_ANALYTICS_DATABASE_URL; artefacts go to the state folder."""
    try:
        url = required(os.environ, "RESTARTIX_ANALYTICS_DATABASE_URL")
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    dbt_dir = Pace.from_env(os.environ).dbt_dir
    ensure_manifest(DBT_PROJECT_DIR, dbt_dir, url)
    environ = {
        **os.environ,
        **profile_variables(url),
        "DBT_PROJECT_DIR": str(DBT_PROJECT_DIR),
        "DBT_PROFILES_DIR": str(DBT_PROJECT_DIR),
        "DBT_TARGET_PATH": str(dbt_dir / "target"),
        "DBT_LOG_PATH": str(dbt_dir / "logs"),
    }
    sys.exit(subprocess.run([dbt_executable(), *arguments], env=environ, check=False).returncode)


@main.command()
def assets() -> None:
    """Print every asset, and every check that is no dbt test, one a line: the list the tests compare with."""
    from orchestration.definitions import defs  # noqa: PLC0415 - parses the dbt project

    for line in code_location_keys(defs()):
        click.echo(line)


@main.command()
@click.option("--rounds", type=click.IntRange(1, 50), default=3, show_default=True)
def latency(rounds: int) -> None:
    """Time each job and sensor in this process, on what the environment names; JSON on the last line."""
    from orchestration.definitions import defs  # noqa: PLC0415 - parses the dbt project
    from orchestration.latency import measure  # noqa: PLC0415

    with dg.DagsterInstance.get() as instance, contextlib.redirect_stdout(sys.stderr):
        taken = measure(defs(), instance, rounds)
    click.echo(json.dumps(taken))


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), envvar="DAGSTER_HOME")
def home(folder: Path) -> None:
    """Write dagster.yaml into FOLDER (DAGSTER_HOME); its records are in PostgreSQL where
    RESTARTIX_DAGSTER_DATABASE_URL is set, else beside it.
    """
    click.echo(write_home(folder, os.environ))


@main.command()
@click.option("--url", default="http://127.0.0.1:3000", show_default=True, help="Where Dagster is.")
@click.option("--location", default="telemetry", show_default=True, help="The code location's name there.")
@click.option("--out", default="docs/operations", show_default=True, type=click.Path(file_okay=False, path_type=Path))
def screenshots(url: str, location: str, out: Path) -> None:
    """Photograph Dagster's pages, as docs/operations.md shows them. Needs Chromium."""
    from orchestration.screenshots import ScreenshotError, take  # noqa: PLC0415 - only this command needs it

    try:
        take(url.rstrip("/"), out, location, click.echo)
    except (ScreenshotError, OSError) as error:
        raise click.ClickException(str(error)) from error


def code_location_keys(definitions: dg.Definitions) -> list[str]:
    """`asset KEY` of every asset, and `check KEY NAME` of every check that is no dbt test, sorted."""
    graph = definitions.get_repository_def().asset_graph
    keys = [f"asset {key.to_user_string()}" for key in graph.get_all_asset_keys()]
    checks = [key for key in graph.asset_check_keys if not key.asset_key.path[0].startswith("analytics")]
    keys += [f"check {key.asset_key.to_user_string()} {key.name}" for key in checks]
    return sorted(keys)


if __name__ == "__main__":
    main()
