"""Ingest nodes for the proofs, and the report of what was proved: ``build/reports/prove.json``.

It is written where the proofs run at full length (``make prove`` names how long), or where ``RESTARTIX_PROVE_REPORT``
names a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.stack.keys import SigningKeys
from infra.stack.throwaway import Database
from tests.ingest.node import SERVICE_CONFIG, Node

from .report import PROPERTY, Proofs

REPORT = Path(__file__).parents[2] / "build" / "reports" / "prove.json"
Proved = Callable[..., None]

_proofs = Proofs()


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


@pytest.fixture(autouse=True)
def proved(request: pytest.FixtureRequest) -> Iterator[Proved]:
    """``proved("crashes", kills=7, lost=0)``: to be called before the figures are judged, so that they are reported
    though the test fails.
    """
    said: list[str] = []

    def say(section: str, **figures: Any) -> None:  # noqa: ANN401 - anything JSON holds
        said.append(section)
        request.node.user_properties.append((PROPERTY, (section, figures)))

    yield say
    assert said or "report" in request.node.name, "a proof says what it proved"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "tests/prove/" not in report.nodeid:
        return
    if report.failed:
        _proofs.failed.append(report.nodeid)
    if report.when == "call":
        _proofs.add(report.user_properties)


def pytest_sessionfinish(session: pytest.Session) -> None:
    is_controller = not hasattr(session.config, "workerinput")
    named = os.environ.get("RESTARTIX_PROVE_REPORT")
    if is_controller and (named or "RESTARTIX_PROVE_KILLS" in os.environ):
        _proofs.write(Path(named) if named else REPORT)
