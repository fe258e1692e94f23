"""What the stores hold of the demonstration's sessions: rows in Postgres, gzip members in the S3 objects themselves.

Belongs here: reading, as the database's owner, the analytics builder or an analyst in psql. Does not belong here: any
judgement (``reckoning``).
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from infra.demo.organisation import HeldPlan
from infra.demo.reckoning import StoredSession

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SQL = {path.stem: path.read_text() for path in (Path(__file__).parent / "sql").glob("*.sql")}


class NotSettledError(RuntimeError):
    """Sessions that were not finalised and applied in time; the message says how many are in which state."""


def wait_until_applied(
    owner_url: str, session_ids: Sequence[UUID], *, timeout_s: float, tell: Callable[[int], None]
) -> None:
    """Return once every session is finalised and its newest revision applied (or has failed for good).

    ``tell`` hears how many are still open. Raises NotSettledError after ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    with psycopg.connect(owner_url, autocommit=True) as connection:
        while True:
            rows = connection.execute(
                _SQL["unsettled_sessions"].encode(), {"session_ids": list(session_ids)}
            ).fetchall()
            tell(sum(count for _, count in rows))
            if not rows:
                return
            if time.monotonic() > deadline:
                states = ", ".join(f"{count} {state}" for state, count in rows)
                raise NotSettledError(f"after {timeout_s:.0f} s not finalised and applied: {states}")
            time.sleep(0.25)


def stored_sessions(owner_url: str, s3: S3Client, bucket: str, session_ids: Sequence[UUID]) -> list[StoredSession]:
    """The sessions as Postgres and S3 know them."""
    with psycopg.connect(owner_url, row_factory=dict_row) as connection:
        rows = connection.execute(_SQL["stored_sessions"].encode(), {"session_ids": list(session_ids)}).fetchall()
    found = []
    for row in rows:
        key, version_id = row.pop("blob_key"), row.pop("blob_version_id")
        members = count_gzip_members(_download(s3, bucket, key, version_id)) if key is not None else 0
        found.append(StoredSession(members_in_object=members, **row))
    return found


def count_gzip_members(body: bytes) -> int:
    """How many gzip members ``body`` is made of, each decompressed to its end. Raises zlib.error if it is damaged."""
    members = 0
    while body:
        member = zlib.decompressobj(wbits=31)
        member.decompress(body)
        if not member.eof:
            raise zlib.error(f"gzip member {members} is cut off")
        members += 1
        body = member.unused_data
    return members


def sittings_in_marts(builder_url: str, plan_id: int) -> tuple[int, int]:
    """(completed, skipped) of one plan, summed over its weeks in ``analytics.plan_weekly_adherence``."""
    with psycopg.connect(builder_url) as connection:
        row = connection.execute(_SQL["sittings_in_marts"].encode(), {"plan_id": plan_id}).fetchone()
    assert row is not None, "an aggregate without GROUP BY has one row"
    return row[0], row[1]


def clinic_plans(owner_url: str, organisation_id: int) -> list[HeldPlan]:
    """The clinic's plans and sittings as they were written, of all runs of the demonstration."""
    with psycopg.connect(owner_url, row_factory=dict_row) as connection:
        rows = connection.execute(_SQL["clinic_plans"].encode(), {"organisation_id": organisation_id}).fetchall()
    return msgspec.convert(rows, list[HeldPlan])


def dashboard_in_psql(psql: str, analyst_url: str) -> dict[str, Any]:
    """The one row of ``analytics.organisation_dashboard`` that an analyst's login sees in psql.

    Raises LookupError where it sees none or several, subprocess.CalledProcessError where psql fails.
    """
    command = [psql, "--no-psqlrc", "--tuples-only", "--no-align", "--command", _SQL["dashboard_of_an_analyst"]]
    done = subprocess.run(
        [*command, "--dbname", analyst_url], env=os.environ, capture_output=True, text=True, check=True, timeout=60
    )
    rows = done.stdout.splitlines()
    if len(rows) != 1:
        raise LookupError(f"an analyst of one organisation sees {len(rows)} dashboards")
    found: dict[str, Any] = json.loads(rows[0])
    return found


def mart_rows(builder_url: str) -> dict[str, int]:
    """Rows of every table in schema ``analytics``, by name."""
    with psycopg.connect(builder_url) as connection:
        names = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'analytics' ORDER BY tablename"
        ).fetchall()
        counts = {}
        for (name,) in names:
            query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("analytics", name))
            row = connection.execute(query).fetchone()
            assert row is not None
            counts[name] = row[0]
    return counts


def _download(s3: S3Client, bucket: str, key: str, version_id: str | None) -> bytes:
    answer = (
        s3.get_object(Bucket=bucket, Key=key, VersionId=version_id)
        if version_id is not None
        else s3.get_object(Bucket=bucket, Key=key)
    )
    return answer["Body"].read()
