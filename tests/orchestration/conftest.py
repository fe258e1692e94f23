"""The code location over a database of the test's own, its dbt project parsed once for all tests of this folder."""

from __future__ import annotations

import warnings
from pathlib import Path

import dagster as dg
import pytest

from infra.stack.throwaway import Bucket, Database

with warnings.catch_warnings():
    # dagster-dbt imports a parser that announces its own end; nothing of ours uses it.
    warnings.filterwarnings("ignore", "sqlglotrs is deprecated", DeprecationWarning)
    from orchestration.definitions import defs

# What Dagster itself does with its own dependencies; each is named, so that a warning of ours still fails.
DAGSTERS_OWN = (
    "ignore:The `__fields__` attribute is deprecated:DeprecationWarning",
    "ignore:AssetExecutionContext.op is deprecated:DeprecationWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tolerate Dagster's own warnings in the tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for warning in DAGSTERS_OWN:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RESTARTIX_STATE of these tests."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def definitions(monkeypatch: pytest.MonkeyPatch, state_dir: Path) -> dg.Definitions:
    """The code location as Dagster loads it: without any database."""
    monkeypatch.setenv("RESTARTIX_STATE", str(state_dir))
    for name in ("RESTARTIX_DATABASE_URL", "RESTARTIX_SWEEPER_DATABASE_URL", "RESTARTIX_ANALYTICS_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    loaded = defs()
    assert isinstance(loaded, dg.Definitions)
    return loaded


@pytest.fixture
def with_bucket(connected: dg.Definitions, s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """The code location, told where the test's bucket is too."""
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    return connected


@pytest.fixture
def connected(definitions: dg.Definitions, database: Database, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """The code location, told where the test's database is and to call a minute's silence silence."""
    monkeypatch.setenv("RESTARTIX_SWEEPER_DATABASE_URL", database.url("sweeper"))
    monkeypatch.setenv("RESTARTIX_ANALYTICS_DATABASE_URL", database.url("analytics_builder"))
    monkeypatch.setenv("RESTARTIX_SILENCE_S", "60")
    monkeypatch.setenv("RESTARTIX_TOUCH_INTERVAL_S", "0")
    return definitions
