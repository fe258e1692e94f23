"""Every migration can be taken back, and leaves nothing behind: the schema is then what it was before it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from infra.stack.logins import database_url, server_url
from infra.stack.migrate import MIGRATIONS_DIR, migrate, roll_back
from infra.stack.throwaway import DatabaseServer

CATALOGUE = (Path(__file__).parent / "catalogue.sql").read_text()


@pytest.fixture
def empty_database(postgres_server: DatabaseServer) -> Iterator[str]:
    name = f"restartix_migrations_{secrets.token_hex(4)}"
    with psycopg.connect(server_url(postgres_server.admin_url), autocommit=True) as server:
        server.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        try:
            yield database_url(postgres_server.admin_url, name)
        finally:
            server.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def catalogue(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [line for (line,) in connection.execute(CATALOGUE)]


@pytest.mark.timeout(120)  # dbmate is started some sixty times
def test_every_migration_can_be_taken_back_and_leaves_the_schema_as_it_was(empty_database: str, tmp_path: Path) -> None:
    before: list[tuple[str, list[str]]] = []
    for migration in sorted(MIGRATIONS_DIR.glob("*.sql")):
        before.append((migration.name, catalogue(empty_database)))
        shutil.copy(migration, tmp_path)
        migrate(empty_database, migrations_dir=tmp_path)
    whole = catalogue(empty_database)
    assert len(whole) > 500

    for name, expected in reversed(before):
        roll_back(empty_database, migrations_dir=tmp_path)
        difference = sorted(set(catalogue(empty_database)) ^ set(expected))
        assert difference == [], f"{name} was not taken back wholly"

    migrate(empty_database)
    assert catalogue(empty_database) == whole
