"""Up and down with real servers: ready when it says so, harmless twice, plain about a process that fails."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import psycopg
import pytest

from infra.stack import lifecycle
from infra.stack.lifecycle import StackError, down, up
from infra.stack.logins import database_url
from infra.stack.loopback import free_run
from infra.stack.postgres import TEST_SETTINGS, PostgresServer
from infra.stack.programs import Program
from infra.stack.s3 import S3Endpoint
from infra.stack.state import BUCKET, DEFAULT_PORTS, StackState, load_state
from infra.stack.supervisor import Supervisor, SupervisorError, _program_section


def program(name: str, source: str) -> Program:
    return Program(
        name=name,
        title=name.capitalize(),
        command=(sys.executable, "-c", source),
        environment={"PATH": os.defpath, "PERCENT": "100 %"},
        ready=None,
        directory=Path("/"),
    )


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A state folder of the test's own, ports that nobody wants, and no services but those a test names."""
    monkeypatch.setattr("infra.stack.state.DEFAULT_PORTS", dict.fromkeys(DEFAULT_PORTS, 1))
    monkeypatch.setattr(lifecycle, "services", lambda _state: [])
    monkeypatch.setattr(lifecycle, "_dagster_storage", lambda _state: contextlib.nullcontext())
    return {"RESTARTIX_STATE": str(tmp_path)}


def running_programs(state: StackState) -> dict[str, str]:
    return Supervisor(state).states()


@pytest.mark.timeout(120)
def test_up_twice_then_down_then_up_again_keeps_everything(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = program("sleeper", "import os, time; print(os.environ['PERCENT'], flush=True); time.sleep(600)")
    monkeypatch.setattr(lifecycle, "services", lambda _state: [[sleeper]])
    said: list[str] = []
    try:
        first = up(environ, said.append)
        assert running_programs(first) == {"postgres": "RUNNING", "s3": "RUNNING", "sleeper": "RUNNING"}
        assert any("migrations applied" in line for line in said)
        assert Supervisor(first).tail("sleeper", lines=1) == ["100 %"]
        supervisor_pid = Supervisor(first).pid()
        with psycopg.connect(first.logins.url("core_api")) as connection:
            assert connection.execute("select current_user").fetchone() == ("core_api",)
        rules = first.s3.client().get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
        assert any("Expiration" in rule for rule in rules)
        first.s3.client().put_object(Bucket=BUCKET, Key="1/kept", Body=b"kept")

        again = up(environ, said.append)
        assert (again, Supervisor(again).pid()) == (first, supervisor_pid)

        assert down(environ, said.append) is True
        assert running_programs(first) == {}
        assert not first.postgres or not first.postgres.answers()
        assert down(environ, said.append) is False

        assert up(environ, said.append).ports == first.ports
        assert first.s3.client().get_object(Bucket=BUCKET, Key="1/kept")["Body"].read() == b"kept"
    finally:
        down(environ, said.append)


@pytest.mark.timeout(120)
def test_a_process_that_fails_is_shown_with_its_last_words_and_can_be_mended(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = program("broken", "raise SystemExit('no such table: patience')")
    mended = program("broken", "import time; time.sleep(600)")
    monkeypatch.setattr(lifecycle, "servers", lambda _state: [])
    monkeypatch.setattr(lifecycle, "_prepare_stores", lambda _state, _say: None)
    monkeypatch.setattr(lifecycle, "services", lambda _state: [[broken]])
    said: list[str] = []
    try:
        with pytest.raises(StackError, match="Broken did not start") as failure:
            up(environ, said.append)
        assert "no such table: patience" in str(failure.value)
        state = load_state(environ)
        assert state is not None
        assert running_programs(state)["broken"] in ("BACKOFF", "STARTING")  # it is tried again, ever more slowly

        monkeypatch.setattr(lifecycle, "services", lambda _state: [[mended]])
        up(environ, said.append)
        assert running_programs(state) == {"broken": "RUNNING"}
    finally:
        down(environ, said.append)


@pytest.mark.timeout(120)
def test_servers_that_run_already_are_used_and_left_running(
    environ: dict[str, str], s3_server: S3Endpoint, tmp_path: Path
) -> None:
    # A server of its own: logins belong to the whole server, and their passwords to one state folder.
    elsewhere = PostgresServer(tmp_path / "elsewhere", free_run(1), "its-own-password", TEST_SETTINGS)
    with elsewhere.running(log=tmp_path / "elsewhere.log"):
        told = {
            **environ,
            "DATABASE_URL": database_url(elsewhere.admin_url, "clinic"),
            "S3_ENDPOINT_URL": s3_server.endpoint_url,
            "AWS_ACCESS_KEY_ID": s3_server.access_key_id,
            "AWS_SECRET_ACCESS_KEY": s3_server.secret_access_key,
        }
        said: list[str] = []
        try:
            state = up(told, said.append)
            assert running_programs(state) == {}
            assert s3_server.client().get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
            with psycopg.connect(state.logins.url("subscriber")) as connection:
                assert connection.execute("select current_database()").fetchone() == ("clinic",)
        finally:
            down(told, said.append)
        assert elsewhere.answers()
        assert s3_server.accepts_writes()


@pytest.mark.parametrize(
    ("command", "variables"),
    [(("true",), {"X": 'a",Y="b'}), (("true",), {"X": "a\nautostart=true"}), (("true", "x ;y"), {}), (("a\nb",), {})],
)
def test_what_supervisord_would_misread_is_refused(
    tmp_path: Path, command: tuple[str, ...], variables: dict[str, str]
) -> None:
    with pytest.raises(SupervisorError, match="cannot be written"):
        _program_section(Program("sly", "Sly", command, variables, None), tmp_path, 0)


@pytest.mark.timeout(120)
def test_a_process_that_dies_again_and_again_is_started_until_it_stays(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """More deaths in a row than supervisord's own patience: a finaliser that stayed dead would be nobody's concern."""
    deaths = tmp_path / "deaths"
    frail = program(
        "frail",
        f"import pathlib, time; path = pathlib.Path({str(deaths)!r}); "
        "path.write_text((path.read_text() if path.exists() else '') + 'x'); count = len(path.read_text()); "
        "time.sleep(3 if count == 1 else 0 if count < 5 else 600)",
    )
    monkeypatch.setattr(lifecycle, "servers", lambda _state: [])
    monkeypatch.setattr(lifecycle, "_prepare_stores", lambda _state, _say: None)
    monkeypatch.setattr(lifecycle, "services", lambda _state: [[frail]])
    said: list[str] = []
    try:
        state = up(environ, said.append)
        deadline = time.monotonic() + 60
        while not (deaths.read_text() == "x" * 5 and running_programs(state) == {"frail": "RUNNING"}):
            assert time.monotonic() < deadline, (deaths.read_text(), running_programs(state))
            time.sleep(0.2)
    finally:
        down(environ, said.append)
