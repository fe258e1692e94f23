"""Servers, databases and buckets that live as long as a `with` block: for tests and benchmarks.

One server serves a whole run; one template database is migrated once; each test gets a clone of it, which costs about a
tenth of a second. Where DATABASE_URL or S3_ENDPOINT_URL is set, that server is used, and only what was made here is
removed from it.

Belongs here: making and removing. Does not belong here: pytest (fixtures are in `tests/conftest.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from infra.stack.logins import Logins, database_url, server_url
from infra.stack.loopback import free_run
from infra.stack.migrate import MIGRATIONS_DIR, migrate
from infra.stack.postgres import TEST_SETTINGS, PostgresServer
from infra.stack.s3 import REGION, S3Endpoint, S3Server, free_ports, prepare_bucket

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """A PostgreSQL server that may be filled and emptied: its superuser's URL, and the secret of its logins."""

    admin_url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Database:
    """One migrated database with its logins."""

    name: str
    logins: Logins

    @property
    def admin_url(self) -> str:
        """The superuser's URL: row-level security does not hold for it."""
        return self.logins.admin_url

    def url(self, role: str, *, organisation_id: int | None = None) -> str:
        """The URL of a role's login: `ingest`, `finaliser`, `sweeper`, `core_api`, `subscriber`, `analytics_builder`,
        `console`, `owner`, or `analyst` with its organisation (which must exist: the login is made and mapped here)."""
        if role.removeprefix("restartix_") == "analyst" and organisation_id is not None:
            return self.logins.provision_analyst(organisation_id)
        return self.logins.url(role, organisation_id=organisation_id)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One empty, versioned bucket and the service it is in."""

    endpoint: S3Endpoint
    bucket: str

    @property
    def endpoint_url(self) -> str:
        return self.endpoint.endpoint_url

    def client(self) -> S3Client:
        return self.endpoint.client()

    def environment(self) -> dict[str, str]:
        """The variables that point a process of this product at the bucket."""
        return {**self.endpoint.environment(), "RESTARTIX_S3_BUCKET": self.bucket}


@contextlib.contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """A private folder with a short path (socket paths are limited to 107 bytes), removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=f"restartix-{purpose}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def database_server(environ: Mapping[str, str]) -> Iterator[DatabaseServer]:
    """The server at DATABASE_URL if that is set, else one of our own for the duration of the block."""
    given = environ.get("DATABASE_URL")
    if given:
        # Derived, so that parallel runs against one server agree on its logins' passwords.
        yield DatabaseServer(given, hashlib.sha256(f"restartix tests:{server_url(given)}".encode()).hexdigest())
        return
    with scratch_folder("postgres") as folder:
        server = PostgresServer(folder / "data", free_run(1), secrets.token_hex(16), TEST_SETTINGS)
        with server.running(log=folder / "postgres.log"):
            yield DatabaseServer(server.admin_url, secrets.token_hex(16))


@contextlib.contextmanager
def template_database(server: DatabaseServer, *, migrations_dir: Path = MIGRATIONS_DIR) -> Iterator[str]:
    """The name of a database that is migrated and has its logins, to be cloned and never connected to."""
    name = f"restartix_template_{secrets.token_hex(4)}"
    admin_url = database_url(server.admin_url, name)
    try:
        if any(migrations_dir.glob("*.sql")):
            migrate(admin_url, migrations_dir=migrations_dir)
        else:
            _execute(server, sql.SQL("create database {}").format(sql.Identifier(name)))
        Logins(admin_url, server.secret).provision()
        yield name
    finally:
        _drop(server, name)


@contextlib.contextmanager
def cloned_database(server: DatabaseServer, template: str) -> Iterator[Database]:
    """A fresh copy of `template`; dropped afterwards, whoever is still connected."""
    name = f"restartix_test_{secrets.token_hex(6)}"
    copy = sql.SQL("create database {} template {} strategy {}")
    try:
        _execute(server, copy.format(sql.Identifier(name), sql.Identifier(template), sql.Identifier("wal_log")))
        _copy_database_settings(server, template, name)
        yield Database(name, Logins(database_url(server.admin_url, name), server.secret))
    finally:
        _drop(server, name)


@contextlib.contextmanager
def s3_service(environ: Mapping[str, str]) -> Iterator[S3Endpoint]:
    """The service at S3_ENDPOINT_URL (with AWS_ACCESS_KEY_ID, ...) if that is set, else one of our own."""
    given = environ.get("S3_ENDPOINT_URL")
    if given:
        yield S3Endpoint(
            given,
            environ["AWS_ACCESS_KEY_ID"],
            environ["AWS_SECRET_ACCESS_KEY"],
            environ.get("AWS_REGION", REGION),
        )
        return
    with scratch_folder("s3") as folder:
        first_port = free_ports()
        server = S3Server(folder, first_port, f"AK{secrets.token_hex(8).upper()}", secrets.token_hex(20))
        with server.running(log=folder / "s3.log") as endpoint:
            yield endpoint


@contextlib.contextmanager
def fresh_bucket(endpoint: S3Endpoint) -> Iterator[Bucket]:
    """A new bucket, prepared as the stack prepares its own; emptied (versions, uploads) and removed afterwards."""
    name = f"restartix-test-{secrets.token_hex(6)}"
    client = endpoint.client()
    prepare_bucket(client, name, origins=["*"])
    try:
        yield Bucket(endpoint, name)
    finally:
        _remove_bucket(client, name)


def _remove_bucket(client: S3Client, name: str) -> None:
    for upload in client.list_multipart_uploads(Bucket=name).get("Uploads", []):
        client.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in client.get_paginator("list_object_versions").paginate(Bucket=name):
        for entry in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            client.delete_object(Bucket=name, Key=entry["Key"], VersionId=entry["VersionId"])
    client.delete_bucket(Bucket=name)


def _execute(server: DatabaseServer, statement: sql.Composed) -> None:
    with psycopg.connect(server_url(server.admin_url), autocommit=True) as connection:
        connection.execute(statement)


def _drop(server: DatabaseServer, name: str) -> None:
    _execute(server, sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def _copy_database_settings(server: DatabaseServer, template: str, clone: str) -> None:
    """A clone has the template's contents, but neither the grants on the database itself nor ALTER DATABASE ... SET."""
    with psycopg.connect(server_url(server.admin_url), autocommit=True) as connection:
        grants = connection.execute(
            """
            select grantee::regrole::text, privilege_type from pg_database, aclexplode(datacl)
            where datname = %s and grantee <> 0 and grantee <> datdba
            """,
            [template],
        ).fetchall()
        for grantee, privilege in grants:
            statement = sql.SQL("grant {} on database {} to {}")
            connection.execute(statement.format(sql.SQL(privilege), sql.Identifier(clone), sql.SQL(grantee)))
        settings = connection.execute(
            """
            select split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)
            from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase, unnest(setconfig) as setting
            where d.datname = %s and s.setrole = 0
            """,
            [template],
        ).fetchall()
        for name, value in settings:
            # As pg_dump does: a list such as search_path is already quoted element by element.
            literal = sql.SQL(value) if name == "search_path" else sql.Literal(value)
            statement = sql.SQL("alter database {} set {} to {}")
            connection.execute(statement.format(sql.Identifier(clone), sql.SQL(name), literal))
