"""Servers that only these tests use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contracts.nats_server import NatsServer, running


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A NATS server for this test process. Whoever uses it empties it first."""
    with running(tmp_path_factory.mktemp("nats")) as server:
        yield server
