"""Ingest nodes for the proofs: a factory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.stack.keys import SigningKeys
from infra.stack.throwaway import Database
from tests.ingest.node import SERVICE_CONFIG, Node


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
