"""Up and down: the local stack's steps in their order, each awaited and each with a plain word when it fails.

Belongs here: the order, and what is prepared between servers and services (schema, logins, bucket). Does not belong
here: the command line (`cli.py`) or any one server's ways.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from infra.stack import environment, tether
from infra.stack.migrate import migrate
from infra.stack.programs import Program, servers, services
from infra.stack.s3 import prepare_bucket
from infra.stack.state import BUCKET, PROJECT_DIR, StackState, load_state, prepare_state, state_directory
from infra.stack.supervisor import ENDED_STATES, START_FAILURES_MAX, Supervisor
from pipelines.adapters.s3.lifecycle import apply_lifecycle
from pipelines.retention.lifecycle import MINIMUM_OBJECT_SIZE, render, without_transitions
from pipelines.retention.policy import load as load_policy

LOG_TAIL_LINES = 25
DAGSTER_STORAGE_S = 120

Say = Callable[[str], None]


class StackError(RuntimeError):
    """The stack, or one process of it, did not come up; the message says which and shows its last words."""


def up(environ: Mapping[str, str], say: Say) -> StackState:
    """Start whatever of the stack is not running, in order, and return once every part is ready. Safe to repeat.

    Raises StackError, or the error of the step that failed; what was started stays, to be looked at or stopped.
    """
    with _alone(environ):
        found = load_state(environ)
        state = prepare_state(environ, running=found is not None and Supervisor(found).is_running())
        supervisor = Supervisor(state)
        own_servers, stages = servers(state), services(state)
        _prepare_folders(state)
        supervisor.configure([*own_servers, *itertools.chain.from_iterable(stages)])
        if supervisor.is_running():
            supervisor.reread()
        else:
            supervisor.launch(environ=environment.base(state))
        with _dagster_storage(state):
            _start(supervisor, own_servers, say)
            _prepare_stores(state, say)
        for stage in stages:
            _start(supervisor, stage, say)
    return state


def down(environ: Mapping[str, str], say: Say) -> bool:
    """Stop every process of the stack and wait for the last; False where nothing was running."""
    state = load_state(environ)
    if state is None or not Supervisor(state).is_running():
        say("The stack is not running.")
        return False
    with _alone(environ):
        began = time.monotonic()
        # The services end side by side; the servers they write to on their way out end after them.
        own_services = itertools.chain.from_iterable(services(state))
        Supervisor(state).shutdown([[program.name for program in stage] for stage in (own_services, servers(state))])
        server = state.s3_server
        if server is not None:
            server.forget_sockets()
        say(f"Stopped in {time.monotonic() - began:.1f} s. Data stays in {state.directory}.")
    return True


def all_programs(state: StackState) -> list[Program]:
    return [*servers(state), *itertools.chain.from_iterable(services(state))]


@contextlib.contextmanager
def _alone(environ: Mapping[str, str]) -> Iterator[None]:
    """One `up` or `down` at a time a state folder; a second one waits its turn."""
    directory = state_directory(environ)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prepare_folders(state: StackState) -> None:
    postgres, s3 = state.postgres, state.s3_server
    if postgres is not None:
        postgres.initialise()
    if s3 is not None:
        s3.initialise()
    _prepare_dagster(state)


def _prepare_dagster(state: StackState) -> None:
    """Dagster's two files: where the code is served, and the settings of the code's own room."""
    home = state.folder("dagster")
    host, port = "127.0.0.1", state.ports["dagster_code"]
    workspace = {"load_from": [{"grpc_server": {"host": host, "port": port, "location_name": "telemetry"}}]}
    (home / "workspace.yaml").write_bytes(msgspec.yaml.encode(workspace))
    shutil.copyfile(PROJECT_DIR / "orchestration" / "dagster.yaml", home / "dagster.yaml")


@contextlib.contextmanager
def _dagster_storage(state: StackState) -> Iterator[None]:
    """Dagster's storage, made beside the block: by one process and once, because Dagster's own would race to make it.

    Raises StackError with what Dagster said.
    """
    home = state.folder("dagster")
    made, log = home / ".storage-made", state.log_dir / "dagster_storage.log"
    if made.exists():
        yield
        return
    command = [sys.executable, "-m", "dagster", "instance", "info"]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            tether.wrap(command, parent_pid=os.getpid(), on_parent_exit=signal.SIGKILL),
            env=environment.dagster(state),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        yield
        if process.wait(timeout=DAGSTER_STORAGE_S) != 0:
            raise StackError(f"Dagster could not make its storage in {home}:\n{log.read_text()[-2000:]}")
    made.touch()


def _prepare_stores(state: StackState, say: Say) -> None:
    applied = migrate(state.logins.admin_url)
    state.logins.provision()
    say(f"  {'Schema':<24}{len(applied)} migrations applied" if applied else f"  {'Schema':<24}up to date")
    client = state.s3.client()
    prepare_bucket(client, BUCKET, origins=environment.PORTAL_ORIGINS)
    lifecycle = apply_lifecycle(client, BUCKET, render(load_policy()), MINIMUM_OBJECT_SIZE, without_transitions)
    # SeaweedFS expires objects, but cannot move them to a colder class.
    unsupported = f"; {len(lifecycle.left_out)} transitions not supported by this store" if lifecycle.left_out else ""
    say(f"  {'Bucket':<24}{BUCKET}, {len(lifecycle.rules)} lifecycle rules{unsupported}")


def _start(supervisor: Supervisor, programs: Sequence[Program], say: Say) -> None:
    """Start all of them, then await each: they come up side by side."""
    for program in programs:
        supervisor.start(program.name)
    for program in programs:
        _await_ready(supervisor, program)
        say(f"  {program.title:<24}{program.url or 'running'}")


def _await_ready(supervisor: Supervisor, program: Program) -> None:
    deadline = time.monotonic() + program.timeout_s
    failures, before = 0, ""
    while True:
        state = supervisor.states().get(program.name, "UNKNOWN")
        # supervisord itself never gives up: here somebody waits, and may want to mend it.
        failures += state == "BACKOFF" != before
        before = state
        if state == "RUNNING" and (program.ready is None or program.ready()):
            return
        if state in ENDED_STATES or failures >= START_FAILURES_MAX:
            raise StackError(_obituary(supervisor, program, f"{program.title} did not start"))
        if time.monotonic() > deadline:
            complaint = f"{program.title} was not ready within {program.timeout_s:.0f} s"
            raise StackError(_obituary(supervisor, program, complaint))
        time.sleep(0.2)


def _obituary(supervisor: Supervisor, program: Program, complaint: str) -> str:
    tail = "\n".join(f"    {line}" for line in supervisor.tail(program.name, lines=LOG_TAIL_LINES))
    return f"{complaint}. The end of {supervisor.log_path(program.name)}:\n{tail or '    (empty)'}"
