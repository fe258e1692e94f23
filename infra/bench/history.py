"""Two years of clinics in a database of their own: tens of millions of rows, made by set-based statements.

Belongs here: making them, and the nightly marts beside them. Does not belong here: measuring (``reads``).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from infra.stack.loopback import free_run
from infra.stack.postgres import TEST_SETTINGS, PostgresServer
from infra.stack.throwaway import (
    Database,
    DatabaseServer,
    cloned_database,
    scratch_folder,
    template_database,
)
from orchestration.dbt_manifest import dbt_executable, profile_variables
from orchestration.settings import DBT_PROJECT_DIR
from pipelines.adapters.postgres import sql as named

LOGS_PER_PLAN = 48  # 12 sittings of 4 exercises
PLANS_PER_ORGANISATION = 1000
DETAILED_EVERY = 100  # every so many-th session has its repetitions, members and views

# Room for the indices of tens of millions of rows; nothing of it has to outlive a crash.
SETTINGS = {**TEST_SETTINGS, "shared_buffers": "1GB", "maintenance_work_mem": "512MB", "work_mem": "64MB"}
SETTINGS |= {"max_wal_size": "8GB", "checkpoint_timeout": "30min", "autovacuum": "off"}

_STEPS = (
    ("organisations", "specialists", "exercises", "treatment_plans", "treatment_plan_exercises", "patients", "plans"),
    ("sittings",),
    ("logs",),
    ("sessions",),
    ("movement",),
    ("reps", "members", "views"),
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is."""

    exercise_logs: int
    plans: int
    organisations: int
    database_bytes: int


@contextlib.contextmanager
def clinics(logs: int, say: Say) -> Iterator[tuple[Database, Size]]:
    """A database of at least ``logs`` exercise logs, with marts; it and its server go with the block."""
    with scratch_folder("reads") as folder:
        server = PostgresServer(folder / "data", free_run(1), secrets.token_hex(16), SETTINGS)
        with server.running(log=folder / "postgres.log"):
            throwaway = DatabaseServer(server.admin_url, secrets.token_hex(16))
            with template_database(throwaway) as template, cloned_database(throwaway, template) as database:
                yield database, fill(database, logs, say)


def fill(database: Database, logs: int, say: Say) -> Size:
    """Make the marts, empty, then the rows, then analyse. Raises ``psycopg.Error``, ``CalledProcessError``."""
    plans = -(-logs // LOGS_PER_PLAN)
    organisations = max(2, plans // PLANS_PER_ORGANISATION)
    _build_empty_marts(database)
    statements = named.load("infra.bench", "sql/reads_history.sql")
    values = {"plans": plans, "organisations": organisations, "detailed_every": DETAILED_EVERY}
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # no triggers, no foreign keys
        connection.execute("SET timezone = 'UTC'")
        connection.execute(
            "SELECT telemetry.ensure_partitions((now() - interval '26 months')::date,"
            " (now() + interval '2 months')::date)"
        )
        connection.execute("SELECT telemetry.renew_node_lease('bench', 'http://bench.example', true, 60)")
        for step in _STEPS:
            for name in step:
                began = time.monotonic()
                rows = connection.execute(statements[name], values).rowcount
                say(f"  {name:<28}{rows:>12,} rows  {time.monotonic() - began:>6.1f} s")
        _fill_marts(connection, organisations)
        began = time.monotonic()
        connection.execute("VACUUM (ANALYZE)")
        say(f"  {'vacuum, analyse':<28}{'':>17}  {time.monotonic() - began:>6.1f} s")
        row = connection.execute(statements["size"]).fetchone()
    assert row is not None
    return Size(row[0], plans, organisations, row[1])


def _build_empty_marts(database: Database) -> None:
    """The tables as dbt makes them, policies and grants included, over an empty database."""
    with tempfile.TemporaryDirectory(prefix="restartix-dbt-") as folder:
        environ = {
            **os.environ,
            **profile_variables(database.url("analytics_builder")),
            "DBT_TARGET_PATH": str(Path(folder) / "target"),
            "DBT_LOG_PATH": str(Path(folder) / "logs"),
            "DBT_PROJECT_DIR": str(DBT_PROJECT_DIR),
            "DBT_PROFILES_DIR": str(DBT_PROJECT_DIR),
        }
        command = [dbt_executable(), "--quiet", "run", "--threads", "2"]
        subprocess.run(command, env=environ, check=True, capture_output=True, text=True, timeout=580)


# What each mart's rows are made of, by column; what is not named here gets a value of its column's type.
_MARTS = {
    "organisation_dashboard": ("generate_series(1, %(organisations)s) o", {"organisation_id": "o"}),
    "exercise_trends": (
        "generate_series(1, %(organisations)s) o, generate_series(1, 40) e, generate_series(0, 103) w",
        {
            "organisation_id": "o",
            "exercise_id": "40 * (o - 1) + e",
            "week_start": "date_trunc('week', now())::date - 7 * w",
        },
    ),
    "cohort_outcomes": (
        "generate_series(1, %(organisations)s) o, generate_series(1, 10) t, generate_series(0, 23) m",
        {
            "organisation_id": "o",
            "treatment_plan_id": "10 * (o - 1) + t",
            "start_month": "(date_trunc('month', now()) - make_interval(months => m))::date",
        },
    ),
    "top_exercises": (
        "generate_series(1, %(organisations)s) o, generate_series(1, 5) p,"
        " unnest(array['most_prescribed', 'best_form', 'worst_form']) r",
        {"organisation_id": "o", "ranking": "r", "position": "p", "exercise_id": "40 * (o - 1) + p"},
    ),
    "revenue_per_plan": (
        "generate_series(1, %(organisations)s) o, generate_series(1, 10) t",
        {"organisation_id": "o", "treatment_plan_id": "10 * (o - 1) + t", "currency": "'EUR'"},
    ),
    "console_cohorts": (
        "generate_series(0, 8) q, generate_series(0, 10) p",
        {
            "quarter_start": "(date_trunc('quarter', now()) - make_interval(months => 3 * q))::date",
            "movement_profile": "'profile_' || p",
            "suppression": "'none'",
        },
    ),
}
_BY_TYPE = {
    "bigint": "1",
    "integer": "50",
    "numeric": "50",
    "text": "'text'",
    "boolean": "true",
    "date": "current_date",
    "timestamp with time zone": "now()",
}


def _fill_marts(connection: psycopg.Connection[tuple[object, ...]], organisations: int) -> None:
    """Rows in the marts' real tables, as many as two years of these clinics give."""
    for mart, (source, known) in _MARTS.items():
        columns = connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'analytics' AND table_name = %s",
            [mart],
        ).fetchall()
        values = {str(name): known.get(str(name), _BY_TYPE[str(kind)]) for name, kind in columns}
        statement = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(
            sql.Identifier("analytics", mart),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(map(sql.SQL, values.values())),
            sql.SQL(source),
        )
        connection.execute(statement, {"organisations": organisations})
