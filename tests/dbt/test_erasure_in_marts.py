"""An erasure against marts that dbt really built: what it waits for, what a night takes out, what it will
not certify.

One story over a database of its own, told by the commands an operator gives. Which relations and columns there are is
asked of the catalogue, so a mart that is added later is held to the same.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import pytest
from click.testing import CliRunner

from infra.stack.s3 import S3Endpoint
from infra.stack.throwaway import Database, DatabaseServer, cloned_database, fresh_bucket
from pipelines.erasure.certificate import digest
from pipelines.erasure.cli import erase
from tests.dbt.conftest import Dbt
from tests.dbt.history import History, Row

# Three builds, and an erasure over a real bucket; the first test of a run waits for all of it.
pytestmark = pytest.mark.timeout(300)

FIRST_ID = 73 * 10**13  # ids that no figure has, so that a patient's number is known by its digits
NAME = "sealed name of the patient"
WAITS = 75
RELATIONS = """
    select c.oid::regclass::text as name, c.relkind in ('r', 'p', 'm') as is_built,
           array_agg(a.attname::text order by a.attnum) as columns
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where n.nspname like 'analytics%' and c.relkind in ('r', 'p', 'm', 'v')
    group by 1, 2 order by 1
"""
# Whose video, movement and plans show in the marts: of clinic 1, with a plan in progress, the one with most views.
PATIENT = """
    select p.id, p.principal_id from core.patients p join telemetry.media_session_metrics m on m.patient_id = p.id
    where p.organisation_id = 1 and exists (
      select from core.patient_treatment_plans t where t.patient_id = p.id and t.status = 'active')
    group by p.id order by count(*) desc, p.id limit 1
"""
IDENTITY = """
    update core.patients set full_name_encrypted = %(name)s, contact_encrypted = %(name)s where id = %(patient)s;
    insert into core.consents (organisation_id, patient_id, purpose, granted, effective_at, recorded_by)
    select 1, %(patient)s, purpose, true, now(), %(principal)s from unnest(array['biometric', 'analytics']) as purpose;
"""
# Something forgotten, and what takes it away again.
HIDDEN = """
    create table analytics.kept_aside as select %(old)s::bigint as patient_id;
    alter table analytics.kept_aside enable row level security;
    grant select on analytics.kept_aside to restartix_analytics_builder
"""
PLANTS = {
    "a row": (
        """
        insert into analytics.fct_reps
        select (jsonb_populate_record(r, jsonb_build_object('patient_id', %(old)s, 'rep_number', 32000))).*
        from analytics.fct_reps as r limit 1
        """,
        "delete from analytics.fct_reps where patient_id = %(old)s",
    ),
    "a view under another number": (
        """
        insert into {views}
        select (jsonb_populate_record(v, jsonb_build_object('session_id', %(session)s::uuid))).*
        from {views} as v limit 1
        """,
        "delete from {views} where session_id = %(session)s",
    ),
    "a new table": (
        """
        create table analytics.kept_aside as select %(old)s::bigint as patient_id;
        alter table analytics.kept_aside owner to restartix_analytics_builder
        """,
        "drop table analytics.kept_aside",
    ),
    "a materialized view": (
        """
        create materialized view analytics_staging.kept_aside as select %(old)s::bigint as patient_id;
        grant select on analytics_staging.kept_aside to restartix_analytics_builder
        """,
        "drop materialized view analytics_staging.kept_aside",
    ),
    "a table that may not be read": (
        "create table analytics.kept_aside as select %(old)s::bigint as patient_id",
        "drop table analytics.kept_aside",
    ),
    "a table whose rows are hidden": (HIDDEN, "drop table analytics.kept_aside"),
}


class Relation(NamedTuple):
    """A table or view of the analytics schemas."""

    name: str
    is_built: bool
    columns: list[str]


class Answer(NamedTuple):
    """What a command said."""

    exit_code: int
    out: str
    error: str


class Marts:
    """A clinic's database with its marts, one patient who asks to be erased, and the commands."""

    def __init__(self, database: Database, dbt: Dbt, environ: Mapping[str, str]) -> None:
        self.database, self.dbt = database, dbt
        self.environ = {
            **environ,
            "RESTARTIX_DATABASE_URL": database.url("sweeper"),
            "RESTARTIX_ANALYTICS_DATABASE_URL": database.url("analytics_builder"),
        }
        self.connection = psycopg.connect(database.admin_url, autocommit=True, row_factory=psycopg.rows.dict_row)
        [found] = self.rows(PATIENT)
        self.patient_id, self.principal_id = int(found["id"]), UUID(str(found["principal_id"]))
        self.do(IDENTITY, name=NAME, patient=self.patient_id, principal=self.principal_id)
        sessions = self.rows("select session_id from telemetry.sessions where patient_id = %(id)s", id=self.patient_id)
        self.session_ids = [row["session_id"] for row in sessions]

    def rows(self, query: str, **values: object) -> list[Row]:
        return self.connection.execute(query.encode(), values or None).fetchall()

    def do(self, statements: str, **values: object) -> None:
        with psycopg.ClientCursor(self.connection) as cursor:
            cursor.execute(statements.encode(), values)

    def erase(self, *arguments: object, without: str | None = None) -> Answer:
        environ: dict[str, str | None] = {**self.environ}
        if without is not None:
            environ[without] = None
        done = CliRunner().invoke(erase, [str(argument) for argument in arguments], env=environ)
        return Answer(done.exit_code, done.stdout, done.stderr)

    def relations(self) -> list[Relation]:
        return [Relation(**row) for row in self.rows(RELATIONS)]

    def contents(self) -> dict[str, list[Row]]:
        """Every row of every built table, but for how far the builds have come."""
        tables = [each.name for each in self.relations() if each.is_built and not each.name.endswith("refresh_state")]
        return {table: sorted(self.rows(f"select * from {table}"), key=str) for table in tables}

    def places_of(self, *marks: object) -> set[str]:
        """The columns in which a mark is, in whatever type: every column of every table and view is looked through."""
        found = set()
        for relation in self.relations():
            for column in relation.columns:
                look = (
                    f"select 1 from {relation.name} as r, unnest(%(marks)s::text[]) as mark"
                    f' where strpos(r."{column}"::text, mark) > 0 limit 1'
                )
                if self.rows(look, marks=[str(mark) for mark in marks]):
                    found.add(f"{relation.name}.{column}")
        return found

    def made_of_views(self) -> set[str]:
        """Relations that dbt makes of the media table, at whatever remove."""
        manifest = json.loads((self.dbt.target / "manifest.json").read_text())
        found, due = set(), ["source.restartix.telemetry.media_session_metrics"]
        while due:
            for child in manifest["child_map"][due.pop()]:
                node = manifest["nodes"].get(child)
                if node is not None and node["resource_type"] == "model":
                    found.add(f"{node['schema']}.{node['name']}")
                    due.append(child)
        return found

    def views(self) -> set[str]:
        """Built tables of views, or of sessions' video figures."""
        built = {each.name for each in self.relations() if each.is_built and "session_id" in each.columns}
        return built & self.made_of_views()


