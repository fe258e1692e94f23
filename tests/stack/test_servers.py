"""The servers start for whoever runs them, and never outlive the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from infra.stack import postgres, tether
from infra.stack.loopback import free_run
from infra.stack.postgres import TEST_SETTINGS, PostgresServer
from infra.stack.state import PROJECT_DIR

# Starts both servers, says their process ids and whether they serve, and waits for a line on standard input.
BOTH_SERVERS = """
import os, subprocess, sys
import psycopg
from infra.stack.throwaway import database_server, fresh_bucket, s3_service
children = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
with database_server({}) as server, s3_service({}) as endpoint, fresh_bucket(endpoint) as bucket:
    with psycopg.connect(server.admin_url) as connection:
        connection.execute("create table seen (n int)")
    bucket.client().put_object(Bucket=bucket.bucket, Key="seen", Body=b"1")
    print(os.getuid(), open(children).read(), flush=True)
    sys.stdin.readline()
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def start_both(prefix: list[str], folder: Path) -> subprocess.Popen[str]:
    environment = {"PATH": os.defpath, "HOME": "/nonexistent", "TMPDIR": str(folder), "PYTHONPATH": str(PROJECT_DIR)}
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", BOTH_SERVERS],
        env=environment,
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended but was not yet collected by its new parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def await_end(pids: list[int], *, within_s: float = 15.0) -> list[int]:
    deadline = time.monotonic() + within_s
    while (alive := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


def test_servers_start_with_a_home_that_does_not_exist_and_leave_nothing(tmp_path: Path) -> None:
    with start_both([], tmp_path) as process:
        assert process.stdout is not None
        uid, *pids = (int(word) for word in process.stdout.readline().split())
        assert (uid, len(pids)) == (os.getuid(), 2)
        process.communicate("stop\n", timeout=30)
    assert process.returncode == 0
    assert await_end(pids) == []
    assert list(tmp_path.iterdir()) == []


@needs_root
def test_servers_start_as_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "nobody"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    # The interpreter may lie in root's home: nobody may read there, and is otherwise without any privilege.
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    become += [
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=-all,+dac_override",
        "--bounding-set=-all,+dac_override",
    ]
    with start_both(become, folder) as process:
        assert process.stdout is not None
        uid, *pids = (int(word) for word in process.stdout.readline().split())
        assert (uid, len(pids)) == (65534, 2)
        process.communicate("stop\n", timeout=30)
    assert process.returncode == 0
    assert await_end(pids) == []


def test_servers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    with start_both([], tmp_path) as process:
        assert process.stdout is not None
        _, *pids = (int(word) for word in process.stdout.readline().split())
        assert all(is_alive(pid) for pid in pids)
        process.kill()
    assert await_end(pids) == []


@needs_root
def test_postgres_starts_as_another_user_where_namespaces_are_forbidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_runs = postgres._runs
    monkeypatch.setattr(postgres, "_runs", lambda prefix: prefix[0] != "unshare" and really_runs(prefix))
    postgres.demotion.cache_clear()
    try:
        assert postgres.demotion()[0] == "setpriv"
        server = PostgresServer(tmp_path / "data", free_run(1), "secret", TEST_SETTINGS)
        with server.running(log=tmp_path / "log"), psycopg.connect(server.admin_url) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        assert (tmp_path / "data").stat().st_uid == postgres.UNPRIVILEGED_UID
    finally:
        postgres.demotion.cache_clear()


def test_a_data_folder_left_half_made_is_made_again(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "data", free_run(1), "secret", TEST_SETTINGS)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "base").mkdir()
    server.initialise()
    assert (tmp_path / "data" / "PG_VERSION").exists()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "data", free_run(1), "secret", {"shared_buffers": "a lot"})
    with (
        pytest.raises(postgres.PostgresUnavailableError, match=r"invalid value for parameter \"shared_buffers\""),
        server.running(log=tmp_path / "log"),
    ):
        pytest.fail("it started")


def test_a_tethered_command_is_refused_where_its_parent_is_gone() -> None:
    command = tether.wrap(["echo", "started"], parent_pid=1, on_parent_exit=signal.SIGTERM)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "already gone" in done.stderr


def test_a_tethered_command_is_the_command_itself() -> None:
    command = tether.wrap(["sh", "-c", "echo $$; exit 7"], parent_pid=os.getpid(), on_parent_exit=signal.SIGTERM)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
    assert process.returncode == 7
