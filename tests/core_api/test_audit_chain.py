"""The audit chain: each attack on the log is named by the first link it breaks; and who may touch the log at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import errors

from core_api.audit import Author, record
from core_api.audit_chain import Verdict, genesis, verify
from core_api.audit_cli import audit
from infra.stack.throwaway import Database
from tests.core_api.clinics import Api, Clinic

KEPT = timedelta(days=2557)
AUTHOR = Author(None, "operator", "request-1")
Attack = tuple[str, str, int]


def checked(api: Api, clinic: Clinic, anchors: dict[int, str] | None = None) -> Verdict:
    with api.deps.database.tenant(clinic.organisation_id) as tx:
        return verify(tx, clinic.organisation_id, KEPT, datetime.now(UTC), anchors=anchors)


def write(api: Api, clinic: Clinic, count: int) -> None:
    for number in range(count):
        with api.deps.database.tenant(clinic.organisation_id) as tx:
            record(tx, AUTHOR, "note", "core.organisations", clinic.organisation_id, number=number)


def forced(api: Api, statement: str, *values: object) -> None:
    """As a superuser who switches every trigger off."""
    with api.admin.transaction():
        api.admin.execute("set local session_replication_role = replica")
        api.admin.execute(statement.encode(), values)


def nth(api: Api, clinic: Clinic, sequence: int) -> int:
    [row] = api.rows(
        "select audit_id from core.audit_chain where organisation_id = %s and sequence = %s",
        clinic.organisation_id,
        sequence,
    )
    return int(row["audit_id"])


def test_a_chain_as_it_was_written_is_whole_and_ends_at_its_head(api: Api, clinic: Clinic, foreign: Clinic) -> None:
    write(api, clinic, 3)
    verdict = checked(api, clinic)
    [head] = api.rows("select * from core.audit_heads where organisation_id = %s", clinic.organisation_id)
    [count] = api.rows("select count(*) as n from core.audit_log where organisation_id = %s", clinic.organisation_id)
    assert verdict.broken is None
    assert verdict.links == head["sequence"] == count["n"] > 3
    assert bytes.fromhex(verdict.head.link) == bytes(head["link"]) != genesis(clinic.organisation_id)
    assert checked(api, foreign).head.organisation_id == foreign.organisation_id


@pytest.mark.parametrize(
    ("attack", "fault"),
    [
        ("update core.audit_log set action = 'other' where id = %s", "row_altered"),
        ("update core.audit_log set details = details || '{\"x\": 1}' where id = %s", "row_altered"),
        ("update core.audit_log set occurred_at = occurred_at - interval '1 microsecond' where id = %s", "row_altered"),
        ("update core.audit_log set state_after = sha256('') where id = %s", "row_altered"),
        ("update core.audit_log set actor_principal_id = gen_random_uuid() where id = %s", "actor_altered"),
        ("delete from core.audit_log where id = %s", "row_missing"),
        ("delete from core.audit_chain where audit_id = %s", "link_missing"),
        ("update core.audit_chain set link = sha256('') where audit_id = %s", "link_broken"),
        ("update core.audit_chain set row_digest = sha256('') where audit_id = %s", "link_broken"),
    ],
)
def test_the_first_broken_link_is_named(api: Api, clinic: Clinic, attack: str, fault: str) -> None:
    write(api, clinic, 4)
    sequence = checked(api, clinic).links - 2
    audit_id = nth(api, clinic, sequence)
    forced(api, attack, audit_id)
    broken = checked(api, clinic).broken
    assert broken is not None
    assert broken.fault == fault
    assert broken.sequence == (sequence + 1 if fault == "link_missing" else sequence)


def test_an_end_cut_off_and_a_row_slipped_in_show(api: Api, clinic: Clinic) -> None:
    write(api, clinic, 2)
    last = nth(api, clinic, checked(api, clinic).links)
    forced(
        api,
        "insert into core.audit_log (organisation_id, actor_role, action, entity, entity_id)"
        " values (%s, 'operator', 'slipped in', 'core.organisations', '1')",
        clinic.organisation_id,
    )
    broken = checked(api, clinic).broken
    assert broken is not None
    assert (broken.fault, broken.sequence) == ("row_unchained", None)
    forced(api, "delete from core.audit_log where id >= %s", last)
    forced(api, "delete from core.audit_chain where audit_id >= %s", last)
    broken = checked(api, clinic).broken
    assert broken is not None
    assert broken.fault == "head_differs"


def test_a_chain_rewritten_as_a_whole_does_not_fit_its_anchor(api: Api, clinic: Clinic) -> None:
    write(api, clinic, 2)
    whole = checked(api, clinic).head
    write(api, clinic, 1)
    assert checked(api, clinic, {whole.sequence: whole.link}).broken is None
    # An owner of the database who makes every row and link anew, one row otherwise than it was.
    forced(api, "create temp table kept as select * from core.audit_log where organisation_id = %s order by id",
           clinic.organisation_id)  # fmt: skip
    for table in ("audit_log", "audit_chain", "audit_heads"):
        forced(api, f"delete from core.{table} where organisation_id = %s", clinic.organisation_id)
    api.admin.execute(
        "insert into core.audit_log (organisation_id, occurred_at, actor_role, action, entity, entity_id, details)"
        " select organisation_id, occurred_at, actor_role, action || '', entity, '0', details from kept order by id"
    )
    assert checked(api, clinic).broken is None
    broken = checked(api, clinic, {whole.sequence: whole.link}).broken
    assert broken is not None
    assert (broken.fault, broken.sequence) == ("anchor_differs", whole.sequence)


def test_retention_may_delete_rows_and_an_erasure_may_take_an_actor_out(api: Api, clinic: Clinic) -> None:
    write(api, clinic, 3)
    before = checked(api, clinic)
    old, redacted = nth(api, clinic, before.links - 1), nth(api, clinic, before.links)
    forced(api, "update core.audit_chain set chained_at = now() - interval '2600 days' where audit_id = %s", old)
    forced(api, "delete from core.audit_log where id = %s", old)
    with api.admin.transaction():
        api.admin.execute("set local role restartix_owner")
        api.admin.execute(
            "update core.audit_log set actor_principal_id = gen_random_uuid(), actor_salt = null where id = %s",
            [redacted],
        )
    verdict = checked(api, clinic)
    assert verdict.broken is None
    assert (verdict.expired, verdict.erased_actors, verdict.head) == (1, 1, before.head)


@pytest.mark.parametrize(
    "statement",
    [
        "update core.audit_log set action = 'other'",
        "update core.audit_log set actor_principal_id = gen_random_uuid()",
        "update core.audit_log set action = 'other', actor_salt = null",
        "truncate core.audit_log",
        "delete from core.audit_chain",
        "update core.audit_chain set sequence = sequence + 100",
        "truncate core.audit_chain",
    ],
)
def test_not_even_the_owner_changes_the_log(api: Api, clinic: Clinic, statement: str) -> None:
    assert checked(api, clinic).links > 0
    with api.admin.transaction(force_rollback=True):
        api.admin.execute("set local role restartix_owner")
        with pytest.raises(errors.InsufficientPrivilege, match="append-only"):
            api.admin.execute(statement.encode())


ROLES = ("ingest", "finaliser", "sweeper", "core_api", "subscriber", "analytics_builder", "console")


@pytest.mark.parametrize("table", ["audit_log", "audit_chain", "audit_heads"])
def test_no_role_may_change_or_delete_and_one_may_write(database: Database, table: str) -> None:
    with psycopg.connect(database.admin_url) as connection:
        found = connection.execute(
            "select r, p from unnest(%s::text[]) r, unnest(array['INSERT','UPDATE','DELETE','TRUNCATE']) p"
            " where has_table_privilege(r, %s, p)"
            " or (p in ('INSERT', 'UPDATE') and has_any_column_privilege(r, %s, p))",
            [[f"restartix_{role}" for role in (*ROLES, "analyst")], f"core.{table}", f"core.{table}"],
        ).fetchall()
    assert found == ([("restartix_core_api", "INSERT")] if table == "audit_log" else [])


def test_a_row_says_by_reference_what_was_before_and_after(api: Api, clinic: Clinic) -> None:
    path = f"/v1/exercises/{clinic.ids.exercises['Quad Set']}"
    for name in ("Hop", "Skip"):
        assert api.call("PATCH", path, api.specialist(clinic), json={"name": name}).status_code == 200
    made, hop, skip = api.rows(
        "select state_before, state_after, details from core.audit_log"
        " where entity = 'core.exercises' and entity_id = %s order by id",
        str(clinic.ids.exercises["Quad Set"]),
    )
    assert made["state_before"] is None
    assert made["state_after"] == hop["state_before"] != hop["state_after"] == skip["state_before"]
    assert len({bytes(row["state_after"]) for row in (made, hop, skip)}) == 3
    assert hop["details"]["request_id"] != skip["details"]["request_id"]


def test_a_transaction_undone_leaves_no_link_and_two_at_once_leave_one_after_the_other(
    api: Api, clinic: Clinic
) -> None:
    before = checked(api, clinic).links
    with pytest.raises(ZeroDivisionError), api.deps.database.tenant(clinic.organisation_id) as tx:
        record(tx, AUTHOR, "undone", "core.organisations", clinic.organisation_id)
        1 / 0  # noqa: B018
    with api.deps.database.tenant(clinic.organisation_id) as one:
        record(one, AUTHOR, "first begun", "core.organisations", clinic.organisation_id)
        # Had the head been locked when the row was written, this would wait for the one above for ever.
        with api.deps.database.tenant(clinic.organisation_id) as other:
            record(other, AUTHOR, "first done", "core.organisations", clinic.organisation_id)
    verdict = checked(api, clinic)
    assert (verdict.links, verdict.broken) == (before + 2, None)
    last = [api.rows("select action from core.audit_log where id = %s", nth(api, clinic, n)) for n in (before + 1,)]
    assert last == [[{"action": "first done"}]]


@pytest.fixture
def run(database: Database) -> Callable[..., tuple[int, str]]:
    def invoke(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(audit, arguments, env={"RESTARTIX_DATABASE_URL": database.url("core_api")})
        return done.exit_code, done.output

    return invoke


def test_the_command_verifies_every_organisation_and_keeps_anchors(
    api: Api, clinic: Clinic, foreign: Clinic, run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    status, output = run("anchor")
    assert status == 0
    anchors = [json.loads(line) for line in output.splitlines()]
    assert {each["organisation_id"] for each in anchors} == {clinic.organisation_id, foreign.organisation_id}
    (tmp_path / "anchors").write_text(output)
    status, output = run("verify", "--anchors", str(tmp_path / "anchors"))
    assert (status, output.count("whole")) == (0, 2)
    forced(api, "update core.audit_log set action = 'x' where id = %s", nth(api, foreign, 2))
    status, output = run("verify")
    assert status == 1
    assert output.count("whole") == 1
    assert f"organisation {foreign.organisation_id}" in output
    assert "BROKEN at link 2" in output
    assert "row altered" in output
    assert run("verify", "--org", str(clinic.organisation_id))[0] == 0
    assert run("anchor")[0] == 1
