"""How long an operator waits for Dagster: until its definitions are loaded, its code server answers, a sensor has
looked and a job has run. Writes build/reports/bench_orchestration.json.

On a database and a bucket of its own, empty: what is measured is the machinery around the work, which is what every run
costs however little there is to do. Wall time; the median of the rounds, each of them in the report.

Belongs here: measuring. Does not belong here: what the jobs cost on years of data (``marts``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click
import msgspec

from infra.stack.loopback import free_run
from infra.stack.state import PROJECT_DIR, is_listening
from infra.stack.throwaway import cloned_database, database_server, fresh_bucket, s3_service, template_database

START_TIMEOUT_S = 300
RUN_TIMEOUT_S = 3600
_LOAD = "import warnings; warnings.simplefilter('ignore'); from orchestration.definitions import defs; defs()"


class Latency(msgspec.Struct):
    """One thing waited for. ``seconds`` is the median of ``rounds``."""

    what: str
    seconds: float
    rounds: list[float]


class OrchestrationReport(msgspec.Struct):
    """What was waited for, and where."""

    made_at: str
    cores: int
    python: str
    load_average_before: float
    load_average_after: float
    start_up: list[Latency]
    jobs: list[Latency]
    sensors: list[Latency]


def measure(rounds: int, say: Callable[[str], None]) -> OrchestrationReport:
    """Start and run everything ``rounds`` times. Raises ``RuntimeError`` where something does not succeed."""
    load_before = os.getloadavg()[0]
    with _environment() as environ:
        start_up = [
            _told(say, "definitions, dbt project parsed anew", [_loading(environ, fresh=True)]),
            _told(say, "definitions, parsed before", [_loading(environ) for _ in range(rounds)]),
            _told(say, "code server listens", [_code_server(environ) for _ in range(rounds)]),
            _told(say, "job sweep in a process of its own", [_launched(environ, "sweep") for _ in range(rounds)]),
        ]
        jobs, sensors = _in_process(environ, rounds, say)
    return OrchestrationReport(
        made_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        cores=os.cpu_count() or 0,
        python=sys.version.partition(" ")[0],
        load_average_before=round(load_before, 2),
        load_average_after=round(os.getloadavg()[0], 2),
        start_up=start_up,
        jobs=jobs,
        sensors=sensors,
    )


@contextlib.contextmanager
def _environment() -> Iterator[dict[str, str]]:
    with (
        tempfile.TemporaryDirectory(prefix="restartix-orchestration-") as folder,
        database_server(os.environ) as server,
        template_database(server) as template,
        cloned_database(server, template) as database,
        s3_service(os.environ) as endpoint,
        fresh_bucket(endpoint) as bucket,
    ):
        home = Path(folder) / "dagster"
        home.mkdir()
        (home / "dagster.yaml").write_bytes((PROJECT_DIR / "orchestration" / "dagster.yaml").read_bytes())
        yield {
            **os.environ,
            **bucket.environment(),
            "RESTARTIX_STATE": folder,
            "DAGSTER_HOME": str(home),
            "RESTARTIX_SWEEPER_DATABASE_URL": database.url("sweeper"),
            "RESTARTIX_ANALYTICS_DATABASE_URL": database.url("analytics_builder"),
        }


def _loading(environ: Mapping[str, str], *, fresh: bool = False) -> float:
    if fresh:
        (Path(environ["RESTARTIX_STATE"]) / "dbt" / "target" / "manifest.digest").unlink(missing_ok=True)
    return _run([sys.executable, "-c", _LOAD], environ)


def _launched(environ: Mapping[str, str], job: str) -> float:
    dagster = str(Path(sys.executable).parent / "dagster")
    return _run([dagster, "job", "execute", "-m", "orchestration.definitions", "-j", job], environ)


def _run(command: list[str], environ: Mapping[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        command, env=environ, cwd=PROJECT_DIR, capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - began


def _code_server(environ: Mapping[str, str]) -> float:
    port = free_run(1)
    dagster = str(Path(sys.executable).parent / "dagster")
    command = [dagster, "api", "grpc", "--module-name", "orchestration.definitions", "--host", "127.0.0.1"]
    began = time.perf_counter()
    with subprocess.Popen(
        [*command, "--port", str(port)],
        env=environ,
        cwd=PROJECT_DIR,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            while not is_listening(port):
                if process.poll() is not None or time.perf_counter() - began > START_TIMEOUT_S:
                    raise RuntimeError("the code server did not start")
                time.sleep(0.02)
            return time.perf_counter() - began
        finally:
            process.terminate()


def _in_process(environ: Mapping[str, str], rounds: int, say: Callable[[str], None]) -> tuple[list[Latency], ...]:
    """Jobs and sensors, made in a process of the orchestration's own: this room does not load Dagster."""
    command = [sys.executable, "-W", "ignore", "-m", "orchestration.cli", "latency", "--rounds", str(rounds)]
    done = subprocess.run(
        command, env=environ, cwd=PROJECT_DIR, capture_output=True, text=True, check=False, timeout=RUN_TIMEOUT_S
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    taken = msgspec.json.decode(done.stdout.splitlines()[-1], type=dict[str, dict[str, list[float]]])
    return tuple(
        [_told(say, f"{kind} {name}", spent) for name, spent in taken[kind].items()] for kind in ("job", "sensor")
    )


def _told(say: Callable[[str], None], what: str, rounds: list[float]) -> Latency:
    found = Latency(what, round(statistics.median(rounds), 3), [round(one, 3) for one in rounds])
    say(f"  {what:<42}{found.seconds:>9.3f} s")
    return found


@click.command()
@click.option("--rounds", type=click.IntRange(1, 50), default=3, show_default=True, help="The median of these counts.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=PROJECT_DIR / "build" / "reports" / "bench_orchestration.json",
    show_default="build/reports/bench_orchestration.json",
)
def orchestration(rounds: int, out: Path) -> None:
    """Measure how long Dagster takes to start, to look and to run each job."""
    report = measure(rounds, click.echo)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    click.echo(f"Report: {out}")