class Story(NamedTuple):
    """What was found at each point of it."""

    marts: Marts
    retained_id: int
    unlooked: Answer  # run without being told where the marts are
    waiting: Answer  # run before the night
    places_before: set[str]  # of the patient's number
    before: dict[str, list[Row]]
    night: dict[str, list[Row]]
    planted: dict[str, Answer]
    certificate: dict[str, Any]


def _tell(marts: Marts) -> Story:
    marts.dbt("run")
    before, places_before = marts.contents(), marts.places_of(marts.patient_id)
    erasure_id = marts.erase(
        "request", "--org", 1, "--patient", marts.patient_id, "--requested-by", "letter 12", "--yes"
    ).out.strip()
    owing = marts.erase("run", erasure_id, "--wait", 0)
    assert (owing.exit_code, "on disks of nodes: n" in owing.error) == (WAITS, True), owing
    assert marts.erase("node-destroyed", erasure_id, "n").exit_code == 0
    unlooked = marts.erase("run", erasure_id, "--wait", 0, without="RESTARTIX_ANALYTICS_DATABASE_URL")
    waiting = marts.erase("run", erasure_id, "--wait", 0)
    [erasure] = marts.rows("select retained_patient_id, certificate from core.erasures")
    assert erasure["certificate"] is None

    marts.dbt("run")
    night, planted = marts.contents(), {}
    views = min(marts.views())
    for name, (plant, pull) in PLANTS.items():
        values = {"old": marts.patient_id, "session": marts.session_ids[0]}
        marts.do(plant.format(views=views), **values)
        planted[name] = marts.erase("run", erasure_id, "--wait", 0)
        marts.do(pull.format(views=views), **values)
    assert marts.contents() == night
    assert marts.rows("select certificate from core.erasures") == [{"certificate": None}]
    done = marts.erase("run", erasure_id, "--wait", 0)
    assert done.exit_code == 0, done
    certificate = json.loads(done.out)
    return Story(
        marts, erasure["retained_patient_id"], unlooked, waiting, places_before, before, night, planted, certificate
    )


