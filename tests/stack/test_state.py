"""What the local stack remembers: ports that move aside, secrets that stay, folders that are private."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from infra.stack import state as state_module
from infra.stack.loopback import HOST, NoFreePortError, free_run, is_free
from infra.stack.s3 import COMPONENTS, GRPC_OFFSET, free_ports, socket_paths
from infra.stack.state import DEFAULT_PORTS, choose_ports, load_state, prepare_state


def environ(folder: Path, **more: str) -> dict[str, str]:
    return {"RESTARTIX_STATE": str(folder), **more}


@pytest.fixture
def quiet_ports(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Defaults that nothing on this machine listens at, whatever else runs on it."""
    first = free_run(40, offsets=(0, GRPC_OFFSET))
    defaults = {name: first + 6 * step for step, name in enumerate(DEFAULT_PORTS)}
    monkeypatch.setattr(state_module, "DEFAULT_PORTS", defaults)
    return defaults


def test_defaults_are_taken_where_they_are_free(quiet_ports: dict[str, int]) -> None:
    assert choose_ports({}) == quiet_ports


@pytest.mark.parametrize(
    ("name", "offset"),
    [("core_api", 0), ("postgres", 0), ("s3", 0), ("s3", len(COMPONENTS) - 1), ("s3", GRPC_OFFSET + 2)],
)
def test_a_taken_port_moves_aside_and_stays_there(
    quiet_ports: dict[str, int], tmp_path: Path, name: str, offset: int
) -> None:
    with socket.socket() as holder:
        holder.bind((HOST, quiet_ports[name] + offset))
        holder.listen()
        moved = prepare_state(environ(tmp_path), running=False).ports
    assert moved[name] != quiet_ports[name]
    assert {other: port for other, port in moved.items() if other != name} == {
        other: port for other, port in quiet_ports.items() if other != name
    }
    assert prepare_state(environ(tmp_path), running=False).ports == moved


@pytest.mark.usefixtures("quiet_ports")
def test_ports_in_use_by_the_running_stack_are_kept(tmp_path: Path) -> None:
    before = prepare_state(environ(tmp_path), running=False).ports
    with socket.socket() as own_server:
        own_server.bind((HOST, before["ingest"]))
        own_server.listen()
        assert prepare_state(environ(tmp_path), running=True).ports == before
        assert prepare_state(environ(tmp_path), running=False).ports["ingest"] != before["ingest"]


def test_no_two_parts_share_a_port(quiet_ports: dict[str, int]) -> None:
    everyone_wants = dict.fromkeys(quiet_ports, quiet_ports["s3"])
    chosen = choose_ports(everyone_wants)
    s3 = chosen.pop("s3")
    run = {s3 + step + offset for step in range(len(COMPONENTS)) for offset in (0, GRPC_OFFSET)}
    assert len(set(chosen.values())) == len(chosen)
    assert not run & set(chosen.values())


def test_looking_for_a_free_port_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.stack.loopback.is_free", lambda _port: False)
    with pytest.raises(NoFreePortError):
        free_run(1)


def test_a_port_in_use_is_not_free() -> None:
    port = free_run(1)
    assert is_free(port)
    with socket.socket() as holder:
        holder.bind((HOST, port))
        holder.listen()
        assert not is_free(port)


@pytest.mark.usefixtures("quiet_ports")
def test_secrets_stay_and_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    first = prepare_state(environ(folder), running=False)
    again = load_state(environ(folder))
    assert again == first
    assert again is not None
    assert again.session_keys.key_id == first.session_keys.key_id
    assert again.identity_keys.key_id != first.session_keys.key_id
    assert folder.stat().st_mode & 0o077 == 0
    for path in (folder / "stack.json", first.column_key_path, first.session_keys.pem_path):
        assert path.stat().st_mode & 0o077 == 0, path
    assert first.derive("one") != first.derive("two")
    assert first.secret not in repr(first)


def test_nothing_is_remembered_where_nothing_was_started(tmp_path: Path) -> None:
    assert load_state(environ(tmp_path)) is None


def test_a_damaged_settings_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(json.dumps({"secret": 1}))
    with pytest.raises(ValueError, match=r"stack\.json is damaged"):
        load_state(environ(tmp_path))


@pytest.mark.usefixtures("quiet_ports")
def test_the_socket_moves_to_a_short_private_folder_under_a_deep_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path / "r"
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    near = prepare_state(environ(deep), running=False).supervisor_socket
    assert near.parent.parent == runtime
    assert near.parent.stat().st_mode & 0o077 == 0
    assert prepare_state(environ(deep), running=False).supervisor_socket == near
    assert prepare_state(environ(tmp_path / "f" / ("g" * 120)), running=False).supervisor_socket != near
    near.parent.chmod(0o755)
    with pytest.raises(PermissionError, match="not ours alone"):
        _ = prepare_state(environ(deep), running=False).supervisor_socket


@pytest.mark.usefixtures("quiet_ports")
def test_servers_that_run_already_are_used_instead(tmp_path: Path) -> None:
    url = "postgresql://admin:pw@db.example:6543/clinic"
    state = prepare_state(
        environ(
            tmp_path,
            DATABASE_URL=url,
            S3_ENDPOINT_URL="http://s3.example:9000",
            AWS_ACCESS_KEY_ID="AK",
            AWS_SECRET_ACCESS_KEY="SK",
        ),
        running=False,
    )
    assert (state.postgres, state.s3_server) == (None, None)
    assert state.logins.admin_url == url
    assert state.logins.url("ingest").endswith("@db.example:6543/clinic")
    assert state.s3.environment()["RESTARTIX_S3_ENDPOINT_URL"] == "http://s3.example:9000"


def test_half_an_external_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="AWS_SECRET_ACCESS_KEY"):
        prepare_state(environ(tmp_path, S3_ENDPOINT_URL="http://s3.example", AWS_ACCESS_KEY_ID="AK"), running=False)
    with pytest.raises(ValueError, match="names no database"):
        prepare_state(environ(tmp_path, DATABASE_URL="postgresql://admin@db.example"), running=False)


def test_a_port_whose_socket_another_user_left_behind_moves_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_ports()
    left_behind = socket_paths(first)[0]
    left_behind.touch()
    try:
        assert free_ports(first) == first, "our own is removed"
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        assert free_ports(first) != first
    finally:
        left_behind.unlink()
