"""Fixtures every room's tests may use: a real PostgreSQL, a real S3, and signing keys.

Servers start once a test process (once a worker under xdist) and end with it, however it ends; databases and buckets
are fresh for each test. Set DATABASE_URL or S3_ENDPOINT_URL (with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) to use
servers that run already.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.stack.keys import SigningKeys
from infra.stack.s3 import S3Endpoint
from infra.stack.throwaway import (
    Bucket,
    Database,
    DatabaseServer,
    cloned_database,
    database_server,
    fresh_bucket,
    s3_service,
    template_database,
)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[DatabaseServer]:
    """A PostgreSQL server for this test process."""
    with database_server(os.environ) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres_server: DatabaseServer) -> Iterator[str]:
    """The name of the migrated database that each test's is cloned from."""
    with template_database(postgres_server) as name:
        yield name


@pytest.fixture
def database(postgres_server: DatabaseServer, migrated_template: str) -> Iterator[Database]:
    """A migrated database of the test's own: `.admin_url`, `.url("core_api")`, `.url("analyst", organisation_id=1)`."""
    with cloned_database(postgres_server, migrated_template) as clone:
        yield clone


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Endpoint]:
    """An S3 service for this test process; it verifies signatures."""
    with s3_service(os.environ) as endpoint:
        yield endpoint


@pytest.fixture
def s3(s3_server: S3Endpoint) -> Iterator[Bucket]:
    """A versioned bucket of the test's own: `.bucket`, `.endpoint_url`, `.client()`, `.environment()`."""
    with fresh_bucket(s3_server) as bucket:
        yield bucket


@pytest.fixture(scope="session")
def _key_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="session")
def session_keys(_key_directory: Path) -> SigningKeys:
    """The pair that signs session tokens: `.mint(claims)`, `.jwks_path`, `.pem_path`, `.key_id`."""
    return SigningKeys.load_or_create(_key_directory, "session")


@pytest.fixture(scope="session")
def identity(_key_directory: Path) -> SigningKeys:
    """The pair that signs identity tokens (people and machines of the clinic app) for the Core API."""
    return SigningKeys.load_or_create(_key_directory, "identity")
