"""Who is measured: each brought up fresh on its own core, and taken down with everything it wrote.

Belongs here: command lines, environments, readiness. Does not belong here: sending anything that counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from infra.bench.build import Programs
from infra.bench.workload import NODE_ID
from infra.stack import tether
from infra.stack.keys import SigningKeys
from infra.stack.loopback import HOST, free_run
from infra.stack.state import PROJECT_DIR
from infra.stack.throwaway import Database

GEVENT_CLASS = "gevent"
_RATE_FOR_SATURATION = 1_000_000  # a session's rate is checked as ever, but may not stop 64 of them filling a core


class ContestantFailedError(RuntimeError):
    """It did not start, or is not what it was; the message carries the end of its log."""


@dataclass(frozen=True, slots=True)
class Cores:
    """One core for who is measured, another for everything else."""

    measured: int
    others: int

    @classmethod
    def choose(cls) -> Cores | None:
        """The first two this process may use; None where there is only one."""
        allowed = sorted(os.sched_getaffinity(0))
        return cls(allowed[0], allowed[1]) if len(allowed) > 1 else None


def pinned(core: int, command: list[str]) -> list[str]:
    """The command on one core, ending with this process whatever happens to it."""
    return tether.wrap(["taskset", "-c", str(core), *command], parent_pid=os.getpid(), on_parent_exit=signal.SIGKILL)


@dataclass(slots=True)
class Running:
    """A contestant that is up. `raw`: speaks the physical limit's framing instead of HTTP."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    folder: Path
    raw: bool = False

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def accepted(self) -> Mapping[str, float]:
        """Its own count of accepted records by kind, from /metrics."""
        return parse_accepted(self._metrics())

    def refused(self) -> Mapping[str, float]:
        """Its own count of refusals by code, where it tells codes apart."""
        return {} if self.raw else parse_refused(self._metrics())

    def _metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics", timeout=10, verify=False).text


