"""A real nats-server with JetStream on loopback, from its wheel, that can be killed and come back on the same port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nats
from nats.js.errors import NotFoundError

from infra.stack import tether
from infra.stack.loopback import free_run
from pipelines.adapters.nats.link import STREAM


class NatsServer:
    """``directory`` keeps what JetStream keeps. It ends with this process, however that ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_run(1)
        self.url = f"nats://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = str(Path(sys.executable).parent / "nats-server")
        serve = [binary, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self._directory / "store")]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                tether.wrap(serve, parent_pid=os.getpid(), on_parent_exit=signal.SIGKILL), stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            assert self._process.poll() is None, (self._directory / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL: no farewell to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def lose_the_disk(self) -> None:
        assert self._process is None
        shutil.rmtree(self._directory / "store")

    def empty(self) -> None:
        """No stream, no consumer."""

        async def delete() -> None:
            client = await nats.connect(self.url)
            with contextlib.suppress(NotFoundError):
                await client.jetstream().delete_stream(STREAM)
            await client.close()

        asyncio.run(delete())

    def waiting(self) -> int:
        """Messages the stream has."""

        async def count() -> int:
            client = await nats.connect(self.url)
            info = await client.jetstream().stream_info(STREAM)
            await client.close()
            return int(info.state.messages)

        return asyncio.run(count())


@contextlib.contextmanager
def running(directory: Path) -> Iterator[NatsServer]:
    server = NatsServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.kill()