@pytest.fixture(scope="module")
def story(
    postgres_server: DatabaseServer,
    migrated_template: str,
    s3_server: S3Endpoint,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    with cloned_database(postgres_server, migrated_template) as database, fresh_bucket(s3_server) as bucket:
        with psycopg.connect(database.admin_url) as connection:
            connection.execute("select telemetry.ensure_partitions('2026-01-01', '2026-12-31')")
            history = History(connection, random.Random(7))
            history._next_id = FIRST_ID
            history.write()
        marts = Marts(database, Dbt(database, tmp_path_factory.mktemp("dbt")), bucket.environment())
        with marts.connection:
            yield _tell(marts)


def named(answer: Answer) -> set[str]:
    """The tables that a command which waits for the build has named."""
    prefix = "Not done yet, waiting for: the nightly build, which takes the patient out of "
    [line] = [line for line in answer.error.splitlines() if line.startswith(prefix)]
    return set(line.removeprefix(prefix).split(", "))


def test_before_the_night_it_waits_and_names_every_table_that_the_patient_is_in(story: Story) -> None:
    built = {each.name for each in story.marts.relations() if each.is_built}
    tables = {place.rpartition(".")[0] for place in story.places_before} & built
    assert {
        "analytics.fct_reps",
        "analytics.patient_progress",
        "analytics.dim_patients",
    } | story.marts.views() <= tables
    assert story.waiting.exit_code == WAITS
    assert named(story.waiting) == tables
    assert story.waiting.out == ""


def test_it_does_not_run_without_the_marts(story: Story) -> None:
    """Else it would certify what it has not looked at."""
    assert story.unlooked.exit_code == 1
    assert "RESTARTIX_ANALYTICS_DATABASE_URL" in story.unlooked.error


def test_after_the_night_no_relation_has_the_patient(story: Story) -> None:
    marts = story.marts
    assert marts.places_of(marts.patient_id, marts.principal_id, NAME) == set()
    # What is retained is where it was, under the random number. What is missing was of views and nothing else.
    was = {place for place in story.places_before if place.endswith(".patient_id")}
    now = marts.places_of(story.retained_id)
    assert now <= was
    assert {place.rpartition(".")[0] for place in was - now} <= marts.made_of_views()
    kept = ("dim_patients", "fct_reps", "fct_exercise_logs", "fct_treatment_sessions", "patient_progress")
    assert {f"analytics.{name}.patient_id" for name in kept} <= now


def test_after_the_night_sessions_are_of_the_random_number_and_none_has_a_view(story: Story) -> None:
    marts = story.marts
    of_views = marts.made_of_views()
    holding = {place.rpartition(".")[0] for place in marts.places_of(*marts.session_ids)}
    assert {"analytics.fct_reps", "analytics_intermediate.int_pose_sessions"} <= holding
    assert holding & of_views == set()
    for relation in marts.relations():
        if relation.name in holding and "patient_id" in relation.columns:
            query = f"select distinct patient_id from {relation.name} where session_id = any (%(ids)s)"
            assert marts.rows(query, ids=marts.session_ids) == [{"patient_id": story.retained_id}], relation.name
    logs = [row for row in story.night["analytics.fct_exercise_logs"] if row["patient_id"] == story.retained_id]
    assert logs
    assert {(row["views"], row["stall_ms"], row["played_ms"], row["bitrate_bits"]) for row in logs} == {(None,) * 4}
    was = [row for row in story.before["analytics.fct_exercise_logs"] if row["patient_id"] == marts.patient_id]
    assert any(row["views"] for row in was)
    # The eraser knows a table of views by its name.
    assert [name for name in marts.views() if "media" not in name] == []


def test_nobody_elses_rows_have_changed(story: Story) -> None:
    numbers = {story.marts.patient_id, story.retained_id}
    compared = 0
    for table, rows in story.before.items():
        others = [[row for row in each if _is_anothers(row, numbers)] for each in (rows, story.night[table])]
        assert others[0] == others[1], table
        compared += len(others[0]) > 0
    assert compared > 20


def _is_anothers(row: Row, numbers: set[int]) -> bool:
    """Of another patient, or of another clinic as a whole."""
    return row["patient_id"] not in numbers if "patient_id" in row else row.get("organisation_id") == 2


@pytest.mark.parametrize(
    ("plant", "table"),  # None: the first of those of views
    [
        ("a row", "analytics.fct_reps"),
        ("a view under another number", None),
        ("a new table", "analytics.kept_aside"),
        ("a materialized view", "analytics_staging.kept_aside"),
    ],
)
def test_what_was_forgotten_is_named_and_nothing_is_certified(story: Story, plant: str, table: str | None) -> None:
    answer = story.planted[plant]
    assert (answer.exit_code, answer.out) == (WAITS, "")
    assert named(answer) == {table or min(story.marts.views())}


@pytest.mark.parametrize("plant", ["a table that may not be read", "a table whose rows are hidden"])
def test_what_cannot_be_looked_through_is_not_certified(story: Story, plant: str) -> None:
    answer = story.planted[plant]
    assert (answer.exit_code, answer.out) == (1, "")
    assert "analytics.kept_aside" in answer.error


def test_the_certificate_says_which_marts_were_looked_at(story: Story) -> None:
    certificate = story.certificate
    assert certificate["sha256"] == digest(certificate)
    verified = {each["where"]: each["remaining"] for each in certificate["verified"]}
    assert set(verified.values()) == {0}
    with_patient = {each.name for each in story.marts.relations() if each.is_built and "patient_id" in each.columns}
    assert with_patient <= verified.keys()
    assert str(story.marts.patient_id) not in json.dumps(certificate)


def test_a_full_refresh_gives_what_the_night_gave(story: Story) -> None:
    story.marts.dbt("run", "--full-refresh")
    refreshed = story.marts.contents()
    assert refreshed.keys() == story.night.keys()
    assert [table for table, rows in refreshed.items() if rows != story.night[table]] == []
