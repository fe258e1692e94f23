"""What a night costs: the marts after one new day, against building them from nothing, on a long and a short history.

A night is the whole nightly command with its data tests, a full refresh the models alone: the ratio is against us.
Both histories end with equally many running plans and get an equal new day: what differs is how much lies behind.
Rows read are the server's own counts (pg_stat_user_tables), by sequential scan and by index. Writes
build/reports/bench_marts.json.

Belongs here: measuring. Does not belong here: a verdict; the SQL of the history (`sql/marts_*.sql`).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import psycopg
from psycopg import sql

from infra.stack.logins import Logins, database_url
from infra.stack.loopback import free_run
from infra.stack.migrate import migrate
from infra.stack.postgres import PostgresServer
from infra.stack.state import PROJECT_DIR
from orchestration.dbt_manifest import dbt_executable, profile_variables
from orchestration.settings import DBT_PROJECT_DIR

SQL = Path(__file__).parent / "sql"
LAST_DAY = dt.date(2026, 6, 15)
PLAN_DAYS = 56
LOGS_PER_PLAN = 96
ORGANISATIONS = 20
DAYS_AT_ONCE = 10
MONTH = re.compile(r"_\d{6}$")  # a partition's, after its table's name
TARGET_RATIO, TARGET_GROWTH = 0.10, 1.3
SETTINGS = {
    "shared_buffers": "1GB",
    "max_connections": "40",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "8GB",
    "fsync": "off",
    "synchronous_commit": "off",
    "jit": "off",
}


class RowsRead(msgspec.Struct):
    """Rows one build read: by sequential scan, and fetched by index; both for the tables it read most of, partitions
    taken together."""

    sequentially: int
    by_index: int
    most_read: dict[str, tuple[int, int]]


class Night(msgspec.Struct):
    """One history: its size, what building from nothing took, what the two following nights took.

    `incremental_seconds`: the nightly command with its tests. `models_seconds`: the night after, the models alone.
    """

    days: int
    rows: dict[str, int]
    full_refresh_seconds: float
    incremental_seconds: float
    models_seconds: float
    rows_read_by_full_refresh: RowsRead
    rows_read_by_night: RowsRead


class Report(msgspec.Struct):
    """`rows`: exercise logs of the long history. `ratio`: its night over its full refresh. `growth`: its night over the
    short history's. `grown`: tables of which its night read over 10,000 rows and more than the target's growth, with
    what the short one's night read and its own. `trigger_us_per_row`: what the change log adds to a row written
    by a statement of its own."""

    rows: int
    full_refresh_seconds: float
    incremental_seconds: float
    ratio: float
    growth: float
    target_ratio: float
    target_growth: float
    rows_read_growth: float
    grown: dict[str, tuple[int, int]]
    trigger_us_per_row: float
    cpu_count: int | None
    long: Night
    short: Night


@click.command()
@click.option("--logs", default=5_000_000, show_default=True, help="Exercise logs of the long history.")
@click.option("--days", default=730, show_default=True, help="Days it lasts; the short one lasts a tenth.")
@click.option("--reps-per-session", default=1, show_default=True, help="Repetitions stored of a session.")
@click.option(
    "--report", default=str(PROJECT_DIR / "build" / "reports" / "bench_marts.json"), type=click.Path(path_type=Path)
)
def marts(logs: int, days: int, reps_per_session: int, report: Path) -> None:
    """The night after one new day against a full refresh, over two histories, one ten times as long."""
    # Plans that begin in the last weeks have not had all their sittings.
    plans = round(logs / LOGS_PER_PLAN / (1 - PLAN_DAYS / 2 / days)) + 100
    nights = []
    trigger_us = 0.0
    for factor in (10, 1):
        with _server() as (server, folder):
            history = _History(server, folder, days // factor, plans // factor, reps_per_session)
            history.write()
            nights.append(history.measure())
            trigger_us = history.trigger_us_per_row()
    short, long = nights
    written = Report(
        rows=long.rows["core.patient_exercise_logs"],
        full_refresh_seconds=long.full_refresh_seconds,
        incremental_seconds=long.incremental_seconds,
        ratio=round(long.incremental_seconds / long.full_refresh_seconds, 4),
        growth=round(long.incremental_seconds / short.incremental_seconds, 3),
        target_ratio=TARGET_RATIO,
        target_growth=TARGET_GROWTH,
        rows_read_growth=round(_read(long) / _read(short), 3),
        grown=_grown(short.rows_read_by_night.most_read, long.rows_read_by_night.most_read),
        trigger_us_per_row=trigger_us,
        cpu_count=os.cpu_count(),
        long=long,
        short=short,
    )
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_bytes(msgspec.json.format(msgspec.json.encode(written), indent=2) + b"\n")
    click.echo(
        f"{written.rows} exercise logs: full refresh {written.full_refresh_seconds} s, "
        f"a night {written.incremental_seconds} s (ratio {written.ratio}, target {TARGET_RATIO}; "
        f"growth {written.growth}, target {TARGET_GROWTH})\nReport: {report}"
    )


def _read(night: Night) -> int:
    return night.rows_read_by_night.sequentially + night.rows_read_by_night.by_index


def _grown(short: dict[str, tuple[int, int]], long: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    sums = {table: (sum(short.get(table, (0, 0))), sum(counts)) for table, counts in long.items()}
    return {table: (was, now) for table, (was, now) in sums.items() if now > max(10_000, TARGET_GROWTH * was)}


class _History:
    """One database with one history in it."""

    def __init__(self, server: PostgresServer, folder: Path, days: int, plans: int, reps_per_session: int) -> None:
        self._days = days
        self._plans = plans
        self._first_day = LAST_DAY - dt.timedelta(days=days)
        self._reps = reps_per_session
        self._url = database_url(server.admin_url, "bench_marts")
        migrate(self._url)
        logins = Logins(self._url, secrets.token_hex(16))
        logins.provision()
        self._builder_url = logins.url("analytics_builder")
        self._folder = folder

    def write(self) -> None:
        """Everything before the last day. Foreign keys and the change log rest meanwhile: nothing was built yet."""
        click.echo(f"Writing {self._days} days of {self._plans} plans")
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(
                "select telemetry.ensure_partitions(%s, %s)", [self._first_day, LAST_DAY + dt.timedelta(days=31)]
            )
            connection.execute("set session_replication_role = replica")
            reference = {"first_day": self._first_day, "days": self._days, "plans": self._plans}
            self._run(connection, "marts_reference", {**reference, "organisations": ORGANISATIONS})
            for day in range(0, self._days, DAYS_AT_ONCE):
                self._write_days(connection, day, min(day + DAYS_AT_ONCE, self._days))
            connection.execute("vacuum analyze")

    def measure(self) -> Night:
        """Build from nothing, then two nights, each after one new day and late results of the day before."""
        full_refresh_seconds, read_fully = self._timed(0, "run", "--full-refresh")
        self._new_day(0)
        incremental_seconds, read = self._timed(1, "build", "--exclude-resource-type", "unit_test")
        rows = self._rows()
        self._new_day(1)
        models_seconds, _ = self._timed(2, "run")
        return Night(
            days=self._days,
            rows=rows,
            full_refresh_seconds=full_refresh_seconds,
            incremental_seconds=incremental_seconds,
            models_seconds=models_seconds,
            rows_read_by_full_refresh=read_fully,
            rows_read_by_night=read,
        )

    def trigger_us_per_row(self) -> float:
        """One row a statement, as the Core API and the subscriber write: with the change log and without."""
        statement = "update core.patient_exercise_logs set actual_sets = 1 where id = %s"
        with psycopg.connect(self._url) as connection:
            ids = [row[0] for row in connection.execute("select id from core.patient_exercise_logs limit 5000")]
            took = []
            for role in ("replica", "origin") * 2:
                connection.execute(sql.SQL("set session_replication_role = {}").format(sql.Literal(role)))
                began = time.perf_counter()
                for key in ids:
                    connection.execute(statement, [key])
                took.append(time.perf_counter() - began)
            connection.rollback()
        return round((min(took[1::2]) - min(took[::2])) / len(ids) * 1e6, 1)

    def _new_day(self, number: int) -> None:
        """Day `number` after the history, through the triggers."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            self._write_days(connection, self._days + number, self._days + number + 1)
            day = LAST_DAY + dt.timedelta(days=number - 1)
            self._run(connection, "marts_late", {"day": day})

    def _write_days(self, connection: psycopg.Connection[Any], from_day: int, until_day: int) -> None:
        bounds = {"first_day": self._first_day, "from_day": from_day, "until_day": until_day}
        self._run(connection, "marts_days", {**bounds, "reps_per_session": self._reps})
        if from_day % 100 == 0:
            click.echo(f"  day {from_day} of {self._days}")

    def _run(self, connection: psycopg.Connection[Any], name: str, values: dict[str, Any]) -> None:
        with connection.transaction():
            for statement in (SQL / f"{name}.sql").read_text().split(";\n"):
                connection.execute(statement.encode(), values)

    def _timed(self, night: int, *arguments: str) -> tuple[float, RowsRead]:
        """Run dbt; its seconds by the clock, and the rows the server says it read."""
        as_of = dt.datetime.combine(LAST_DAY + dt.timedelta(days=night), dt.time(2, 15), dt.UTC)
        given = ["--vars", json.dumps({"as_of": as_of.isoformat()})]
        # A variable's new value makes dbt read the whole project anew; in production none is given, and the project was
        # read when it was deployed.
        self._dbt(["parse", *given])
        before = self._reads()
        click.echo(f"dbt {' '.join(arguments)}")
        began = time.perf_counter()
        self._dbt([*arguments, *given])
        seconds = round(time.perf_counter() - began, 1)
        time.sleep(2)  # counts reach the view when a connection ends, or a second later
        after = self._reads()
        read: dict[str, tuple[int, int]] = {}
        for key, (scanned, fetched) in after.items():
            was = before.get(key, (0, 0))
            table = MONTH.sub("", key[1])
            so_far = read.get(table, (0, 0))
            read[table] = (so_far[0] + scanned - was[0], so_far[1] + fetched - was[1])
        most = sorted(read, key=lambda table: -sum(read[table]))[:30]
        return seconds, RowsRead(
            sequentially=sum(counts[0] for counts in read.values()),
            by_index=sum(counts[1] for counts in read.values()),
            most_read={table: read[table] for table in most},
        )

    def _reads(self) -> dict[tuple[int, str], tuple[int, int]]:
        """By table; a mart that is made anew is another table of the same name."""
        with psycopg.connect(self._url) as connection:
            rows = connection.execute(
                "select relid::bigint, schemaname || '.' || relname, seq_tup_read, coalesce(idx_tup_fetch, 0)"
                " from pg_stat_user_tables"
            ).fetchall()
        return {(relation, name): (scanned, fetched) for relation, name, scanned, fetched in rows}

    def _rows(self) -> dict[str, int]:
        counts = {}
        with psycopg.connect(self._url) as connection:
            for schema, table in (
                ("core", "patient_treatment_plans"),
                ("core", "patient_session_completions"),
                ("core", "patient_exercise_logs"),
                ("telemetry", "pose_session_metrics"),
                ("telemetry", "pose_rep_metrics"),
                ("telemetry", "media_session_metrics"),
            ):
                row = connection.execute(
                    sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
                ).fetchone()
                counts[f"{schema}.{table}"] = 0 if row is None else row[0]
        return counts

    def _dbt(self, arguments: Sequence[str]) -> None:
        environ = {
            **os.environ,
            **profile_variables(self._builder_url),
            "DBT_TARGET_PATH": str(self._folder / "target"),
            "DBT_LOG_PATH": str(self._folder / "logs"),
            "DBT_PROJECT_DIR": str(DBT_PROJECT_DIR),
            "DBT_PROFILES_DIR": str(DBT_PROJECT_DIR),
        }
        done = subprocess.run(
            [dbt_executable(), *arguments], env=environ, capture_output=True, text=True, check=False, timeout=7200
        )
        if done.returncode != 0:
            raise click.ClickException(f"dbt failed:\n{done.stdout[-4000:]}{done.stderr[-1000:]}")


@contextlib.contextmanager
def _server() -> Iterator[tuple[PostgresServer, Path]]:
    """A server of the benchmark's own, with memory for it, and a folder for dbt; both removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="restartix-bench-marts-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder) / "data", free_run(1), secrets.token_hex(16), SETTINGS)
        with server.running(log=Path(folder) / "postgres.log"):
            yield server, Path(folder)
