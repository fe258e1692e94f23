"""Both workers, each as one process for all tests of a run: what one must do, the other must."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .serving import GEVENT, OURS, Server

KINDS = [pytest.param(GEVENT, id="gunicorn"), pytest.param(OURS, id="ours")]


@pytest.fixture(scope="session", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server, the same for all tests: leave it as it was."""
    found = Server(request.param, tmp_path_factory.mktemp("server"))
    try:
        yield found.start()
    finally:
        found.stop()


@pytest.fixture(params=KINDS)
def start(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts a server of one's own: ``start("--max-requests", "3", NAME="value")``."""
    started: list[Server] = []

    def begin(*options: str, **environ: str) -> Server:
        server = Server(request.param, tmp_path_factory.mktemp("server"), options, environ)
        started.append(server)
        return server.start()

    yield begin
    for server in started:
        server.stop()
