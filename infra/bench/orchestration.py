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
JOBS = (
    "sweep",
    "keeping_up",
    "plan_expiry",
    "orphaned_uploads",
    "reconciliation",
    "housekeeping",
    "retention",
    "nightly_marts",
)
SENSORS = ("silent_sessions", "standstill", "failed_checks")
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
        with _as_this_process(environ):
            jobs, sensors = _in_process(rounds, say)
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


@contextlib.contextmanager
def _as_this_process(environ: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


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


def _in_process(rounds: int, say: Callable[[str], None]) -> tuple[list[Latency], list[Latency]]:
    import dagster as dg  # noqa: PLC0415 - seconds, which are measured in a process of their own

    from orchestration.definitions import defs  # noqa: PLC0415

    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    definitions = defs()
    repository = definitions.get_repository_def()
    jobs, sensors = [], []
    with dg.DagsterInstance.get() as instance:
        for name in JOBS:
            taken = []
            for _ in range(rounds if name != "nightly_marts" else 1):
                began = time.perf_counter()
                done = definitions.resolve_job_def(name).execute_in_process(
                    instance=instance, run_config=quiet, raise_on_error=False
                )
                if not done.success:
                    raise RuntimeError(f"the job {name} failed")
                taken.append(time.perf_counter() - began)
            jobs.append(_told(say, f"job {name}", taken))
        for name in SENSORS:
            sensor, taken = repository.get_sensor_def(name), []
            for _ in range(rounds):
                resources = repository.get_top_level_resources()
                began = time.perf_counter()
                with dg.build_sensor_context(
                    instance=instance, repository_def=repository, resources=resources
                ) as context:
                    sensor.evaluate_tick(context)
                taken.append(time.perf_counter() - began)
            sensors.append(_told(say, f"sensor {name}", taken))
    return jobs, sensors


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
