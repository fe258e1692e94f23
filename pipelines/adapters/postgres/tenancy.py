"""A transaction of a pool under one organisation: the way every store of sessions gets its connection."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from pipelines.ports.session_store import SessionStoreUnavailable

Connection = psycopg.Connection[Any]

_SET_TENANT = "SELECT set_config('app.org_id', %(organisation_id)s::text, true)"


@contextlib.contextmanager
def transaction(pool: ConnectionPool[Connection], organisation_id: int | None = None) -> Iterator[Connection]:
    """Committed at the end, undone by an exception. Without an organisation no tenant's row is seen.

    Raises ``SessionStoreUnavailable`` where Postgres cannot be reached.
    """
    try:
        with pool.connection() as connection:
            if organisation_id is not None:
                connection.execute(_SET_TENANT, {"organisation_id": organisation_id})
            yield connection
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
        raise SessionStoreUnavailable(str(error)) from error
