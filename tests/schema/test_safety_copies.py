"""Safety copies in Postgres: one tenant's rows, what the store remembers, and who may ask across tenants."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from infra.stack.throwaway import Database
from pipelines.adapters.postgres.safety_copy_store import PostgresSafetyCopyStore
from pipelines.adapters.postgres.tenancy import Connection
from pipelines.ports.blob_store import UploadedPart
from pipelines.ports.safety_copy_store import CopiedMember, CopiedPart, SafetyCopy, SettledCopy

SESSION = UUID("10000000-0000-4000-8000-000000000001")
AT = dt.datetime(2026, 11, 2, 9, 0, 0, 123456, tzinfo=dt.UTC)
PART = CopiedPart(
    UploadedPart(1, "etag", bytes(32), 30),
    (CopiedMember(b"a" * 16, AT, 10), CopiedMember(b"b" * 16, AT + dt.timedelta(seconds=1), 20)),
)


@pytest.fixture
def store(two_clinics: Database) -> Iterator[PostgresSafetyCopyStore]:
    pool: ConnectionPool[Connection]
    with ConnectionPool(two_clinics.url("finaliser"), min_size=1, max_size=2, timeout=5, open=True) as pool:
        yield PostgresSafetyCopyStore(pool)


def test_a_copy_is_remembered_with_its_parts_until_it_is_forgotten(store: PostgresSafetyCopyStore) -> None:
    assert store.load(1, SESSION) is None
    assert store.begin(1, SESSION, "node-a", "key", "upload")
    assert not store.begin(1, SESSION, "node-a", "key", "another")
    copy = SafetyCopy(SESSION, 1, "key", "upload", [])
    assert store.load(1, SESSION) == copy
    assert store.add(copy, PART)
    assert not store.add(copy, PART), "the number is taken"
    assert not store.add(copy._replace(upload_id="another"), PART)
    assert store.load(1, SESSION) == copy._replace(parts=[PART])
    store.forget(copy._replace(upload_id="another"))
    assert store.load(1, SESSION) is not None
    store.forget(copy)
    store.forget(copy)
    assert store.load(1, SESSION) is None
    assert not store.add(copy, PART)


def test_another_tenant_sees_and_changes_nothing(store: PostgresSafetyCopyStore) -> None:
    store.begin(1, SESSION, "node-a", "key", "upload")
    stranger = SafetyCopy(SESSION, 2, "key", "upload", [])
    assert store.load(2, SESSION) is None
    assert not store.add(stranger, PART)
    store.forget(stranger)
    assert store.load(1, SESSION) is not None


def test_only_ids_of_settled_copies_cross_tenants(two_clinics: Database, store: PostgresSafetyCopyStore) -> None:
    store.begin(1, SESSION, "node-a", "key", "upload")
    assert store.settled("node-a", 900, 10) == []
    with psycopg.connect(two_clinics.admin_url) as connection:
        connection.execute("UPDATE telemetry.sessions SET state = 'finalised'")
    assert store.settled("node-a", 900, 10) == [SettledCopy(SESSION, 1)]
    assert store.settled("node-b", 900, 10) == []
    with psycopg.connect(two_clinics.admin_url) as connection:
        connection.execute("UPDATE telemetry.nodes SET lease_until = now() - interval '16 minutes'")
    assert store.settled("node-b", 900, 10) == [SettledCopy(SESSION, 1)]


@pytest.mark.parametrize("role", ["ingest", "sweeper", "core_api", "subscriber", "analytics_builder", "console"])
def test_no_other_role_reads_them(two_clinics: Database, role: str) -> None:
    for table in ("safety_copies", "safety_copy_parts", "lost_session_claims"):
        with psycopg.connect(two_clinics.url(role)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"SELECT 1 FROM telemetry.{table}".encode())


def test_a_copy_goes_with_its_session(two_clinics: Database, store: PostgresSafetyCopyStore) -> None:
    store.begin(1, SESSION, "node-a", "key", "upload")
    store.add(SafetyCopy(SESSION, 1, "key", "upload", []), PART)
    with psycopg.connect(two_clinics.admin_url) as connection:
        connection.execute("SET ROLE restartix_owner")
        connection.execute("DELETE FROM telemetry.sessions WHERE session_id = %s", [SESSION])
        connection.execute("RESET ROLE")
        left = connection.execute("SELECT 1 FROM telemetry.safety_copy_parts").fetchall()
    assert left == []
