"""Walking the catalogue as every role: what a tenant can see of another, in any table, partition or view there is.

Nothing is named here but who may cross, which is the fixed list of the design: the owner, the sweeper, the analytics
builder. A table, view or partition that is added later is walked without anybody adding it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from infra.stack.throwaway import Database

OURS, THEIRS = 1, 2
# As invariant 6 has it; the console sees suppressed marts only, which name no organisation.
BOUND_ROLES = ("core_api", "finaliser", "subscriber", "ingest", "console", "analyst")
CROSSING_ROLES = ("sweeper", "analytics_builder", "owner")

_RELATIONS = """
SELECT n.nspname, c.relname, c.relkind::text, c.relispartition, c.relrowsecurity AND c.relforcerowsecurity AS forced,
       coalesce('security_invoker=true' = ANY (c.reloptions), false) AS invoker,
       (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
          AND a.attname = CASE WHEN c.oid = to_regclass('core.organisations') THEN 'id' ELSE 'organisation_id' END)
         AS tenant_column
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND c.relname <> 'schema_migrations'
ORDER BY 1, 2
"""
_COLUMNS = """
SELECT a.attname, a.atttypid::regtype::text, a.attidentity <> '' OR a.attgenerated <> '', a.attnotnull, a.atthasdef,
       a.attndims > 0 OR t.typcategory = 'A'
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_VALUES = {
    "uuid": "gen_random_uuid()",
    "text": "'x' || {n} || '-' || gen_random_uuid()",
    "name": "'login_' || {n}",
    "jsonb": "'{{}}'::jsonb",
    "bytea": "sha256(gen_random_uuid()::text::bytea)",
    "boolean": "true",
    "date": "current_date",
    "timestamp with time zone": "now()",
    "xid8": "pg_current_xact_id()",
    "character": "'EUR'",
}


class Relation(NamedTuple):
    """``tenant_column`` None: the relation names no tenant."""

    schema: str
    name: str
    kind: str
    is_partition: bool
    is_forced: bool
    is_invoker: bool
    tenant_column: str | None

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


class Walk(NamedTuple):
    """``leaks``: a line each. ``looks``: how often a role looked at a relation."""

    relations: int
    looks: int
    leaks: list[str]


def relations(database: Database) -> list[Relation]:
    with psycopg.connect(database.admin_url) as connection:
        return [Relation(*row) for row in connection.execute(_RELATIONS)]


def fill(database: Database) -> int:
    """Give both tenants a row in every table that names one and has none of theirs; how many tables were filled.

    In a database of the test's own: its checks are dropped and its triggers are off, so that a row needs no sense.
    """
    filled = 0
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("SET session_replication_role = replica")
        for schema, table, check in connection.execute(
            "SELECT n.nspname, c.relname, k.conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE k.contype = 'c' AND k.conislocal"
            " AND n.nspname IN ('core', 'telemetry', 'bus')"
        ).fetchall():
            connection.execute(
                sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                    sql.Identifier(schema, table), sql.Identifier(check)
                )
            )
        for relation in relations(database):
            if relation.kind in "rp" and not relation.is_partition and relation.tenant_column is not None:
                for tenant in (OURS, THEIRS):
                    filled += _fill(connection, relation, tenant)
    return filled


def _fill(connection: psycopg.Connection[Any], relation: Relation, tenant: int) -> int:
    assert relation.tenant_column is not None
    has = sql.SQL("SELECT 1 FROM {} WHERE {} = %s LIMIT 1").format(
        relation.identifier, sql.Identifier(relation.tenant_column)
    )
    if connection.execute(has, [tenant]).fetchone():
        return 0
    names, values = [], []
    for name, kind, is_made, is_needed, has_default, is_array in connection.execute(_COLUMNS, [str(relation)]):
        if name == relation.tenant_column:
            value = str(tenant)
        elif is_made or not is_needed or (has_default and name != "id"):
            continue
        elif is_array:
            value = "'{}'"
        else:
            value = _VALUES.get(kind.split("(")[0], "{n}").format(n=tenant)
        names.append(sql.Identifier(name))
        values.append(sql.SQL(value))
    insert = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(
        relation.identifier, sql.SQL(", ").join(names), sql.SQL(", ").join(values)
    )
    connection.execute(insert)
    return 1


def walk(database: Database) -> Walk:
    """Look at every relation as every bound role, as tenant ``OURS``; an analyst also sets the other tenant."""
    found = relations(database)
    leaks = [f"{each} has no forced row-level security" for each in found if _is_unprotected(each)]
    looks = 0
    for role in BOUND_ROLES:
        with _as_tenant(database, role) as connection:
            for each in found:
                looks += 1
                leaks += [f"{role}: {leak}" for leak in _look(connection, each)]
    return Walk(len(found), looks, leaks)


def _is_unprotected(relation: Relation) -> bool:
    if relation.kind in "rp":
        return relation.tenant_column is not None and not relation.is_forced
    return relation.tenant_column is not None and not relation.is_invoker  # a view reads as its owner otherwise


@contextlib.contextmanager
def _as_tenant(database: Database, role: str) -> Iterator[psycopg.Connection[Any]]:
    url = database.url(role, organisation_id=OURS) if role == "analyst" else database.url(role)
    with psycopg.connect(url, autocommit=True) as connection:
        # What an analyst sets in psql must gain nothing; for a service it is the tenant.
        claimed = THEIRS if role == "analyst" else OURS
        connection.execute("SELECT set_config('app.org_id', %s, false)", [str(claimed)])
        yield connection


def _look(connection: psycopg.Connection[Any], relation: Relation) -> Sequence[str]:
    """What this role sees of the other tenant's in this relation."""
    if relation.tenant_column is None:
        return []
    try:
        count = sql.SQL("SELECT count(*) FROM {} WHERE {} IS DISTINCT FROM %s").format(
            relation.identifier, sql.Identifier(relation.tenant_column)
        )
        row = connection.execute(count, [OURS]).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return _look_without_the_tenant(connection, relation)
    seen = -1 if row is None else int(row[0])
    return [f"sees {seen} rows of {relation}"] if seen else []


def _look_without_the_tenant(connection: psycopg.Connection[Any], relation: Relation) -> Sequence[str]:
    """The role may not read the tenant's column: then every row it can count at all would have to be its own."""
    names = connection.execute(
        "SELECT a.attname FROM pg_attribute a WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped"
        " AND has_schema_privilege(%s, 'USAGE') AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')",
        [f'"{relation.schema}"."{relation.name}"', relation.schema],
    ).fetchall() if _may_use(connection, relation.schema) else []  # fmt: skip
    return [f"reads {relation} without its tenant"] if names else []


def _may_use(connection: psycopg.Connection[Any], schema: str) -> bool:
    row = connection.execute("SELECT has_schema_privilege(%s, 'USAGE')", [schema]).fetchone()
    return bool(row and row[0])
