"""A pooled connection never carries a tenant from one transaction to the next, however the first one ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import errors
from psycopg_pool import ConnectionPool

from core_api.database import Database, Tx, open_pool
from infra.stack.throwaway import Database as Clone
from pipelines.adapters.postgres.tenancy import transaction
from tests.core_api.clinics import make_settings

SEED = """
INSERT INTO core.organisations (id, name) VALUES (1, 'One'), (2, 'Two');
INSERT INTO core.exercises (organisation_id, name, movement_profile) VALUES (1, 'a', 'x'), (2, 'b', 'x');
"""


@pytest.fixture
def url(database: Clone) -> str:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute(SEED)
    return database.url("core_api")


@pytest.fixture
def pool(url: str) -> Iterator[ConnectionPool[Tx]]:
    """The service's own pool, of one connection: whoever comes next gets the same."""
    made = open_pool(make_settings(statement_timeout_s=0.3), url, max_connections=1)
    yield made
    made.close()


def _commit(tx: Tx) -> None:
    assert [row["organisation_id"] for row in tx.execute("select organisation_id from core.exercises")] == [1]


def _fail(tx: Tx) -> None:  # noqa: ARG001
    raise ZeroDivisionError


def _error(tx: Tx) -> None:
    tx.execute("select 1 / 0")


def _time_out(tx: Tx) -> None:
    tx.execute("select pg_sleep(5)")


def _nested(tx: Tx) -> None:
    with tx.transaction():
        tx.execute("select set_config('app.org_id', '2', true)")
        raise psycopg.Rollback


def _declare(tx: Tx) -> None:
    tx.execute("declare kept cursor for select * from core.exercises")
    tx.execute("prepare kept as select * from core.exercises")


@pytest.mark.parametrize("ends", [_commit, _fail, _error, _time_out, _nested, _declare])
def test_the_next_transaction_has_no_tenant(pool: ConnectionPool[Tx], ends: Callable[[Tx], None]) -> None:
    database = Database(pool)
    try:
        with database.tenant(1) as tx:
            first = tx.info.backend_pid
            ends(tx)
    except (ZeroDivisionError, errors.DivisionByZero, errors.QueryCanceled):
        pass
    with pool.connection() as connection:
        assert connection.info.backend_pid == first, "the test is of the same connection"
        [row] = connection.execute("select current_setting('app.org_id', true) as it")
        assert not row["it"]
        assert connection.execute("select id from core.exercises").fetchall() == []
    with database.tenant(2) as tx:
        assert [row["organisation_id"] for row in tx.execute("select organisation_id from core.exercises")] == [2]


def test_the_pipelines_transactions_carry_none_either(database: Clone, url: str) -> None:
    assert url
    with ConnectionPool(database.url("finaliser"), min_size=1, max_size=1, timeout=5, open=True) as pool:
        with transaction(pool, 1) as connection:
            first = connection.info.backend_pid
        with pytest.raises(ZeroDivisionError), transaction(pool, 1) as connection:
            raise ZeroDivisionError
        with transaction(pool) as connection:
            assert connection.info.backend_pid == first
            row = connection.execute("select current_setting('app.org_id', true)").fetchone()
            assert row is not None
            assert not row[0]
