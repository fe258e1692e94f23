"""What the audit chain costs: how long a mutation and its COMMIT take at 200 a second in one organisation, beside the
same mutation without an audit row. Writes build/reports/bench_audit.json.

The organisation's head is locked from the chain's trigger, which is deferred to COMMIT, to the commit's flush: so one
organisation commits one audited mutation after the other, and a disk's flush time bounds their rate. Arrivals are at a
fixed rate whatever the answers take (open loop), and a latency counts from when its mutation was due.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from core_api.audit import Author, record
from core_api.database import Tx, enter_tenant
from infra.stack.loopback import free_run
from infra.stack.postgres import PostgresServer
from infra.stack.state import PROJECT_DIR
from infra.stack.throwaway import Database, DatabaseServer, cloned_database, scratch_folder, template_database

RATE_PER_S: Final = 200
KEPT_SHARE: Final = 0.98  # of the rate; below, mutations queue up
_SEED = """
insert into core.organisations (id, name) values (1, 'One');
insert into core.exercises (organisation_id, name, movement_profile) select 1, 'e' || n, 'x'
  from generate_series(1, 500) n;
"""


def _mutation(author: Author | None) -> Callable[[Tx, int], None]:
    def mutate(tx: Tx, number: int) -> None:
        row = tx.execute(
            "update core.exercises set media_id = %s where name = %s returning id",
            [str(number), f"e{number % 500 + 1}"],
        ).fetchone()
        assert row is not None
        if author is not None:
            record(tx, author, "exercise.change", "core.exercises", row["id"], fields=["media_id"])

    return mutate


def _run(pool: ConnectionPool[Any], mutate: Callable[[Tx, int], None], seconds: float, threads: int) -> dict[str, Any]:
    count = int(RATE_PER_S * seconds)
    took_ms = np.zeros(count)
    turn, lock = iter(range(count)), threading.Lock()
    began_s = time.monotonic() + 0.2

    def work() -> None:
        while True:
            with lock:
                number = next(turn, None)
            if number is None:
                return
            due_s = began_s + number / RATE_PER_S
            time.sleep(max(0.0, due_s - time.monotonic()))
            with pool.connection() as connection:
                enter_tenant(connection, 1)
                mutate(connection, number)
            took_ms[number] = (time.monotonic() - due_s) * 1000

    with ThreadPoolExecutor(threads) as executor:
        for done in [executor.submit(work) for _ in range(threads)]:
            done.result()
    elapsed_s = time.monotonic() - began_s
    p50, p95, p99 = (round(float(value), 2) for value in np.percentile(took_ms, [50, 95, 99]))
    return {"mutations": count, "per_second": round(count / elapsed_s, 1), "p50_ms": p50, "p95_ms": p95, "p99_ms": p99,
            "worst_ms": round(float(took_ms.max()), 2)}  # fmt: skip


def _flush_ms(folder: Path) -> float:
    """The median of a small append and its fsync in a folder: what a commit's flush costs at least there."""
    path = folder / ".flush"
    samples = []
    with path.open("wb") as file:
        for _ in range(100):
            began_s = time.monotonic()
            file.write(b"x" * 512)
            file.flush()
            os.fsync(file.fileno())
            samples.append((time.monotonic() - began_s) * 1000)
    path.unlink()
    return round(float(np.median(samples)), 3)


@contextlib.contextmanager
def _durable_server() -> Iterator[tuple[DatabaseServer, Path]]:
    """A server that flushes at every commit, as in production (tests' servers do not), and the folder of its data."""
    with scratch_folder("postgres") as folder:
        server = PostgresServer(folder / "data", free_run(1), secrets.token_hex(16))
        with server.running(log=folder / "postgres.log"):
            yield DatabaseServer(server.admin_url, secrets.token_hex(16)), folder


@click.command()
@click.option("--seconds", default=20.0, show_default=True)
@click.option("--threads", default=16, show_default=True, help="Connections at once.")
def audit(seconds: float, threads: int) -> None:
    """The audit chain at 200 mutations a second in one organisation, against no audit."""
    reports = PROJECT_DIR / "build" / "reports"
    reports.mkdir(parents=True, exist_ok=True)
    before = os.getloadavg()[0]
    with contextlib.ExitStack() as stack:
        server, folder = stack.enter_context(_durable_server())
        clone = stack.enter_context(cloned_database(server, stack.enter_context(template_database(server))))
        report = _measure(clone, seconds, threads) | {"flush_ms": _flush_ms(folder)}
    report |= {"cpu_count": os.cpu_count(), "python": platform.python_version(),
               "load_average_before": round(before, 2)}  # fmt: skip
    (reports / "bench_audit.json").write_text(json.dumps(report, indent=2) + "\n")
    click.echo(table(report))


def table(report: dict[str, Any]) -> str:
    """The figures for people. A rate that was not kept is said: its latencies then measure a queue that only grows."""
    rate = report["rate_per_s"]
    lines = [f"{rate} mutations a second in one organisation, over {report['connections']} connections", "",
             f"{'':<16}{'a second':>10}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}{'worst ms':>10}"]  # fmt: skip
    for name in ("without_audit", "audited"):
        run = report[name]
        figures = "".join(f"{run[figure]:>10g}" for figure in ("per_second", "p50_ms", "p95_ms", "p99_ms", "worst_ms"))
        lines.append(f"{name.replace('_', ' '):<16}{figures}")
        if run["per_second"] < KEPT_SHARE * rate:
            lines.append(
                f"{'':<16}the rate was NOT kept: the machine or its disk is too slow, and these are no latencies"
            )
    settings = ", ".join(f"{name} {value}" for name, value in sorted(report["postgres"].items()))
    lines += ["", f"{settings}; a flush takes {report['flush_ms']} ms; {report['cpu_count']} CPUs, load before"
              f" {report['load_average_before']}"]  # fmt: skip
    return "\n".join(lines)


def _measure(database: Database, seconds: float, threads: int) -> dict[str, Any]:
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        for statement in filter(str.strip, _SEED.split(";")):
            connection.execute(statement.encode())
        settings: dict[str, str] = dict(connection.execute(
            "select name, setting from pg_settings where name in ('fsync', 'synchronous_commit', 'server_version')"
        ).fetchall())  # fmt: skip
    plain, audited = _mutation(None), _mutation(Author(None, "operator", "bench"))
    with ConnectionPool[Any](
        database.url("core_api"), kwargs={"row_factory": dict_row}, min_size=threads, max_size=threads, open=True
    ) as pool:
        pool.wait()
        _run(pool, audited, 2, threads)
        without, with_audit = _run(pool, plain, seconds, threads), _run(pool, audited, seconds, threads)
    return {"rate_per_s": RATE_PER_S, "connections": threads, "postgres": settings, "without_audit": without,
            "audited": with_audit}  # fmt: skip


if __name__ == "__main__":
    audit(prog_name="python -m infra.bench.audit")
