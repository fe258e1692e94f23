"""What counts as done is one rule: the live reads, a treatment session's counter and the marts answer the same of the
same rows.
"""

from __future__ import annotations

from collections import defaultdict

import psycopg
from psycopg.rows import dict_row

from core_api.queries import query
from tests.dbt.conftest import Marts
from tests.dbt.history import Row

KINDS = """
select l.id, core.exercise_is_done(l) as is_done, l.skipped, l.reported,
       exists (select from telemetry.sessions s
               where s.patient_exercise_log_id = l.id and s.end_reason = 'completed') as is_ended_as_completed,
       (l.actual_reps_source = 'counted'
        and l.actual_reps >= coalesce(l.prescribed_sets, 1) * l.prescribed_reps) is true as is_counted_in_full
from core.patient_exercise_logs l
"""


def _live(marts: Marts, plan: Row) -> dict[int, Row]:
    """What the specialist's analytics read of a plan, by exercise."""
    with psycopg.connect(marts.database.url("core_api"), row_factory=dict_row) as connection:
        connection.execute("select set_config('app.org_id', %s, true)", [str(plan["organisation_id"])])
        asked = {"plan_id": plan["id"], "treatment_plan_id": plan["treatment_plan_id"]}
        return {row["exercise_id"]: row for row in connection.execute(query("plan_exercises"), asked)}


def test_each_log_is_done_by_the_database_as_in_the_mart(marts: Marts) -> None:
    logs = marts.rows(KINDS)
    facts = marts.rows("select patient_exercise_log_id, is_done from analytics.fct_exercise_logs")
    held = {row["patient_exercise_log_id"]: row["is_done"] for row in facts}
    assert {log["id"]: log["is_done"] for log in logs} == held
    seen: dict[tuple[bool, ...], set[bool]] = defaultdict(set)
    for log in logs:
        evidence = (log["reported"], log["is_ended_as_completed"], log["is_counted_in_full"])
        seen[(log["skipped"], *evidence)].add(log["is_done"])
        assert log["is_done"] == (not log["skipped"] and any(evidence))
    # Each kind of evidence alone, none of them, and skipped: the history holds all.
    assert {(False, *each) for each in ((True, False, False), (False, True, False), (False, False, True))} <= set(seen)
    assert {(False, False, False, False), (True, False, False, False)} <= set(seen)


def test_a_plans_analytics_and_its_mart_count_the_same_sessions_as_done(marts: Marts) -> None:
    held = {
        (row["patient_treatment_plan_id"], row["exercise_id"]): row["sessions_done"]
        for row in marts.rows("select * from analytics.exercise_performance")
    }
    compared = below = 0
    for plan in marts.rows("select id, organisation_id, treatment_plan_id from core.patient_treatment_plans"):
        for exercise_id, row in _live(marts, plan).items():
            if row["total"] == 0:
                assert (plan["id"], exercise_id) not in held
                continue
            assert row["done"] == held[(plan["id"], exercise_id)]
            compared += 1
            below += row["done"] + row["skipped"] < row["total"]
    assert compared == len(held)
    assert below >= 10, "the history has no exercise that was only started"


def test_a_sittings_counter_is_the_number_of_its_exercises_that_are_done(marts: Marts) -> None:
    """`core.recount_exercises`, by which the subscriber counts again where a result comes after the completion."""
    sittings = marts.rows(
        """
        select session_completion_id, organisation_id, min(patient_exercise_log_id) as log_id,
               count(distinct exercise_id) filter (where is_done)::integer as done
        from analytics.fct_exercise_logs where session_status = 'completed'
        group by session_completion_id, organisation_id order by session_completion_id limit 60
        """
    )
    with psycopg.connect(marts.database.admin_url, row_factory=dict_row) as connection:
        for sitting in sittings:
            connection.execute("set local role restartix_subscriber")
            connection.execute("select set_config('app.org_id', %s, true)", [str(sitting["organisation_id"])])
            connection.execute("select core.recount_exercises(%s)", [sitting["log_id"]])
            connection.execute("reset role")
        counted = {
            row["id"]: row["exercises_completed"]
            for row in connection.execute("select id, exercises_completed from core.patient_session_completions")
        }
        connection.rollback()
    assert {each["session_completion_id"]: counted[each["session_completion_id"]] for each in sittings} == {
        each["session_completion_id"]: each["done"] for each in sittings
    }
    assert len({each["done"] for each in sittings}) == 3, "none, one and both of its exercises"
