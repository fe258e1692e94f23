"""The sweep as the operator runs it, and the checks that every session moves on, over a real database."""

from __future__ import annotations

import dagster as dg
import psycopg
import pytest

from infra.stack.throwaway import Database
from tests.orchestration.clinic import ends, session


def told(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    """The metadata of the one materialisation of a run."""
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()}


def test_the_job_closes_what_is_silent_and_nothing_else(connected: dg.Definitions, database: Database) -> None:
    silent = session(database, silent_s=90)
    alive = session(database, silent_s=30)
    ours = session(database, silent_s=90, node_ready_s=20)
    lost = session(database, silent_s=30, node_ready_s=None)
    result = connected.resolve_job_def("sweep").execute_in_process()
    assert ends(database) == {
        silent: ("ended", "timeout", True),
        alive: ("open", None, False),
        ours: ("open", None, False),
        lost: ("ended", "node_lost", True),
    }
    assert told(result) == {
        "closed_as_timeout": 1,
        "closed_as_node_lost": 1,
        "silent_but_spared": 1,
        "finalised_again": 0,
        "delivered_again": 0,
        "given_up": 0,
        "is_complete": True,
    }
    again = connected.resolve_job_def("sweep").execute_in_process()
    assert (told(again)["closed_as_timeout"], told(again)["closed_as_node_lost"]) == (0, 0)


def test_the_sensor_makes_a_pass_and_records_what_it_closed(connected: dg.Definitions, database: Database) -> None:
    repository = connected.get_repository_def()
    sensor = repository.get_sensor_def("silent_sessions")
    with dg.build_sensor_context(repository_def=repository, resources=repository.get_top_level_resources()) as context:
        idle = sensor.evaluate_tick(context)
        assert list(idle.asset_events) == []
        silent = session(database, silent_s=90)
        closing = sensor.evaluate_tick(context)
    assert ends(database)[silent] == ("ended", "timeout", True)
    (event,) = closing.asset_events
    assert isinstance(event, dg.AssetMaterialization)
    assert event.asset_key == dg.AssetKey(["telemetry", "sweep"])
    assert event.metadata["closed_as_timeout"].value == 1
    assert not closing.run_requests
    # No id of a session reaches Dagster: it has no login.
    assert str(silent) not in str(event) + str(closing.skip_message)


@pytest.mark.parametrize(
    ("name", "stuck", "moving"),
    [
        ("ended_sessions_are_finalised", {"state": "ended", "silent_s": 3600}, {"state": "ended", "silent_s": 60}),
        (
            "results_are_applied",
            {"state": "finalised", "silent_s": 3600, "revision": 1},
            {"state": "finalised", "silent_s": 60, "revision": 1},
        ),
        ("no_session_failed", {"state": "failed", "silent_s": 60}, {"state": "finalised", "silent_s": 60}),
    ],
)
def test_a_stuck_session_fails_its_check(
    connected: dg.Definitions, database: Database, name: str, stuck: dict[str, object], moving: dict[str, object]
) -> None:
    def outcome() -> tuple[bool, int]:
        result = connected.resolve_job_def("keeping_up").execute_in_process()
        checks = {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}
        sessions = checks[name].metadata["sessions"].value
        assert isinstance(sessions, int)
        return checks[name].passed, sessions

    session(database, **moving)  # type: ignore[arg-type]
    assert outcome() == (True, 0)
    session(database, **stuck)  # type: ignore[arg-type]
    assert outcome() == (False, 1)


def test_the_hourly_job_expires_plans_whose_last_day_is_over_where_the_patient_lives(
    connected: dg.Definitions, database: Database
) -> None:
    for _ in range(3):
        session(database)
    with psycopg.connect(database.admin_url) as connection:
        plans = [row[0] for row in connection.execute("select id from core.patient_treatment_plans order by id")]
        # Yesterday was the first one's last day, wherever it is; today is the second's; the third has none.
        for plan, days in zip(plans, (-2, 1), strict=False):
            connection.execute(
                "update core.patient_treatment_plans set started_on = current_date - 30, ends_on = current_date + %s"
                " where id = %s",
                [days, plan],
            )
    result = connected.resolve_job_def("plan_expiry").execute_in_process()
    assert told(result)["expired"] == 1
    with psycopg.connect(database.admin_url) as connection:
        states = connection.execute("select status from core.patient_treatment_plans order by id").fetchall()
    assert states == [("expired",), ("active",), ("active",)]
    again = connected.resolve_job_def("plan_expiry").execute_in_process()
    assert told(again)["expired"] == 0
