"""Transactions as one tenant. Every statement of this service runs inside ``Database.tenant``.

The organisation is set for the transaction alone, so a pooled connection never carries it to the next request, and
forced row-level security hides every other organisation's rows even from a query that forgot to ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Connection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

from core_api.queries import query
from core_api.settings import Settings

Tx = Connection[DictRow]  # a connection inside a tenant's transaction; rows are dictionaries
Row = dict[str, Any]


class Database:
    """A bounded pool of connections as role ``restartix_core_api``."""

    def __init__(self, pool: ConnectionPool[Tx]) -> None:
        self._pool = pool

    @contextmanager
    def tenant(self, organisation_id: int) -> Iterator[Tx]:
        """One transaction that sees this organisation's rows only. Commits on leaving, rolls back on an exception.

        Raises ``psycopg.OperationalError`` (of which ``PoolTimeout`` is one) when Postgres cannot be had in time.
        """
        with self._pool.connection() as connection:
            enter_tenant(connection, organisation_id)
            yield connection

    def is_reachable(self) -> bool:
        """Whether Postgres answers now, within the pool's timeout."""
        with self._pool.connection() as connection:
            return connection.execute(query("ping")).fetchone() is not None

    def pool_state(self) -> dict[str, int]:
        """The pool's figures, by psycopg's names."""
        return self._pool.get_stats()

    def close(self) -> None:
        """Give the connections back to Postgres."""
        self._pool.close()


def enter_tenant(connection: Connection[Any], organisation_id: int) -> None:
    """Make the running transaction see one organisation."""
    connection.execute(query("enter_tenant"), {"organisation_id": str(organisation_id)})


def open_pool(settings: Settings, url: str, max_connections: int, min_connections: int = 1) -> ConnectionPool[Tx]:
    """The pool, opened without waiting: readiness is ``/readyz``'s matter, not start-up's."""
    milliseconds = int(settings.statement_timeout_s * 1000)
    pool: ConnectionPool[Tx] = ConnectionPool(
        url,
        connection_class=Connection[DictRow],
        kwargs={
            "row_factory": dict_row,
            "application_name": "core_api",
            "connect_timeout": 5,
            "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
            f" -c idle_in_transaction_session_timeout={3 * milliseconds} -c timezone=UTC",
        },
        min_size=min_connections,
        max_size=max_connections,
        timeout=settings.pool_timeout_s,
        max_waiting=10 * max_connections,
        max_lifetime=1800,
        open=False,
    )
    pool.open(wait=False)
    return pool


def one(connection: Tx, name: str, parameters: Row) -> Row | None:
    """The single row of a named query, or None."""
    return connection.execute(query(name), parameters).fetchone()


def the(connection: Tx, name: str, parameters: Row) -> Row:
    """The single row of a named query that always has one (an INSERT ... RETURNING, an aggregate)."""
    row = connection.execute(query(name), parameters).fetchone()
    if row is None:
        raise LookupError(f"{name} gave no row")
    return row


def run(connection: Tx, name: str, parameters: Row) -> None:
    """A named statement whose rows, if any, are not wanted."""
    connection.execute(query(name), parameters)


def every(connection: Tx, name: str, parameters: Row) -> list[Row]:
    """All rows of a named query; the query itself carries the bound."""
    return connection.execute(query(name), parameters).fetchall()
