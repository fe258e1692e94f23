"""Optimistic concurrency over HTTP: what is changed is what was read, or the change is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core_api.clinics import Api, Clinic
from tests.core_api.test_sessions import open_session, start

CHANGES: dict[str, tuple[str, str, dict[str, Any]]] = {  # resource, how it is changed, with what
    "exercise": ("/v1/exercises/{exercise}", "PATCH", {"name": "Quad Set 2"}),
    "treatment plan": ("/v1/treatment-plans/{treatment_plan}", "PATCH", {"name": "Another name"}),
    "patient": ("/v1/patients/{patient}", "PATCH", {"contact": "jane@new.example"}),
    "plan": ("/v1/patient-treatment-plans/{plan}", "PATCH", {"sessions_total": 20}),
    "cancellation": ("/v1/patient-treatment-plans/{plan}", "cancel", {"note": "moved away"}),
    "completion": ("/v1/treatment-sessions/{sitting}", "complete", {"pain_level_after": 2}),
    "skip": ("/v1/treatment-sessions/{sitting}", "skip", {"notes": "had a cold"}),
}


def resource(api: Api, clinic: Clinic, template: str) -> str:
    opened = api.call("POST", f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions", api.specialist(clinic))
    return template.format(
        exercise=clinic.ids.exercises["Quad Set"],
        treatment_plan=clinic.ids.treatment_plans["Post-ACL Rehab"],
        patient=clinic.patient_id,
        plan=clinic.plan_id,
        sitting=opened.json["id"],
    )


@pytest.mark.parametrize("what", CHANGES)
def test_every_change_demands_what_was_read(api: Api, clinic: Clinic, what: str) -> None:
    template, how, body = CHANGES[what]
    path, token = resource(api, clinic, template), api.specialist(clinic)
    method, target = ("PATCH", path) if how == "PATCH" else ("POST", f"{path}/{how}")
    tag = api.tag(path, token)
    audited = api.audited(clinic.organisation_id)

    for header in (None, "", "*"):
        refused = api.call(method, target, token, json=body, headers={"If-Match": header})
        assert (refused.status_code, refused.json["code"]) == (428, "if_match_missing"), header
    for header in ('"another"', f"W/{tag}", tag.strip('"'), f'"{"x" * 22}"'):
        refused = api.call(method, target, token, json=body, headers={"If-Match": header})
        assert (refused.status_code, refused.json["code"]) == (412, "if_match_failed"), header
    assert api.tag(path, token) == tag
    assert api.audited(clinic.organisation_id) == audited

    changed = api.call(method, target, token, json=body, headers={"If-Match": f'"other", {tag}'})
    assert changed.status_code == 200, changed.text
    read = api.call("GET", path, token)
    assert read.content == changed.content
    assert read.headers["etag"] == changed.headers["etag"] != tag
    assert len(api.audited(clinic.organisation_id)) == len(audited) + 1
    again = api.call(method, target, token, json=body, headers={"If-Match": tag})
    assert again.status_code in (409, 412)
    assert api.call("GET", path, token).content == read.content


def test_a_result_that_arrives_is_shown_and_moves_no_tag_under_the_patient(api: Api, clinic: Clinic) -> None:
    sitting = open_session(api, clinic)
    start(api, clinic, sitting["id"], "Quad Set")
    path, token = f"/v1/treatment-sessions/{sitting['id']}", api.patient(clinic)
    before = api.call("GET", path, token)
    assert (sitting["incomplete"], sitting["revision"]) == (False, None)
    assert (before.json["incomplete"], before.json["revision"]) == (False, None)
    tag = before.headers["etag"]
    api.admin.execute("update core.patient_exercise_logs set incomplete = true")
    api.admin.execute("update telemetry.sessions set state = 'finalised', revision = 2, applied_revision = 2")
    after = api.call("GET", path, token, headers={"If-None-Match": tag})
    assert (after.status_code, after.headers["etag"]) == (200, tag), "news beside the tag is no 304"
    assert (after.json["incomplete"], after.json["revision"]) == (True, 2)
    done = api.call("POST", f"{path}/complete", token, json={}, headers={"If-Match": tag})
    assert (done.status_code, done.json["incomplete"], done.json["revision"]) == (200, True, 2)
    assert done.headers["etag"] != tag


def test_two_who_read_the_same_do_not_overwrite_each_other(api: Api, clinic: Clinic) -> None:
    path = f"/v1/patients/{clinic.patient_id}"
    specialist, manager = api.specialist(clinic), api.manager(clinic)
    tag = api.tag(path, specialist)
    assert tag == api.tag(path, manager)
    first = api.call("PATCH", path, specialist, json={"full_name": "Jane Roe"}, headers={"If-Match": tag})
    second = api.call("PATCH", path, manager, json={"full_name": "Jane Poe"}, headers={"If-Match": tag})
    assert (first.status_code, second.status_code) == (200, 412)
    assert api.call("GET", path, manager).json["full_name"] == "Jane Roe"


def test_a_tag_changes_with_whatever_is_shown(api: Api, clinic: Clinic) -> None:
    """The plan shows its treatment plan's name and its counters, which others change."""
    path, token = f"/v1/patient-treatment-plans/{clinic.plan_id}", api.specialist(clinic)
    tags = [api.tag(path, token)]
    api.call(
        "PATCH", f"/v1/treatment-plans/{clinic.ids.treatment_plans['Post-ACL Rehab']}", token, json={"name": "New"}
    )
    tags.append(api.tag(path, token))
    opened = api.call("POST", f"{path}/sessions", token).json["id"]
    assert api.tag(path, token) == tags[-1]  # opening a session shows nowhere on the plan
    api.call("POST", f"/v1/treatment-sessions/{opened}/skip", token)
    tags.append(api.tag(path, token))
    assert len(set(tags)) == 3


def test_what_is_known_is_not_sent_again(api: Api, clinic: Clinic) -> None:
    path, token = f"/v1/patients/{clinic.patient_id}", api.patient(clinic)
    tag = api.tag(path, token)
    for header, status in ((tag, 304), (f"W/{tag}", 304), ("*", 304), (f'"x", {tag}', 304), ('"x"', 200)):
        result = api.call("GET", path, token, headers={"If-None-Match": header})
        assert (result.status_code, result.headers["etag"]) == (status, tag), header
        assert (result.content == b"") == (status == 304)


def test_opening_and_starting_change_nothing_that_was_read(api: Api, clinic: Clinic) -> None:
    """So the portal completes a session with the tag it got when it opened it, however many exercises it started."""
    opened = api.call("POST", f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions", api.patient(clinic))
    sitting = f"/v1/treatment-sessions/{opened.json['id']}"
    assert opened.headers["location"] == sitting
    body = {"exercise_id": clinic.ids.exercises["Quad Set"]}
    assert api.call("POST", f"{sitting}/exercises", api.patient(clinic), json=body).status_code == 201
    again = api.call("POST", f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions", api.patient(clinic))
    assert (again.status_code, again.headers["content-location"]) == (200, sitting)
    assert opened.headers["etag"] == again.headers["etag"] == api.tag(sitting, api.patient(clinic))
    tag = {"If-Match": opened.headers["etag"]}
    assert api.call("POST", f"{sitting}/complete", api.patient(clinic), json={}, headers=tag).status_code == 200
