"""A worker under test as the process it is in production, and a raw client: bytes out, answers in."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

GEVENT, OURS = "gevent", "ingest_service.worker.IngestWorker"
_HERE = Path(__file__).parent
_WAIT_S = 5.0
_ENVIRONMENT = {
    "RESTARTIX_HTTP_HEAD_TIMEOUT_S": "0.8",
    "RESTARTIX_HTTP_STALL_TIMEOUT_S": "0.8",
    "RESTARTIX_HTTP_REQUEST_TIMEOUT_S": "2",
    "RESTARTIX_HTTP_BODY_MAX_BYTES": str(1024 * 1024),
}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    head: bytes

    def json(self) -> Any:  # noqa: ANN401
        return json.loads(self.body)


@dataclass
class Server:
    """gunicorn with one worker of ``kind`` over ``application.app``, on a port of its own."""

    kind: str
    directory: Path
    options: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def is_ours(self) -> bool:
        return self.kind == OURS

    def start(self) -> Self:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        gunicorn = str(Path(sys.executable).with_name("gunicorn"))
        command = [gunicorn, "-c", str(_HERE / "gunicorn.conf.py"), "-k", self.kind, "-b", f"127.0.0.1:{self.port}"]
        environ = {**os.environ, **_ENVIRONMENT, **self.environ, "PYTHONWARNINGS": "error"}
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--pythonpath", str(_HERE), *self.options, "application:app"],
                env=environ,
                stdout=log,
                stderr=log,
            )
        deadline_s = time.monotonic() + 30
        while time.monotonic() < deadline_s:
            assert self.process.poll() is None, self.log()
            with contextlib.suppress(OSError), self.connect() as client:
                client.send(b"GET /seen HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                if client.answer().status == 200:
                    return self
            time.sleep(0.05)
        raise AssertionError(f"does not serve\n{self.log()}")

    def log(self) -> str:
        return (self.directory / "server.log").read_text()

    def connect(self) -> Client:
        return Client(socket.create_connection(("127.0.0.1", self.port), timeout=_WAIT_S))

    def ask(self, data: bytes) -> list[Answer]:
        """All answers to ``data`` on one connection, until the server closes it."""
        with self.connect() as client:
            client.send(data)
            return client.answers()

    def seen(self) -> list[str]:
        """The paths the application was called with."""
        [answer] = self.ask(b"GET /seen HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return list(answer.json())

    def worker_pids(self) -> list[int]:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, wait_s: float = 15) -> int:
        assert self.process is not None
        return self.process.wait(wait_s)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Client:
    """One connection. What it reads is checked to be HTTP/1.x answers and nothing else."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._received = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        # Whoever is refused before all is sent finds the connection closed while sending; the answer is still there.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def answer(self, *, is_head: bool = False) -> Answer:
        """The next answer. Raises ``EOFError`` where the server closed instead, ``TimeoutError`` where it is silent."""
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            self._more()
        head = bytes(self._received[:end])
        del self._received[: end + 4]
        lines = head.decode("latin-1").split("\r\n")
        version, status, _ = lines[0].split(" ", 2)
        assert version in ("HTTP/1.1", "HTTP/1.0")
        fields = [line.split(": ", 1) for line in lines[1:]]
        headers = {name.lower(): value for name, value in fields}
        assert len(headers) == len(fields), f"a field twice in {head!r}"
        return Answer(int(status), headers, b"" if is_head else self._body(int(status), headers), head)

    def answers(self) -> list[Answer]:
        """All answers until the server closes."""
        found = []
        with contextlib.suppress(EOFError):
            while True:
                found.append(self.answer())
        assert self._received == b""
        return found

    def is_closed(self) -> bool:
        """Whether the server closes, without another byte, within the time a client waits."""
        try:
            self._more()
        except EOFError:
            return self._received == b""
        return False

    def is_open(self) -> bool:
        """Whether the server has neither closed nor said anything by now."""
        self.socket.settimeout(0.1)
        try:
            self._more()
        except TimeoutError:
            return True
        except EOFError:
            return False
        finally:
            self.socket.settimeout(_WAIT_S)
        return False

    def _body(self, status: int, headers: Mapping[str, str]) -> bytes:
        if status in (204, 304) or 100 <= status < 200:
            assert "transfer-encoding" not in headers
            return b""
        if headers.get("transfer-encoding") == "chunked":
            assert "content-length" not in headers
            return self._chunks()
        if "content-length" in headers:
            return self._exactly(int(headers["content-length"]))
        with contextlib.suppress(EOFError):
            while True:
                self._more()
        return self._exactly(len(self._received))

    def _chunks(self) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in self._received:
                self._more()
            line = self._exactly(self._received.find(b"\r\n") + 2)
            piece = self._exactly(int(line, 16) + 2)
            assert piece.endswith(b"\r\n")
            if len(piece) == 2:
                return body
            body += piece[:-2]

    def _exactly(self, count: int) -> bytes:
        while len(self._received) < count:
            self._more()
        body = bytes(self._received[:count])
        del self._received[:count]
        return body

    def _more(self) -> None:
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise EOFError(f"the server closed after {bytes(self._received)!r}")
        self._received += data
