"""dbt over a clinic's history: built once from nothing and then night by night, for all tests of this folder."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from infra.stack.throwaway import Database, DatabaseServer, cloned_database
from orchestration.dbt_manifest import dbt_executable, profile_variables
from orchestration.settings import DBT_PROJECT_DIR
from tests.dbt import replay
from tests.dbt.history import AS_OF, CUT, History, Row


@dataclass(frozen=True)
class Dbt:
    """dbt over one database. Its artefacts lie in `target`."""

    database: Database
    folder: Path

    @property
    def target(self) -> Path:
        return self.folder / "target"

    def __call__(self, *arguments: str, as_of: dt.datetime = AS_OF) -> subprocess.CompletedProcess[str]:
        """Run it to a good end."""
        done = self.attempt(*arguments, as_of=as_of)
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        return done

    def attempt(self, *arguments: str, as_of: dt.datetime = AS_OF) -> subprocess.CompletedProcess[str]:
        """Run it, whatever comes of it."""
        environ = {
            **os.environ,
            **profile_variables(self.database.url("analytics_builder")),
            "DBT_TARGET_PATH": str(self.target),
            "DBT_LOG_PATH": str(self.folder / "logs"),
            "DBT_PROJECT_DIR": str(DBT_PROJECT_DIR),
            "DBT_PROFILES_DIR": str(DBT_PROJECT_DIR),
        }
        command = [dbt_executable(), *arguments, "--vars", json.dumps({"as_of": as_of.isoformat()})]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=240)


@dataclass(frozen=True)
class Marts:
    """A database with marts built over it, and dbt to build them again. `late`: what a night was not to see."""

    database: Database
    dbt: Dbt
    late: dict[str, list[Row]]

    def rows(self, query: str, url: str | None = None, organisation_id: int | None = None) -> list[Row]:
        """Rows as dictionaries; as the superuser unless `url` says otherwise."""
        return _rows(url or self.database.admin_url, query, organisation_id)


@pytest.fixture(scope="session")
def marts(
    postgres_server: DatabaseServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Marts]:
    """The whole history, reached by a build from nothing and seven nights of increments."""
    with cloned_database(postgres_server, migrated_template) as database:
        dbt = Dbt(database, tmp_path_factory.mktemp("dbt"))
        with psycopg.connect(database.admin_url) as connection:
            connection.execute("select telemetry.ensure_partitions('2026-01-01', '2026-12-31')")
            History(connection, random.Random(7)).write()
            replay.hold_back(connection)
        dbt("build", as_of=CUT)
        late = {}
        for number, night in enumerate(replay.NIGHTS):
            with psycopg.connect(database.admin_url) as connection:
                replay.arrive(connection, night)
                replay.CHANGES.get(number, _nothing)(connection)
            if night == replay.NIGHTS[-2]:
                late = _build_beside_an_open_transaction(dbt, night)
            elif night == replay.NIGHTS[-1]:
                dbt("build", "--exclude-resource-type", "unit_test", as_of=night)
            else:
                dbt("run", as_of=night)
        yield Marts(database, dbt, late)


def _nothing(_: psycopg.Connection[tuple[object, ...]]) -> None:
    """A night on which nothing but arrivals happens."""


def _build_beside_an_open_transaction(dbt: Dbt, night: dt.datetime) -> dict[str, list[Row]]:
    """A sitting is changed before the build and committed after it, another begun later is committed before it."""
    admin_url = dbt.database.admin_url
    change = b"update core.patient_session_completions set duration_seconds = %s where id = %s"
    with psycopg.connect(admin_url) as early:
        ids = early.execute(
            "select id from core.patient_session_completions where status = 'completed' order by id limit 2"
        ).fetchall()
        (slow,), (quick,) = ids
        early.execute(change, [1111, slow])
        with psycopg.connect(admin_url) as later:
            later.execute(change, [2222, quick])
        dbt("run", as_of=night)
        seen = _rows(admin_url, "select duration_seconds from analytics.fct_treatment_sessions")
        waiting = _rows(admin_url, "select row_id, table_name from core.row_changes")
    return {"seen": seen, "waiting": waiting, "late": [{"slow": slow, "quick": quick}]}


def _rows(url: str, query: str, organisation_id: int | None = None) -> list[Row]:
    with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as connection:
        if organisation_id is not None:
            connection.execute("select set_config('app.org_id', %s, true)", [str(organisation_id)])
        return connection.execute(query.encode()).fetchall()
