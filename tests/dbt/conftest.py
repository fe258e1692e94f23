"""dbt over a clinic's history: built once from nothing and once more by increments, for all tests of this folder."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from infra.stack.throwaway import Database, DatabaseServer, cloned_database
from orchestration.dbt_manifest import dbt_executable, profile_variables
from orchestration.settings import DBT_PROJECT_DIR
from tests.dbt.history import AS_OF, History, Row, bring_back, hold_back, revise_and_delete


@dataclass(frozen=True)
class Marts:
    """A database with marts built over it, and dbt to build them again."""

    database: Database
    dbt: Callable[..., subprocess.CompletedProcess[str]]

    def rows(self, query: str, url: str | None = None, organisation_id: int | None = None) -> list[Row]:
        """Rows as dictionaries; as the superuser unless `url` says otherwise."""
        with psycopg.connect(url or self.database.admin_url, row_factory=psycopg.rows.dict_row) as connection:
            if organisation_id is not None:
                connection.execute("select set_config('app.org_id', %s, true)", [str(organisation_id)])
            return connection.execute(query.encode()).fetchall()


@pytest.fixture(scope="session")
def marts(
    postgres_server: DatabaseServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Marts]:
    """The whole history, reached by a build from nothing and an increment."""
    folder = tmp_path_factory.mktemp("dbt")
    with cloned_database(postgres_server, migrated_template) as database:
        dbt = _dbt(database, folder)
        with psycopg.connect(database.admin_url) as connection:
            connection.execute("select telemetry.ensure_partitions('2026-01-01', '2026-12-31')")
            History(connection, random.Random(7)).write()
        # Sittings after the cut are held back, then arrive.
        with psycopg.connect(database.admin_url) as connection:
            held = hold_back(connection)
        dbt("build")
        with psycopg.connect(database.admin_url) as connection:
            bring_back(connection, held)
            revise_and_delete(connection)
        dbt("build", "--exclude-resource-type", "unit_test")
        yield Marts(database, dbt)


def _dbt(database: Database, folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    environ = {
        **os.environ,
        **profile_variables(database.url("analytics_builder")),
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder / "logs"),
        "DBT_PROJECT_DIR": str(DBT_PROJECT_DIR),
        "DBT_PROFILES_DIR": str(DBT_PROJECT_DIR),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [dbt_executable(), *arguments, "--vars", json.dumps({"as_of": AS_OF.isoformat()})]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        return done

    return run
