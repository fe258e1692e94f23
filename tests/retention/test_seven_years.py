"""The clock moved on for seven years: rows by a clock of the test's own, objects by S3's rules executed here.

Every period of the retention is counted by ``telemetry.expiry_cutoff``; the test gives that function another clock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import psycopg
import pytest

from infra.stack.throwaway import Database
from pipelines.adapters.postgres.retention_store import PostgresRetentionStore
from pipelines.retention.apply import run
from pipelines.retention.lifecycle import render
from pipelines.retention.objects import expected_class
from pipelines.retention.policy import ObjectRule, load
from tests.retention.test_postgres import CLINIC, TREATMENT

LATER_CLOCK = """
CREATE TABLE telemetry.later (by interval NOT NULL);
GRANT SELECT ON telemetry.later TO restartix_owner;
INSERT INTO telemetry.later VALUES ('0');
CREATE OR REPLACE FUNCTION telemetry.expiry_cutoff(kept_days integer, floor_days integer) RETURNS timestamptz
  LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF kept_days < floor_days THEN RAISE EXCEPTION 'below the floor'; END IF;
  RETURN clock_timestamp() + (SELECT by FROM telemetry.later) - make_interval(days => kept_days);
END $$;
"""


class Years:
    """A database whose retention believes that it is `days` later."""

    def __init__(self, database: Database, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        self._database = database
        self._store = PostgresRetentionStore(connection)

    def night(self, days: int) -> None:
        with psycopg.connect(self._database.admin_url) as connection:
            connection.execute("update telemetry.later set by = make_interval(days => %s)", [days])
        assert run(self._store, load()).failures == []

    def kept(self, retention: str) -> tuple[int, int, int]:
        """Sessions, sessions with a replay, members of the index."""
        with psycopg.connect(self._database.admin_url) as connection:
            row = connection.execute(
                """
                select count(*), count(blob_key), coalesce(sum((select count(*) from telemetry.blob_members m
                  where m.session_id = s.session_id)), 0) from telemetry.sessions s where retention = %s
                """,
                [retention],
            ).fetchone()
        assert row is not None
        return int(row[0]), int(row[1]), int(row[2])


@pytest.fixture
def years(database: Database) -> Iterator[Years]:
    now = dt.datetime.now(dt.UTC)
    with psycopg.connect(database.admin_url) as connection:
        connection.execute(CLINIC)
        connection.execute(LATER_CLOCK)
        for number, retention in enumerate(("default", "clinical"), start=1):
            values = {"at": now, "patient": 1, "number": number, "retention": retention}
            connection.execute(TREATMENT, values)
    with psycopg.connect(database.url("sweeper"), autocommit=True) as connection:
        yield Years(database, connection)


def test_a_flagged_session_is_whole_until_its_last_day(years: Years) -> None:
    years.night(183)
    assert years.kept("default") == years.kept("clinical") == (1, 1, 1)
    years.night(185)
    assert years.kept("default") == (1, 0, 0)
    for days in (185, 366, 732, 1500, 2556):
        years.night(days)
        assert years.kept("clinical") == (1, 1, 1), days
    assert years.kept("default") == (1, 0, 0)
    years.night(2558)
    assert years.kept("clinical") == years.kept("default") == (0, 0, 0)


def _rule(tag: str) -> ObjectRule:
    return next(rule for rule in load().objects if rule.tag == tag)


@pytest.mark.parametrize("size_bytes", [1000, 40_000_000])
def test_no_day_of_seven_years_takes_a_flagged_object(size_bytes: int) -> None:
    """Day by day, by the rule of its tag; and no other rule of the document touches a present version."""
    clinical = _rule("clinical")
    classes = [expected_class(clinical, size_bytes, dt.timedelta(days=day)) for day in range(2559)]
    assert None not in classes[:2557]
    assert classes[2557] is None
    document = render(load())
    for rule in document["Rules"]:
        expires = rule.get("Expiration", {}).get("Days")
        if expires is not None and expires < 2557:
            assert rule["Filter"] != {"Tag": {"Key": "retention", "Value": "clinical"}}
            assert "Tag" in rule["Filter"], "a rule for every object would take flagged ones too"


def test_the_classes_are_those_of_the_lifecycle_document() -> None:
    """What is expected of an object and what S3 is told say the same on every day."""
    rules = {rule["ID"].removeprefix("retention-"): rule for rule in render(load())["Rules"]}
    for tag in ("default", "clinical", "media"):
        for day in range(2600):  # the ledger never changes class: test_policy
            told = None
            if day < rules[tag]["Expiration"]["Days"]:
                passed = [step["StorageClass"] for step in rules[tag]["Transitions"] if day >= step["Days"]]
                told = passed[-1] if passed else "STANDARD"
            assert expected_class(_rule(tag), 1_000_000, dt.timedelta(days=day)) == told, (tag, day)
