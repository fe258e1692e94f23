"""What the local stack remembers between runs, all under one ignored folder: ports, the secret, where things lie.

Belongs here: the folder's layout and its settings file. Does not belong here: what the processes are (`programs.py`)
and what they are told (`environment.py`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from infra.stack.keys import SigningKeys, column_key_file, write_secret
from infra.stack.logins import Logins, database_url
from infra.stack.loopback import HOST, NoFreePortError, free_run, is_free
from infra.stack.postgres import LOCAL_SETTINGS, PostgresServer
from infra.stack.s3 import COMPONENTS, GRPC_OFFSET, REGION, S3Endpoint, S3Server, free_ports

PROJECT_DIR = Path(__file__).resolve().parents[2]
DATABASE = "restartix"
BUCKET = "restartix-telemetry"
SOCKET_PATH_LIMIT = 100  # sun_path holds 108 bytes; supervisord appends a process id while it binds

# Where a newcomer would look first; each moves aside if it is taken, and stays where it moved.
DEFAULT_PORTS: Mapping[str, int] = {
    "core_api": 8000,
    "ingest": 8100,
    "dagster": 3000,
    "dagster_code": 4266,
    "postgres": 5480,
    "s3": 8333,
}


class _Remembered(msgspec.Struct):
    secret: str
    ports: dict[str, int]


@dataclass(frozen=True, slots=True)
class StackState:
    """The state folder of one local stack."""

    directory: Path
    ports: Mapping[str, int]
    secret: str = field(repr=False)
    external_database_url: str | None = field(default=None, repr=False)
    external_s3: S3Endpoint | None = field(default=None, repr=False)

    @property
    def postgres(self) -> PostgresServer | None:
        """Our own server; None where DATABASE_URL names another."""
        if self.external_database_url is not None:
            return None
        return PostgresServer(
            self.directory / "postgres", self.ports["postgres"], self.derive("postgres"), LOCAL_SETTINGS
        )

    @property
    def s3_server(self) -> S3Server | None:
        """Our own server; None where S3_ENDPOINT_URL names another."""
        if self.external_s3 is not None:
            return None
        access_key_id = f"AK{self.derive('s3-access-key')[:18].upper()}"
        return S3Server(self.directory / "s3", self.ports["s3"], access_key_id, self.derive("s3-secret-key")[:40])

    @property
    def s3(self) -> S3Endpoint:
        server = self.s3_server
        if server is not None:
            return server.endpoint
        assert self.external_s3 is not None
        return self.external_s3

    @property
    def logins(self) -> Logins:
        server = self.postgres
        if server is not None:
            return Logins(database_url(server.admin_url, DATABASE), self.derive("logins"))
        assert self.external_database_url is not None
        return Logins(self.external_database_url, self.derive("logins"))

    @property
    def session_keys(self) -> SigningKeys:
        return SigningKeys.load_or_create(self.directory / "keys", "session")

    @property
    def identity_keys(self) -> SigningKeys:
        return SigningKeys.load_or_create(self.directory / "keys", "identity")

    @property
    def column_key_path(self) -> Path:
        return column_key_file(self.folder("keys") / "column-encryption.key")

    @property
    def node_dir(self) -> Path:
        """The ingest node's landing folder: write-ahead log, spool, closed markers."""
        return self.folder("node")

    @property
    def log_dir(self) -> Path:
        return self.folder("logs")

    @property
    def supervisor_socket(self) -> Path:
        """In the state folder where its path is short enough for a socket, else in a private short folder."""
        inside = self.folder("run") / "supervisor.sock"
        if len(os.fsencode(inside)) <= SOCKET_PATH_LIMIT:
            return inside
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        digest = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]
        short = Path(base) / f"restartix-{os.getuid()}-{digest}"
        short.mkdir(mode=0o700, exist_ok=True)
        if short.stat().st_uid != os.getuid() or short.stat().st_mode & 0o077:
            raise PermissionError(f"{short} is not ours alone: remove it, or set XDG_RUNTIME_DIR")
        return short / "supervisor.sock"

    def url(self, port_name: str) -> str:
        return f"http://{HOST}:{self.ports[port_name]}"

    def folder(self, name: str) -> Path:
        folder = self.directory / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def derive(self, purpose: str) -> str:
        """A secret of its own for each purpose (64 hex digits), all from the one that is stored."""
        return hmac.new(self.secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def state_directory(environ: Mapping[str, str]) -> Path:
    """RESTARTIX_STATE, or `.local` in the project."""
    return Path(environ.get("RESTARTIX_STATE") or PROJECT_DIR / ".local").resolve()


def load_state(environ: Mapping[str, str]) -> StackState | None:
    """The remembered stack, or None where none was ever started."""
    directory = state_directory(environ)
    remembered = _read(directory)
    return None if remembered is None else _state(directory, remembered, environ)


def prepare_state(environ: Mapping[str, str], *, running: bool) -> StackState:
    """The stack's state, made on first use. Ports taken by others since are chosen anew, unless we are `running`."""
    directory = state_directory(environ)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    remembered = _read(directory) or _Remembered(secrets.token_hex(32), {})
    if not running:
        remembered.ports = choose_ports(remembered.ports)
        write_secret(_settings_path(directory), msgspec.json.format(msgspec.json.encode(remembered)) + b"\n")
    return _state(directory, remembered, environ)


def choose_ports(remembered: Mapping[str, int]) -> dict[str, int]:
    """A free port for each name: the remembered one, else the default, else any. Raises NoFreePortError."""
    chosen: dict[str, int] = {}
    taken: set[int] = set()
    for name, default in DEFAULT_PORTS.items():
        length, offsets = (len(COMPONENTS), (0, GRPC_OFFSET)) if name == "s3" else (1, (0,))
        for preferred in (remembered.get(name, default), default, None):
            first = free_ports(preferred) if name == "s3" else free_run(length, preferred=preferred)
            ports = {first + step + offset for step in range(length) for offset in offsets}
            if not ports & taken:
                chosen[name] = first
                taken |= ports
                break
        else:
            raise NoFreePortError(f"no free port for {name}")
    return chosen


def is_listening(port: int) -> bool:
    """Whether somebody holds `port` now."""
    return not is_free(port)


def _state(directory: Path, remembered: _Remembered, environ: Mapping[str, str]) -> StackState:
    external_s3 = None
    if environ.get("S3_ENDPOINT_URL"):
        missing = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not environ.get(name)]
        if missing:
            raise ValueError(f"S3_ENDPOINT_URL is set, but {' and '.join(missing)} is not")
        external_s3 = S3Endpoint(
            environ["S3_ENDPOINT_URL"],
            environ["AWS_ACCESS_KEY_ID"],
            environ["AWS_SECRET_ACCESS_KEY"],
            environ.get("AWS_REGION", REGION),
        )
    given_url = environ.get("DATABASE_URL") or None
    if given_url is not None and not urlsplit(given_url).path.strip("/"):
        raise ValueError("DATABASE_URL names no database")
    return StackState(directory, remembered.ports, remembered.secret, given_url, external_s3)


def _settings_path(directory: Path) -> Path:
    return directory / "stack.json"


def _read(directory: Path) -> _Remembered | None:
    path = _settings_path(directory)
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Remembered)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} is damaged ({error}): stop the stack and remove its folder") from error
