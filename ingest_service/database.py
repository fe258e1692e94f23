"""One PostgreSQL connection that comes back, and the service's statements from ``sql/``.

The service needs few connections and no pool: a feed, a loader and a writer, each used by one greenlet at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import psycopg

_CONNECT_TIMEOUT_S = 3
_STATEMENT_TIMEOUT_MS = 5000


@cache
def statement(name: str) -> bytes:
    """The text of ``sql/<name>.sql``."""
    return (resources.files("ingest_service") / "sql" / f"{name}.sql").read_bytes()


def connect(url: str, purpose: str) -> psycopg.Connection[tuple[Any, ...]]:
    """An autocommit connection with bounds on connecting and on each statement. Raises ``psycopg.Error``."""
    return psycopg.connect(
        url,
        autocommit=True,
        connect_timeout=_CONNECT_TIMEOUT_S,
        application_name=f"restartix-ingest {purpose}",
        options=f"-c statement_timeout={_STATEMENT_TIMEOUT_MS}",
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=2,
        tcp_user_timeout=5000,
    )


class Database:
    """Statements over one connection, opened when needed and again after a fault."""

    def __init__(self, url: str, purpose: str) -> None:
        self._url = url
        self._purpose = purpose
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._lock = threading.Lock()

    def rows(self, name: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """Run ``sql/<name>.sql``. Raises ``psycopg.Error``; a broken connection is replaced at the next call."""
        with self._lock:
            if self._connection is None or self._connection.broken or self._connection.closed:
                self._connection = connect(self._url, self._purpose)
            return self._connection.execute(statement(name), parameters).fetchall()

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
