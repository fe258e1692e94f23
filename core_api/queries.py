"""Loads the SQL this service runs: one statement a file in ``core_api/sql``, read once. No SQL is written elsewhere."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def query(name: str) -> bytes:
    """The statement in ``core_api/sql/<name>.sql``; raises ``FileNotFoundError`` for an unknown name."""
    return (resources.files("core_api") / "sql" / f"{name}.sql").read_bytes()
