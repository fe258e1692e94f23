"""A clinic (and a second, foreign one) in a fresh database, and the Core API over it with a clock the test moves."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import falcon.testing
import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

from core_api.app import create_app
from core_api.encryption import ColumnCipher
from infra.stack.keys import SigningKeys
from infra.stack.throwaway import Database as TestDatabase
from pipelines.adapters.key_file import KeyFile
from tests.core_api.clinics import Api, ApiFactory, Clinic, Clock, clinic_spec, make_clinic, make_deps


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admin(database: TestDatabase) -> Iterator[Connection[DictRow]]:
    with psycopg.connect(database.admin_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
def cipher() -> ColumnCipher:
    return ColumnCipher(KeyFile([secrets.token_bytes(32)], secrets.token_bytes), secrets.token_bytes)


@pytest.fixture
def pool(database: TestDatabase) -> Iterator[ConnectionPool[Connection[DictRow]]]:
    with ConnectionPool[Connection[DictRow]](
        database.url("core_api"),
        connection_class=Connection[DictRow],
        kwargs={"row_factory": dict_row},
        min_size=1,
        max_size=4,
        timeout=5,
    ) as pool:
        yield pool


@pytest.fixture
def clinic(pool: ConnectionPool[Connection[DictRow]], cipher: ColumnCipher) -> Clinic:
    with pool.connection() as connection:
        return make_clinic(connection, cipher, clinic_spec("North Clinic"))


@pytest.fixture
def foreign(pool: ConnectionPool[Connection[DictRow]], cipher: ColumnCipher) -> Clinic:
    with pool.connection() as connection:
        return make_clinic(connection, cipher, clinic_spec("South Clinic"))


@pytest.fixture
def make_api(  # noqa: PLR0917 - pytest fills them in
    pool: ConnectionPool[Connection[DictRow]],
    cipher: ColumnCipher,
    clock: Clock,
    session_keys: SigningKeys,
    identity: SigningKeys,
    admin: Connection[DictRow],
) -> ApiFactory:
    def make(**settings: object) -> Api:
        deps = make_deps(pool, cipher, clock, session_keys, identity, **settings)
        return Api(falcon.testing.TestClient(create_app(deps)), identity, deps, clock, admin)

    return make


@pytest.fixture
def api(make_api: ApiFactory) -> Api:
    made = make_api()
    made.add_node()
    return made
