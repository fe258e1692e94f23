"""Ingest nodes: one shared by the tests that only talk to it, and a factory for those that harm theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.stack.keys import SigningKeys
from infra.stack.throwaway import Database, DatabaseServer, cloned_database

from .node import SERVICE_CONFIG, Node, running


@pytest.fixture(scope="module")
def node(
    postgres_server: DatabaseServer,
    migrated_template: str,
    session_keys: SigningKeys,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Node]:
    """A running node with one worker. Each test brings its own patients."""
    with cloned_database(postgres_server, migrated_template) as database:
        yield from running(Node(database, session_keys, tmp_path_factory.mktemp("ingest") / "data"))


@pytest.fixture
def make_node(database: Database, session_keys: SigningKeys, tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """A node of the test's own, not yet started: ``make_node(workers=2, RESTARTIX_BATCH_BURST="3")``."""
    nodes: list[Node] = []

    def make(workers: int = 1, config: str = SERVICE_CONFIG, **extra: str) -> Node:
        nodes.append(Node(database, session_keys, tmp_path / "data", extra, workers, config))
        return nodes[-1]

    yield make
    for node in nodes:
        node.stop()
