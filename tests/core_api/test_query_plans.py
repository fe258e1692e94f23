"""How Postgres reads: every read of a plan or a session through an index, and one month of a partitioned table.

In a test's small tables a sequential scan is the cheapest plan whatever indices there are, so it is made expensive:
what is left of it has no index to use, at any size. That the planner takes the indices by itself at ten million logs,
the benchmark of the reads counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from core_api.queries import query
from tests.core_api.clinics import Api, Clinic
from tests.core_api.test_sessions import open_session, start

LARGE = re.compile(
    r"(patient_session_completions|patient_exercise_logs|sessions|blob_members|replay_retags|reference_sessions"
    r"|patient_treatment_plans|(pose|media)_\w+)"
)
MONTH = re.compile(r"_\d{6}$")
LIVE = [
    "plan",
    "plan_sittings",
    "plan_exercises",
    "plan_exercise",
    "exercise_trend",
    "movement_of_sessions",
    "treatment_session",
    "streams_of_treatment_session",
    "session",
    "list_treatment_sessions",
    "list_exercise_logs",
    "session_pose",
    "session_reps",
    "session_rep",
    "session_views",
    "session_stalls",
    "blob_members",
    "retained_blob",
    "retags_of_session",
    "reference_of_session",
    "references_of_patient",
]
OF_ONE_MONTH = {"session_pose", "session_reps", "session_rep", "session_views", "session_stalls"}


LEADING = """
select i.indexrelid::regclass::text as index, a.attname as leading
from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
"""


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


@dataclass(frozen=True)
class Explained:
    """What a plan reads, and what of that it reads from end to end."""

    relations: set[str]
    end_to_end: list[str]


@pytest.fixture
def values(api: Api, clinic: Clinic) -> dict[str, Any]:
    sitting = open_session(api, clinic)["id"]
    _, started = start(api, clinic, sitting, "Quad Set")
    [session] = api.rows("select session_id, started_at from telemetry.sessions")
    assert str(session["session_id"]) == started["session_id"]
    return {
        **session,
        "principal_id": None,
        "plan_id": clinic.plan_id,
        "patient_id": clinic.patient_id,
        "treatment_plan_id": clinic.ids.treatment_plans["Post-ACL Rehab"],
        "exercise_id": clinic.ids.exercises["Quad Set"],
        "treatment_session_id": sitting,
        "before": None,
        "after": None,
        "fetch": 51,
        "revision": 1,
        "rep_number": 3,
        "from_ms": 0,
        "to_ms": 1000,
    }


def explained(api: Api, clinic: Clinic, statement: bytes, values: dict[str, Any]) -> Explained:
    """A large relation is read from end to end by a sequential scan, or by an index whose first column is not asked."""
    leading = {row["index"].rpartition(".")[2]: row["leading"] for row in api.rows(LEADING)}
    with api.deps.database.tenant(clinic.organisation_id) as tx:
        tx.execute("set local enable_seqscan = off")
        row = tx.execute(b"explain (format json) " + statement, values).fetchone()
    assert row is not None
    found = list(nodes(row["QUERY PLAN"][0]["Plan"]))
    whole = [each["Relation Name"] for each in found if each["Node Type"] == "Seq Scan"]
    for each in found:
        index = each.get("Index Name")
        if index is not None and leading[index] not in each.get("Index Cond", ""):
            whole.append(each.get("Relation Name", index))
    relations = {each["Relation Name"] for each in found if "Relation Name" in each}
    return Explained(relations, [each for each in whole if LARGE.match(each)])


@pytest.mark.parametrize("name", LIVE)
def test_a_live_read_goes_through_indices_and_one_month(
    api: Api, clinic: Clinic, values: dict[str, Any], name: str
) -> None:
    session_ids, starts = [values["session_id"]], [values["started_at"]]
    asked = {**values, "session_ids": session_ids, "started_at": starts} if name == "movement_of_sessions" else values
    found = explained(api, clinic, query(name), asked)
    assert found.relations, "the plan reads something"
    assert found.end_to_end == []
    months = {relation for relation in found.relations if MONTH.search(relation)}
    if name in OF_ONE_MONTH or name == "movement_of_sessions":
        assert {MONTH.findall(each)[0] for each in months} == {f"_{values['started_at']:%Y%m}"}
    else:
        assert months == set()


def test_a_trend_over_three_months_looks_into_three(api: Api, clinic: Clinic, values: dict[str, Any]) -> None:
    starts = [values["started_at"] - timedelta(days=31 * back) for back in range(3)]
    asked = {**values, "session_ids": [values["session_id"]] * 3, "started_at": starts}
    months = {each[-6:] for each in explained(api, clinic, query("movement_of_sessions"), asked).relations}
    assert months == {f"{each:%Y%m}" for each in starts}


@pytest.mark.parametrize(
    ("statement", "relation"),
    [
        (b"select 1 from telemetry.pose_rep_metrics where rep_number = 3", "pose_rep_metrics"),
        (b"select 1 from telemetry.media_buffering_events where position_seconds = 3", "media_buffering_events"),
        (b"select 1 from telemetry.blob_members where ordinal = 3", "blob_members"),
    ],
)
def test_the_check_itself_finds_what_is_read_from_end_to_end(
    api: Api, clinic: Clinic, statement: bytes, relation: str
) -> None:
    found = explained(api, clinic, statement, {})
    assert found.end_to_end
    assert all(each.startswith(relation) for each in found.end_to_end)


@pytest.mark.parametrize("name", ["plan_exercises", "list_exercise_logs"])
def test_what_counts_as_done_is_taken_into_the_statement(
    api: Api, clinic: Clinic, values: dict[str, Any], name: str
) -> None:
    """Called for each log as a function it would cost more than the read does."""
    with api.deps.database.tenant(clinic.organisation_id) as tx:
        plan = tx.execute(b"explain (verbose) " + query(name), values).fetchall()
    text = "\n".join(str(row["QUERY PLAN"]) for row in plan)
    assert "reported" in text, "the rule is in the plan"
    assert "counts_as_done" not in text
