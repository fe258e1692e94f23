"""What the assets work on: the sweeper's database, and dbt. Values come from the environment when a run starts.

Belongs here: connecting. Does not belong here: what is done with a connection (`pipelines`, `defs`).
"""

import os
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
from dagster_dbt import DbtCliInvocation, DbtCliResource
from psycopg import sql
from psycopg.rows import dict_row

from orchestration.dbt_manifest import dbt_executable, profile_variables
from orchestration.settings import DBT_PROJECT_DIR, Pace, required

RUN_FOLDERS_KEPT = 10
ROWS_COUNTED_MAX = 100_000
ANALYTICS_URL = "RESTARTIX_ANALYTICS_DATABASE_URL"
APPLICATION = "restartix orchestration"
SITTINGS_BY_WEEK = (Path(__file__).parent / "sql" / "sittings_by_week.sql").read_bytes()


class SweeperDatabase(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The database as restartix_sweeper, which sees ids, states and times of all organisations and nothing else.

    RESTARTIX_SWEEPER_DATABASE_URL; where that is not set, the process's own RESTARTIX_DATABASE_URL.
    """

    def environ(self) -> dict[str, str]:
        """The environment as the sweep's settings read it. Raises SettingsError."""
        url = required(os.environ, "RESTARTIX_SWEEPER_DATABASE_URL", "RESTARTIX_DATABASE_URL")
        return {**os.environ, "RESTARTIX_DATABASE_URL": url}

    def connect(self) -> psycopg.Connection[Any]:
        """A new connection, to be used as a context manager; each statement is a transaction.

        Raises SettingsError, psycopg.OperationalError.
        """
        url = self.environ()["RESTARTIX_DATABASE_URL"]
        return psycopg.connect(url, autocommit=True, connect_timeout=10, application_name=APPLICATION)


class AnalyticsDbt(dg.ConfigurableResource):  # type: ignore[type-arg]
    """dbt over dbt_project, as the analytics builder (RESTARTIX_ANALYTICS_DATABASE_URL)."""

    def build(self, arguments: list[str], context: dg.AssetExecutionContext) -> DbtCliInvocation:
        """Start dbt for the assets and checks the run selects. A failure of dbt fails the step."""
        dbt, target = self._dbt(context.run.run_id)
        return dbt.cli(arguments, context=context, target_path=target)

    def ask(self, arguments: list[str], run_id: str) -> DbtCliInvocation:
        """Run dbt to its end for an answer in its artefacts, which a failure is too."""
        dbt, target = self._dbt(f"{run_id}-{arguments[0]}")
        return dbt.cli(arguments, target_path=target, raise_on_error=False).wait()

    def row_count(self, schema: str, table: str) -> int:
        """Rows of a built table, of all organisations; of a long one the server's estimate, because counting reads it.

        Raises psycopg.Error, LookupError.
        """
        statement = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
        estimate = "select reltuples::bigint from pg_class where oid = to_regclass(%s)"
        url = required(os.environ, ANALYTICS_URL)
        with psycopg.connect(url, connect_timeout=10, application_name=APPLICATION) as connection:
            estimated = connection.execute(estimate, [f"{schema}.{table}"]).fetchone()
            if estimated is not None and estimated[0] > ROWS_COUNTED_MAX:
                return int(estimated[0])
            row = connection.execute(statement).fetchone()
        if row is None:
            raise LookupError(f"{schema}.{table}: a count without a row")
        return int(row[0])

    def sittings_by_week(self) -> list[dict[str, Any]]:
        """Of the last twelve weeks, over all organisations: `week`, `completed`, `skipped`, `unfinished`.

        Raises psycopg.Error.
        """
        with self.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(SITTINGS_BY_WEEK).fetchall()

    def connect(self) -> psycopg.Connection[Any]:
        """A new connection as the analytics builder, which reads what is not encrypted of all organisations."""
        url = required(os.environ, ANALYTICS_URL)
        return psycopg.connect(url, autocommit=True, connect_timeout=10, application_name=APPLICATION)

    def _dbt(self, run_name: str) -> tuple[DbtCliResource, Path]:
        # dbt reads its profile from the process's environment, here and in the process it starts.
        os.environ.update(profile_variables(required(os.environ, ANALYTICS_URL)))
        dbt_dir = Pace.from_env(os.environ).dbt_dir
        dbt = DbtCliResource(
            project_dir=os.fspath(DBT_PROJECT_DIR),
            profiles_dir=os.fspath(DBT_PROJECT_DIR),
            dbt_executable=dbt_executable(),
        )
        return dbt, self._run_folder(dbt_dir, run_name)

    def _run_folder(self, dbt_dir: Path, name: str) -> Path:
        folder = dbt_dir / "runs" / name
        folder.mkdir(parents=True, exist_ok=True)
        # dbt parses only what changed since the manifest was made.
        parsed = dbt_dir / "target" / "partial_parse.msgpack"
        if parsed.exists():
            shutil.copy(parsed, folder / parsed.name)
        for old in sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-RUN_FOLDERS_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        return folder
