"""From a plan to its sittings, to their exercises, to what was streamed: `incomplete` and the revision on the way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core_api.clinics import Api, Clinic
from tests.core_api.test_sessions import complete, open_session, start


def _end(api: Api, session_id: str, reason: str, revision: int) -> None:
    """As the finaliser and the subscriber leave it."""
    incomplete = reason not in ("completed", "abandoned")
    api.rows(
        "update telemetry.sessions set state = 'finalised', end_reason = %s, incomplete = %s, revision = %s,"
        " applied_revision = %s where session_id = %s::uuid returning 1",
        reason,
        incomplete,
        revision,
        revision,
        session_id,
    )
    api.rows(
        "update core.patient_exercise_logs l set incomplete = %s from telemetry.sessions s"
        " where s.patient_exercise_log_id = l.id and s.session_id = %s::uuid returning 1",
        incomplete,
        session_id,
    )


@pytest.fixture
def sitting(api: Api, clinic: Clinic) -> tuple[int, dict[str, str]]:
    """Three exercises: one ended by the patient, one timed out in its second result, one that nobody began."""
    sitting_id = open_session(api, clinic)["id"]
    sessions = {name: start(api, clinic, sitting_id, name)[1]["session_id"] for name in ("Quad Set", "Heel Slides")}
    _end(api, sessions["Quad Set"], "completed", 1)
    _end(api, sessions["Heel Slides"], "timeout", 2)
    complete(api, clinic, sitting_id)
    return sitting_id, sessions


def test_a_sittings_exercises_lead_to_their_sessions(
    api: Api, clinic: Clinic, sitting: tuple[int, dict[str, str]]
) -> None:
    sitting_id, sessions = sitting
    path, token = f"/v1/treatment-sessions/{sitting_id}/exercise-logs", api.specialist(clinic)
    items: list[dict[str, Any]] = api.call("GET", path, token).json["items"]
    table = [(each["exercise_name"], each["done"], each["skipped"], each["incomplete"]) for each in items]
    assert table == [
        ("Quad Set", True, False, False),
        ("Heel Slides", False, False, True),
        ("Straight Leg Raise", False, True, False),
    ]
    assert [(each["prescribed_sets"], each["prescribed_reps"], each["actual_reps"]) for each in items] == [
        (3, 10, None)
    ] * 3
    streamed = [
        [(one["session_id"], one["end_reason"], one["incomplete"], one["applied_revision"]) for one in each["sessions"]]
        for each in items
    ]
    assert streamed == [
        [(sessions["Quad Set"], "completed", False, 1)],
        [(sessions["Heel Slides"], "timeout", True, 2)],
        [],
    ]
    for each in items[:2]:
        detail = api.call("GET", f"/v1/sessions/{each['sessions'][0]['session_id']}", token)
        assert detail.json["treatment_session_id"] == sitting_id
    pages, cursor = [], None
    for _ in range(3):
        params = {"limit": "1"} | ({"cursor": cursor} if cursor else {})
        answer = api.call("GET", path, token, params=params).json
        pages += answer["items"]
        cursor = answer["next_cursor"]
    assert (pages, cursor) == (items, None)


def test_a_plans_sittings_say_what_is_incomplete_and_of_which_result(
    api: Api, clinic: Clinic, sitting: tuple[int, dict[str, str]]
) -> None:
    sitting_id, _ = sitting
    another = open_session(api, clinic)["id"]
    path = f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions"
    items = api.call("GET", path, api.patient(clinic)).json["items"]
    assert [(each["id"], each["incomplete"], each["revision"]) for each in items] == [
        (another, False, None),
        (sitting_id, True, 2),
    ]


def test_a_result_that_arrives_does_not_move_the_sittings_etag(api: Api, clinic: Clinic) -> None:
    """Or its patient could not complete it with the ETag they were given when they opened it."""
    sitting_id = open_session(api, clinic)["id"]
    path, token = f"/v1/treatment-sessions/{sitting_id}", api.patient(clinic)
    tag = api.tag(path, token)
    _end(api, start(api, clinic, sitting_id, "Quad Set")[1]["session_id"], "completed", 1)
    assert api.tag(path, token) == tag
    done = api.call("POST", f"{path}/complete", token, json={}, headers={"If-Match": tag})
    assert (done.status_code, done.json["exercises_completed"]) == (200, 1)


def test_the_portal_is_told_the_target_that_was_frozen(api: Api, clinic: Clinic) -> None:
    exercise = clinic.ids.exercises["Quad Set"]
    api.rows(
        "update core.treatment_plan_exercises set target_low_deg = 10, target_high_deg = 92.5, hold_ms = 3000"
        " where exercise_id = %s returning 1",
        exercise,
    )
    sitting_id = open_session(api, clinic)["id"]
    for _ in range(2):  # begun, and gone on with
        _, started = start(api, clinic, sitting_id, "Quad Set")
        asked = started["exercise"]
        assert (asked["target_low_deg"], asked["target_high_deg"], asked["hold_ms"]) == (10.0, 92.5, 3000)
        [row] = api.rows("select prescription from telemetry.sessions")
        frozen = row["prescription"]
        assert {name: frozen[name] for name in ("target_low_deg", "target_high_deg", "hold_ms", "sets", "reps")} == {
            "target_low_deg": asked["target_low_deg"],
            "target_high_deg": asked["target_high_deg"],
            "hold_ms": asked["hold_ms"],
            "sets": asked["prescribed_sets"],
            "reps": asked["prescribed_reps"],
        }
    _, other = start(api, clinic, sitting_id, "Heel Slides")
    assert other["exercise"]["target_high_deg"] is None, "the movement profile's own"