@dataclass(frozen=True, slots=True)
class Arena:
    """What contestants need to start: cores, programs, a folder on a real disk, keys and (the service) a database."""

    cores: Cores
    programs: Programs
    folder: Path
    keys: SigningKeys
    database: Database
    gather_ms: float
    extra: Mapping[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def service(self, name: str, worker_class: str | None, *, saturated: bool = True) -> Iterator[Running]:
        """The ingest service, one worker, as in production but for the rate a session may send at."""
        port = free_run(1)
        gunicorn = str(Path(sys.executable).with_name("gunicorn"))
        command = [gunicorn, "-c", "ingest_service/gunicorn.conf.py", "ingest_service.wsgi:app"]
        with self._fresh_folder() as folder:
            environment = {
                **os.environ,
                "RESTARTIX_DATABASE_URL": self.database.url("ingest"),
                "RESTARTIX_DATA_DIR": str(folder / "data"),
                "RESTARTIX_NODE_ID": NODE_ID,
                "RESTARTIX_INGEST_URL": f"http://{HOST}:{port}",
                "RESTARTIX_JWKS": str(self.keys.jwks_path),
                "RESTARTIX_PORTAL_ORIGINS": "https://portal.example",
                "RESTARTIX_BIND": f"{HOST}:{port}",
                "RESTARTIX_GATHER_MS": str(self.gather_ms),
                "WEB_CONCURRENCY": "1",
                **self.extra,
            }
            if worker_class is not None:
                environment["RESTARTIX_WORKER_CLASS"] = worker_class
            if saturated:
                environment["RESTARTIX_BATCH_RATE_PER_S"] = str(_RATE_FOR_SATURATION)
                environment["RESTARTIX_BATCH_BURST"] = str(_RATE_FOR_SATURATION)
            with self._started(name, command, port, folder, environment) as running:
                _await(running, lambda: httpx.get(f"{running.url}/readyz", timeout=5, verify=False).status_code == 200)
                yield running

    @contextlib.contextmanager
    def go_peer(self, *, saturated: bool = True) -> Iterator[Running]:
        """The plain Go service. Two threads may run Go code: one blocked in a sync must not stop the other."""
        assert self.programs.go_peer is not None
        port = free_run(1)
        with self._fresh_folder() as folder:
            command = [str(self.programs.go_peer), "-listen", f"{HOST}:{port}", "-jwks", str(self.keys.jwks_path)]
            command += ["-log", str(folder / "wal"), "-node", NODE_ID, "-gather", f"{self.gather_ms}ms"]
            if saturated:
                command += ["-rate", str(_RATE_FOR_SATURATION), "-burst", str(_RATE_FOR_SATURATION)]
            with self._started("go_peer", command, port, folder, {**os.environ, "GOMAXPROCS": "2"}) as running:
                _await(running, lambda: bool(running.accepted()))
                yield running

    @contextlib.contextmanager
    def physical_limit(self) -> Iterator[Running]:
        """The least the same bytes can cost."""
        assert self.programs.physical_limit is not None
        port = free_run(1)
        with self._fresh_folder() as folder:
            gather_us = str(round(self.gather_ms * 1000))
            command = [str(self.programs.physical_limit), str(port), str(folder / "wal"), gather_us]
            with self._started("physical_limit", command, port, folder, dict(os.environ), raw=True) as running:
                _await(running, lambda: b"ready" in _log(running))
                yield running

    @contextlib.contextmanager
    def _fresh_folder(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="run-", dir=self.folder, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    @contextlib.contextmanager
    def _started(
        self, name: str, command: list[str], port: int, folder: Path, environment: dict[str, str], *, raw: bool = False
    ) -> Iterator[Running]:
        with (folder / "log").open("wb") as output:
            process = subprocess.Popen(
                pinned(self.cores.measured, command),
                cwd=PROJECT_DIR,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            yield Running(name, process, port, folder, raw)
        finally:
            _end(process)


def default_worker_class() -> str:
    """The worker class gunicorn is configured with (RESTARTIX_WORKER_CLASS counts, as it does for the service); read
    in a process of its own, because the configuration patches the interpreter it runs in."""
    program = (
        "import json, runpy; print(json.dumps(str(runpy.run_path('ingest_service/gunicorn.conf.py')['worker_class'])))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=PROJECT_DIR)
    name: str = json.loads(done.stdout.splitlines()[-1])
    return name.replace(":", ".")


def other_worker_classes(default: str) -> list[str]:
    """The classes there are besides the default: gunicorn's own, and those of `ingest_service.worker`."""
    source = PROJECT_DIR / "ingest_service" / "worker.py"
    own = re.findall(r"^class (\w*Worker)\(", source.read_text(), re.MULTILINE) if source.exists() else []
    return [name for name in (GEVENT_CLASS, *(f"ingest_service.worker.{name}" for name in own)) if name != default]


def parse_accepted(exposition: str) -> dict[str, float]:
    """`ingest_accepted_total` by kind, from Prometheus text; what was never counted is 0."""
    return {"batch": 0.0, "duplicate": 0.0, **_by_label(exposition, "ingest_accepted_total", "kind")}


def parse_refused(exposition: str) -> dict[str, float]:
    """`ingest_rejected_total` by code, from Prometheus text."""
    return _by_label(exposition, "ingest_rejected_total", "code")


def _by_label(exposition: str, metric: str, label: str) -> dict[str, float]:
    pattern = re.compile(rf'^{metric}\{{{label}="([^"]*)"\}} (\S+)$', re.MULTILINE)
    return {name: float(value) for name, value in pattern.findall(exposition)}


def _log(running: Running) -> bytes:
    return (running.folder / "log").read_bytes()


def _await(running: Running, holds: Callable[[], bool], wait_s: float = 60) -> None:
    deadline_s = time.monotonic() + wait_s
    while time.monotonic() < deadline_s:
        if running.process.poll() is not None:
            break
        with contextlib.suppress(httpx.TransportError):
            if holds():
                return
        time.sleep(0.05)
    tail = _log(running)[-2000:].decode(errors="replace")
    raise ContestantFailedError(f"{running.name} did not become ready\n{tail}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then the whole session: nothing it started outlives it."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(15)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
