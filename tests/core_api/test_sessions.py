"""A treatment session over HTTP: opened, exercised, completed or skipped, with plan, logs and audit following."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import jwt
import msgspec
import pytest

from infra.stack.keys import SigningKeys
from pipelines.pose.model import Prescription
from tests.core_api.clinics import NOW, Api, ApiFactory, Clinic


def open_session(api: Api, clinic: Clinic, **body: object) -> dict[str, Any]:
    result = api.call("POST", f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions", api.patient(clinic), json=body)
    assert result.status_code in (200, 201), result.text
    answer: dict[str, Any] = result.json
    return answer


def start(api: Api, clinic: Clinic, sitting_id: int, exercise: str, **body: object) -> tuple[int, dict[str, Any]]:
    result = api.call(
        "POST",
        f"/v1/treatment-sessions/{sitting_id}/exercises",
        api.patient(clinic),
        json={"exercise_id": clinic.ids.exercises[exercise], **body},
    )
    return result.status_code, result.json


def complete(api: Api, clinic: Clinic, sitting_id: int, **body: object) -> dict[str, Any]:
    result = api.call("POST", f"/v1/treatment-sessions/{sitting_id}/complete", api.patient(clinic), json=body)
    assert result.status_code == 200, result.text
    answer: dict[str, Any] = result.json
    return answer


def test_opening_twice_gives_the_same_session(api: Api, clinic: Clinic) -> None:
    path = f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions"
    first = api.call("POST", path, api.patient(clinic), json={"pain_level_before": 7})
    again = api.call("POST", path, api.patient(clinic), json={"pain_level_before": 3})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json == again.json
    assert first.json["pain_level_before"] == 7
    assert first.json["session_number"] == 1
    assert [each["name"] for each in first.json["exercises"]] == ["Quad Set", "Heel Slides", "Straight Leg Raise"]
    assert api.audited(clinic.organisation_id) == [("treatment_session.open", str(first.json["id"]))]


def test_starting_an_exercise_mints_a_token_bound_to_its_log_and_node(
    api: Api, clinic: Clinic, session_keys: SigningKeys
) -> None:
    sitting = open_session(api, clinic)
    status, started = start(api, clinic, sitting["id"], "Quad Set")
    assert status == 201
    assert started["ingest_url"] == "http://node-a.example"
    assert started["elapsed_ms"] == 0
    assert started["capture"] == {"pose": False, "media": False}
    header = jwt.get_unverified_header(started["token"])
    assert header["kid"] == session_keys.key_id
    claims = jwt.decode(
        started["token"],
        session_keys.private_key.public_key(),
        algorithms=["EdDSA"],
        audience="telemetry",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims == {
        "iss": "restartix-core-api",
        "aud": "telemetry",
        "sub": str(clinic.patient),
        "sid": started["session_id"],
        "org": clinic.organisation_id,
        "log": started["exercise_log_id"],
        "exr": clinic.ids.exercises["Quad Set"],
        "nod": "node-a",
        "sta": int(NOW.timestamp() * 1000),
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 4 * 3600,
    }
    [session] = api.rows("select * from telemetry.sessions where session_id = %s", uuid.UUID(started["session_id"]))
    assert session["movement_profile"] == {"name": "deep_squat"}
    assert session["prescription"] == msgspec.to_builtins(Prescription(sets=3, reps=10))
    assert session["token_expires_at"].timestamp() == claims["exp"]


def test_what_the_plan_asks_for_is_frozen_with_the_session(api: Api, clinic: Clinic) -> None:
    api.rows(
        "update core.treatment_plan_exercises set side = 'left', target_low_deg = 75.5, hold_ms = 30000"
        " where exercise_id = %s returning id",
        clinic.ids.exercises["Quad Set"],
    )
    sitting = open_session(api, clinic)
    _, started = start(api, clinic, sitting["id"], "Quad Set")
    [session] = api.rows("select * from telemetry.sessions where session_id = %s", uuid.UUID(started["session_id"]))
    asked = Prescription(sets=3, reps=10, side="left", target_low_deg=75.5, hold_ms=30_000)
    assert session["prescription"] == msgspec.to_builtins(asked)


def test_an_exercise_whose_profile_is_unknown_is_measured_from_its_motion(api: Api, clinic: Clinic) -> None:
    sitting = open_session(api, clinic)
    _, started = start(api, clinic, sitting["id"], "Heel Slides")
    [session] = api.rows("select * from telemetry.sessions where session_id = %s", uuid.UUID(started["session_id"]))
    assert session["movement_profile"] is None


def test_starting_an_open_exercise_again_goes_on_where_it_was(api: Api, clinic: Clinic) -> None:
    sitting = open_session(api, clinic)
    _, first = start(api, clinic, sitting["id"], "Quad Set")
    api.clock.forward(seconds=12.5)
    status, again = start(api, clinic, sitting["id"], "Quad Set")
    assert status == 200
    assert again == {**first, "elapsed_ms": 12_500}
    assert again["token"] == first["token"]


def test_an_ended_or_exhausted_exercise_gets_a_new_log_and_session(api: Api, clinic: Clinic) -> None:
    sitting = open_session(api, clinic)
    _, first = start(api, clinic, sitting["id"], "Quad Set")
    api.rows(
        "update telemetry.sessions set state = 'ended' where session_id = %s returning 1",
        uuid.UUID(first["session_id"]),
    )
    status, second = start(api, clinic, sitting["id"], "Quad Set")
    assert status == 201
    assert second["session_id"] != first["session_id"]
    assert second["exercise_log_id"] != first["exercise_log_id"]
    api.clock.forward(hours=3)  # no frame may be later than this in a session
    status, third = start(api, clinic, sitting["id"], "Quad Set")
    assert status == 201
    assert third["session_id"] not in (first["session_id"], second["session_id"])


def test_capture_follows_the_ledger_and_a_later_grant_takes_a_new_session(api: Api, clinic: Clinic) -> None:
    def consent(purpose: str, granted: bool) -> None:
        path = f"/v1/patients/{clinic.patient_id}/consents"
        api.call("POST", path, api.patient(clinic), json={"purpose": purpose, "granted": granted})
        api.clock.now = datetime.now(UTC)  # the ledger's time is Postgres's own

    api.clock.now = datetime.now(UTC)
    sitting = open_session(api, clinic)
    consent("biometric", True)
    status, first = start(api, clinic, sitting["id"], "Quad Set")
    assert (status, first["capture"]) == (201, {"pose": True, "media": False})
    consent("biometric", False)
    status, withdrawn = start(api, clinic, sitting["id"], "Quad Set")
    assert (status, withdrawn["capture"]) == (200, {"pose": False, "media": False})
    assert withdrawn["session_id"] == first["session_id"]
    consent("analytics", True)
    status, second = start(api, clinic, sitting["id"], "Quad Set")
    assert (status, second["capture"]) == (201, {"pose": False, "media": True})
    consent("biometric", True)  # granted again: what was withdrawn in a session stays so in it
    status, third = start(api, clinic, sitting["id"], "Quad Set")
    assert (status, third["capture"]) == (201, {"pose": True, "media": True})
    assert start(api, clinic, sitting["id"], "Quad Set")[0] == 200


def test_the_least_loaded_ready_node_is_home(api: Api, clinic: Clinic, foreign: Clinic) -> None:
    api.add_node("node-b")
    api.add_node("node-c", ready=False)
    api.add_node("node-d", lease_s=-1)
    homes = []
    for each in (foreign, clinic):  # the load counts over all organisations
        sitting = open_session(api, each)
        for exercise in ("Quad Set", "Heel Slides"):
            homes.append(start(api, each, sitting["id"], exercise)[1]["ingest_url"])
    assert homes == [f"http://{node}.example" for node in ("node-a", "node-b", "node-a", "node-b")]


def test_without_a_ready_node_nothing_is_started(make_api: ApiFactory, clinic: Clinic) -> None:
    api = make_api()
    sitting = open_session(api, clinic)
    status, problem = start(api, clinic, sitting["id"], "Quad Set")
    assert (status, problem["code"]) == (503, "no_ingest_node")
    assert api.rows("select id from core.patient_exercise_logs") == []


def test_completing_records_levels_duration_and_what_was_left_out(api: Api, clinic: Clinic) -> None:
    sitting = open_session(api, clinic, pain_level_before=6)
    start(api, clinic, sitting["id"], "Quad Set")
    api.clock.forward(minutes=28, seconds=30)
    exercises = clinic.ids.exercises
    reported = [
        {"exercise_id": exercises["Quad Set"], "actual_sets": 3, "actual_reps": 28},
        {"exercise_id": exercises["Heel Slides"], "actual_sets": 2},
    ]
    done = complete(api, clinic, sitting["id"], pain_level_after=4, perceived_difficulty=5, exercises=reported)
    assert done["status"] == "completed"
    assert (done["pain_level_before"], done["pain_level_after"], done["perceived_difficulty"]) == (6, 4, 5)
    assert done["duration_seconds"] == 28 * 60 + 30
    assert (done["exercises_completed"], done["exercises_total"]) == (2, 3)
    logs = api.rows(
        "select e.name, l.actual_sets, l.actual_reps, l.actual_reps_source, l.skipped, l.prescribed_reps"
        " from core.patient_exercise_logs l join core.exercises e on e.id = l.exercise_id order by l.sort_order"
    )
    assert [tuple(row.values()) for row in logs] == [
        ("Quad Set", 3, 28, "patient", False, 10),
        ("Heel Slides", 2, None, None, False, 10),
        ("Straight Leg Raise", None, None, None, True, 10),
    ]
    [plan] = api.rows("select * from core.patient_treatment_plans where id = %s", clinic.plan_id)
    assert (plan["sessions_completed"], plan["sessions_skipped"], plan["status"]) == (1, 0, "active")


def test_completing_twice_counts_once(api: Api, clinic: Clinic) -> None:
    sitting = open_session(api, clinic)
    complete(api, clinic, sitting["id"], pain_level_after=2)
    path = f"/v1/treatment-sessions/{sitting['id']}/complete"
    again = api.call("POST", path, api.patient(clinic), json={"pain_level_after": 9})
    assert (again.status_code, again.json["code"]) == (409, "session_not_in_progress")
    assert api.rows("select pain_level_after from core.patient_session_completions") == [{"pain_level_after": 2}]
    [plan] = api.rows("select * from core.patient_treatment_plans where id = %s", clinic.plan_id)
    assert plan["sessions_completed"] == 1
    assert [action for action, _ in api.audited(clinic.organisation_id)] == [
        "treatment_session.open",
        "treatment_session.complete",
    ]


def test_the_plan_completes_with_its_last_session(api: Api, clinic: Clinic) -> None:
    api.rows("update core.patient_treatment_plans set sessions_total = 3 where id = %s returning 1", clinic.plan_id)
    path = f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions"
    for number, outcome in enumerate(("complete", "skip", "complete"), start=1):
        sitting = open_session(api, clinic)
        assert sitting["session_number"] == number
        result = api.call("POST", f"/v1/treatment-sessions/{sitting['id']}/{outcome}", api.patient(clinic))
        assert result.status_code == 200, result.text
        api.clock.forward(days=1)
    [plan] = api.rows("select * from core.patient_treatment_plans where id = %s", clinic.plan_id)
    assert (plan["sessions_completed"], plan["sessions_skipped"], plan["status"]) == (2, 1, "completed")
    assert plan["ended_at"] is not None
    refused = api.call("POST", path, api.patient(clinic))
    assert (refused.status_code, refused.json["code"]) == (409, "plan_not_active")


def test_a_skipped_session_is_neither_completed_nor_exercised(api: Api, clinic: Clinic) -> None:
    sitting = open_session(api, clinic)
    path = f"/v1/treatment-sessions/{sitting['id']}"
    skipped = api.call("POST", f"{path}/skip", api.patient(clinic))
    assert skipped.json["status"] == "skipped"
    assert skipped.json["completed_at"] is None
    for action in ("complete", "skip", "exercises"):
        body = {"exercise_id": clinic.ids.exercises["Quad Set"]} if action == "exercises" else {}
        refused = api.call("POST", f"{path}/{action}", api.patient(clinic), json=body)
        assert (refused.status_code, refused.json["code"]) == (409, "session_not_in_progress")


def test_an_exercise_of_another_plan_is_not_found(api: Api, clinic: Clinic, foreign: Clinic) -> None:
    sitting = open_session(api, clinic)
    result = api.call(
        "POST",
        f"/v1/treatment-sessions/{sitting['id']}/exercises",
        api.patient(clinic),
        json={"exercise_id": foreign.ids.exercises["Quad Set"]},
    )
    assert (result.status_code, result.json["code"]) == (404, "exercise_not_found")
    result = api.call(
        "POST",
        f"/v1/treatment-sessions/{sitting['id']}/complete",
        api.patient(clinic),
        json={"exercises": [{"exercise_id": foreign.ids.exercises["Quad Set"]}]},
    )
    assert (result.status_code, result.json["code"]) == (422, "exercise_not_in_plan")


@pytest.mark.parametrize(
    ("started_at", "code"),
    [
        ("2026-03-18T10:00:01Z", "time_out_of_range"),
        ("2024-03-18T10:00:00Z", "time_out_of_range"),
        ("0001-01-01T00:00:00+14:00", "time_out_of_range"),
        ("9999-12-31T23:59:59-14:00", "time_out_of_range"),
        ("2026-03-17T10:00:00", "invalid_body"),
    ],
)
def test_a_backdated_start_has_bounds(api: Api, clinic: Clinic, started_at: str, code: str) -> None:
    path = f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions"
    result = api.call("POST", path, api.patient(clinic), json={"started_at": started_at})
    assert (result.status_code, result.json["code"]) == (422, code)


def test_a_backdated_start_is_honoured_only_where_allowed(make_api: ApiFactory, api: Api, clinic: Clinic) -> None:
    body = {"started_at": "2026-03-10T08:00:00+02:00"}
    strict = make_api(allow_backdated_starts=False)
    path = f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions"
    refused = strict.call("POST", path, strict.patient(clinic), json=body)
    assert (refused.status_code, refused.json["code"]) == (422, "backdating_not_allowed")
    sitting = open_session(api, clinic, **body)
    assert sitting["started_at"] == "2026-03-10T06:00:00Z"
    _, started = start(api, clinic, sitting["id"], "Quad Set", started_at="2026-03-10T06:01:00Z")
    claims = jwt.decode(started["token"], options={"verify_signature": False})
    assert claims["sta"] == 1_773_122_460_000
    assert claims["exp"] == int(NOW.timestamp()) + 4 * 3600  # lives from now on, whatever the start says
    done = complete(api, clinic, sitting["id"], completed_at="2026-03-10T06:25:00Z")
    assert done["duration_seconds"] == 25 * 60
    refused_end = api.call(
        "POST",
        f"/v1/treatment-sessions/{open_session(api, clinic)['id']}/complete",
        api.patient(clinic),
        json={"completed_at": "2026-03-10T06:25:00Z"},
    )
    assert (refused_end.status_code, refused_end.json["code"]) == (422, "time_out_of_range")
