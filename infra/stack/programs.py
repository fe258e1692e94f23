"""The processes of the local stack: each one's command, environment, and how to tell that it is ready.

Belongs here: the list, in starting order. Does not belong here: starting them (`lifecycle.py`).
"""

from __future__ import annotations

import http.client
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.stack import environment, tether
from infra.stack.loopback import HOST
from infra.stack.s3 import quiet_environment
from infra.stack.state import PROJECT_DIR, StackState, is_listening


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised process.

    `ready` tells whether it serves; None where running is all there is to see. `timeout_s` bounds the wait for it.
    """

    name: str
    title: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    ready: Callable[[], bool] | None
    url: str | None = None
    stop_signal: str = "TERM"
    stop_wait_s: int = 20
    timeout_s: float = 60.0
    directory: Path = PROJECT_DIR


def servers(state: StackState) -> list[Program]:
    """PostgreSQL and S3, as far as they are ours to run."""
    found: list[Program] = []
    postgres, s3 = state.postgres, state.s3_server
    if postgres is not None:
        found.append(
            Program(
                name="postgres",
                title="PostgreSQL",
                command=tuple(postgres.command(parent_pid=0)),
                environment={"PATH": environment.base(state)["PATH"], "LANG": "C.UTF-8", "TZ": "UTC"},
                ready=postgres.answers,
                url=f"{HOST}:{postgres.port}",
                stop_signal="INT",
                directory=Path("/"),
            )
        )
    if s3 is not None:
        found.append(
            Program(
                name="s3",
                title="S3 (SeaweedFS)",
                command=tuple(s3.command(parent_pid=0)),
                environment=quiet_environment(s3.directory),
                ready=s3.endpoint.accepts_writes,
                url=s3.endpoint.endpoint_url,
                directory=s3.directory,
            )
        )
    return found


def services(state: StackState) -> list[list[Program]]:
    """Our own processes and Dagster, in stages: each stage is ready before the next one starts."""
    code_server, *dagster = _dagster(state)
    # Dagster's daemon and pages look for the code once, and then only every minute.
    return [[*_http_services(state), *_workers(state), code_server], dagster]


def _http_services(state: StackState) -> list[Program]:
    def gunicorn(room: str, port_name: str) -> tuple[str, ...]:
        command = [_script("gunicorn"), "-c", f"{room}/gunicorn.conf.py", "--no-control-socket"]
        command += ["-b", f"{HOST}:{state.ports[port_name]}", f"{room}.wsgi:app"]
        return _tethered(command)

    return [
        Program(
            name="core_api",
            title="Core API",
            command=gunicorn("core_api", "core_api"),
            environment=environment.core_api(state),
            ready=lambda: http_serves(f"{state.url('core_api')}/readyz"),
            url=state.url("core_api"),
        ),
        Program(
            name="ingest",
            title="Ingest service",
            command=gunicorn("ingest_service", "ingest"),
            environment=environment.ingest(state),
            ready=lambda: http_serves(f"{state.url('ingest')}/readyz"),
            url=state.url("ingest"),
        ),
    ]


def _workers(state: StackState) -> list[Program]:
    return [
        Program(
            name=name,
            title=title,
            command=_tethered([sys.executable, "-m", "infra.cli", name]),
            environment=variables,
            ready=None,
        )
        for name, title, variables in (
            ("finaliser", "Finaliser", environment.finaliser(state)),
            ("subscriber", "Subscriber", environment.subscriber(state)),
        )
    ]


def _dagster(state: StackState) -> list[Program]:
    """One code server, used by web server and daemon: the code is loaded once, and it alone holds secrets."""
    home = state.folder("dagster")
    workspace = home / "workspace.yaml"
    code_port = state.ports["dagster_code"]
    api = [_script("dagster"), "api", "grpc", "--module-name", "orchestration.definitions"]
    web = [_script("dagster-webserver"), "--host", HOST, "--port", str(state.ports["dagster"])]
    return [
        Program(
            name="dagster_code",
            title="Dagster code location",
            command=_tethered([*api, "--host", HOST, "--port", str(code_port)]),
            environment=environment.orchestration(state),
            ready=lambda: is_listening(code_port),
            timeout_s=120,
        ),
        Program(
            name="dagster_daemon",
            title="Dagster daemon",
            command=_tethered([_script("dagster-daemon"), "run", "--workspace", str(workspace)]),
            environment=environment.dagster(state),
            ready=None,
            directory=home,
        ),
        Program(
            name="dagster_web",
            title="Dagster",
            command=_tethered([*web, "--workspace", str(workspace)]),
            environment=environment.dagster(state),
            ready=lambda: http_serves(f"{state.url('dagster')}/server_info"),
            url=state.url("dagster"),
            timeout_s=120,
            directory=home,
        ),
    ]


def http_serves(url: str) -> bool:
    """Whether an HTTP GET succeeds now."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError as refused:
        refused.close()
        return False
    except (OSError, http.client.HTTPException):
        return False


def _script(name: str) -> str:
    """A console script of the environment this runs in."""
    return str(Path(sys.executable).parent / name)


def _tethered(command: list[str]) -> tuple[str, ...]:
    return tuple(tether.wrap(command, parent_pid=0, on_parent_exit=signal.SIGTERM))
