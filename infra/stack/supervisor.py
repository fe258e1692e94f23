"""supervisord as the runner of the local stack: its configuration, its start, questions to it, and its end.

Belongs here: everything that knows supervisord. Does not belong here: which programs there are, or their order.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# supervisor ships no types; the three calls made of it are typed here.
from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

from infra.stack.keys import write_secret
from infra.stack.programs import Program
from infra.stack.state import StackState

LOG_BYTES = 5_000_000
ENDED_STATES = frozenset({"FATAL", "EXITED", "UNKNOWN", "STOPPED"})
# supervisord waits a second longer after each failed start, and begins again with one once a start held: so it does not
# give up for years. Given up, a finaliser that died a few times in a row stayed dead, and nobody was told.
START_RETRIES_MAX = 10_000
START_FAILURES_MAX = 3  # in a row: then who waits for a start is told
_ALIVE_STATES = ("RUNNING", "STARTING", "BACKOFF")


class SupervisorError(RuntimeError):
    """supervisord did not start, stop or answer as it must."""


class Supervisor:
    """The supervisord of one state folder, whether it runs or not."""

    def __init__(self, state: StackState) -> None:
        self._socket = state.supervisor_socket
        self._run_dir = state.folder("run")
        self._log_dir = state.log_dir
        self._config = self._run_dir / "supervisord.conf"
        self._pid_file = self._run_dir / "supervisord.pid"

    def is_running(self) -> bool:
        return self.pid() is not None

    def pid(self) -> int | None:
        """The process id, proved by the configuration on its command line: a number alone may be somebody else's."""
        try:
            pid = int(self._pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self._config) in command else None

    def configure(self, programs: Sequence[Program]) -> None:
        """Write the configuration; processes already running keep theirs until `start` sees that it changed."""
        sections = [_daemon_section(self._socket, self._pid_file, self._log_dir)]
        sections += [_program_section(program, self._log_dir, rank) for rank, program in enumerate(programs)]
        write_secret(self._config, "\n".join(sections).encode())

    def launch(self, *, environ: Mapping[str, str]) -> None:
        """Start supervisord with nothing running under it. Raises SupervisorError."""
        with contextlib.suppress(FileNotFoundError):
            self._socket.unlink()
        command = [str(Path(sys.executable).parent / "supervisord"), "-c", str(self._config)]
        done = subprocess.run(
            command, env=dict(environ), cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SupervisorError(f"supervisord did not start:\n{done.stdout}{done.stderr}")
        self._await(lambda: self._socket.exists() and self.is_running(), 15, "supervisord does not answer")

    def reread(self) -> None:
        """Take over the written configuration: stop what is gone from it or changed in it, and know what is new."""
        with self._rpc() as rpc:
            added, changed, removed = rpc.reloadConfig()[0]
            for name in [*changed, *removed]:
                rpc.stopProcessGroup(name)
                rpc.removeProcessGroup(name)
            for name in [*added, *changed]:
                rpc.addProcessGroup(name)

    def states(self) -> dict[str, str]:
        """Each program's state in supervisord's words (RUNNING, BACKOFF, FATAL, ...); empty if supervisord is down."""
        if not self.is_running():
            return {}
        with self._rpc() as rpc:
            return {info["name"]: info["statename"] for info in rpc.getAllProcessInfo()}

    def start(self, name: str) -> None:
        """Start a program unless it runs; `states` tells how that goes."""
        with self._rpc() as rpc:
            if rpc.getProcessInfo(name)["statename"] not in _ALIVE_STATES:
                rpc.startProcess(name, False)

    def shutdown(self, stages: Iterable[Iterable[str]], *, timeout_s: float = 60.0) -> None:
        """Stop the programs stage by stage, one stage side by side, then supervisord. Raises SupervisorError."""
        pid = self.pid()
        if pid is None:
            return
        try:
            for stage in stages:
                self._stop(set(stage), timeout_s)
            with self._rpc() as rpc:
                rpc.shutdown()
        except (OSError, xmlrpc.client.Error):
            os.kill(pid, signal.SIGTERM)  # its socket is gone; the signal means the same, one program after the other
        self._await(lambda: not self.is_running(), timeout_s, "supervisord does not stop")

    def _stop(self, names: set[str], timeout_s: float) -> None:
        with self._rpc() as rpc:
            for name, state in self.states().items():
                if name in names and state in _ALIVE_STATES:
                    rpc.stopProcess(name, False)
        self._await(
            lambda: not any(self.states().get(name) in (*_ALIVE_STATES, "STOPPING") for name in names),
            timeout_s,
            f"{', '.join(sorted(names))} did not stop",
        )

    def log_path(self, name: str) -> Path:
        return self._log_dir / f"{name}.log"

    def tail(self, name: str, *, lines: int) -> list[str]:
        """The last lines of a program's log."""
        path = self.log_path(name)
        if not path.exists():
            return []
        return path.read_bytes()[-200_000:].decode(errors="replace").splitlines()[-lines:]

    @contextlib.contextmanager
    def _rpc(self) -> Iterator[Any]:
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self._socket}")
        try:
            yield xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor
        except xmlrpc.client.Fault as fault:
            raise SupervisorError(f"supervisord refused: {fault.faultString}") from fault
        finally:
            transport.close()

    def _await(self, condition: Callable[[], object], timeout_s: float, complaint: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                tail = "\n".join(self.tail("supervisord", lines=15))
                raise SupervisorError(f"{complaint} (waited {timeout_s:.0f} s):\n{tail}")
            time.sleep(0.1)


def _daemon_section(socket: Path, pid_file: Path, log_dir: Path) -> str:
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 16_384 if hard_limit == resource.RLIM_INFINITY else min(16_384, hard_limit)
    as_root = "user=root\n" if os.geteuid() == 0 else ""
    return f"""[unix_http_server]
file={_value(socket)}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisord]
{as_root}logfile={_value(log_dir / "supervisord.log")}
logfile_maxbytes={LOG_BYTES}
logfile_backups=1
pidfile={_value(pid_file)}
childlogdir={_value(log_dir)}
umask=077
minfds={files}
silent=true

[supervisorctl]
serverurl=unix://{_value(socket)}
"""


def _program_section(program: Program, log_dir: Path, rank: int) -> str:
    variables = ",".join(f"{name}={_quoted(value)}" for name, value in sorted(program.environment.items()))
    return f"""[program:{program.name}]
command={_value(shlex.join(program.command))}
directory={_value(program.directory)}
environment={variables}
priority={10 + rank}
autostart=false
autorestart=true
startsecs=1
startretries={START_RETRIES_MAX}
stopsignal={program.stop_signal}
stopwaitsecs={program.stop_wait_s}
stopasgroup=false
killasgroup=true
redirect_stderr=true
stdout_logfile={_value(log_dir / f"{program.name}.log")}
stdout_logfile_maxbytes={LOG_BYTES}
stdout_logfile_backups=1
"""


def _value(value: object) -> str:
    """A configuration value: supervisord expands %, ends at a newline and takes " ;" for a comment."""
    text = str(value)
    if "\n" in text or " ;" in text:
        raise SupervisorError(f"cannot be written into supervisord's configuration: {text!r}")
    return text.replace("%", "%%")


def _quoted(value: str) -> str:
    """A value of an environment list, in double quotes."""
    if '"' in value or "\\" in value:
        raise SupervisorError(
            "cannot be written into supervisord's environment list: a value with a quote or backslash"
        )
    return f'"{_value(value)}"'
