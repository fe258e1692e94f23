"""A manager asks for an erasure over HTTP: once, audited, with its progress and certificate to be read."""

from __future__ import annotations

import psycopg
import pytest

from infra.stack.throwaway import Database
from tests.core_api.clinics import Api, Clinic
from tests.core_api.test_sessions import open_session

ASK = {"reference": "letter 2026-118", "confirm": "erase"}


def path(clinic: Clinic) -> str:
    return f"/v1/patients/{clinic.patient_id}/erasure"


def test_a_manager_asks_once_and_it_is_audited_as_the_manager(api: Api, clinic: Clinic) -> None:
    made = api.call("POST", path(clinic), api.manager(clinic), json=ASK)
    again = api.call("POST", path(clinic), api.manager(clinic), json={**ASK, "reference": "another letter"})
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json == again.json, "it was asked for already: the first reference stands"
    assert made.headers["Location"] == f"/v1/erasures/{made.json['id']}"
    assert [step["step"] for step in made.json["steps"]] == ["requested"]
    assert (made.json["certificate"], made.json["waiting_for_nodes"]) == (None, [])
    [row] = api.rows("select * from core.audit_log where entity = 'core.erasures'")
    assert (row["action"], row["actor_role"], row["entity_id"]) == ("erasure.requested", "manager", made.json["id"])
    assert row["actor_principal_id"] is not None
    [erasure] = api.rows("select * from core.erasures")
    assert erasure["retained_patient_id"] >= 2**52
    [patient] = api.rows("select * from core.patients where id = %s", clinic.patient_id)
    assert patient["full_name_encrypted"] is not None, "nothing goes before a run"


@pytest.mark.parametrize("role", ["patient", "specialist"])
def test_nobody_else_may(api: Api, clinic: Clinic, role: str) -> None:
    refused = api.call("POST", path(clinic), getattr(api, role)(clinic), json=ASK)
    assert (refused.status_code, refused.json["code"]) == (403, "role_not_allowed")
    assert api.rows("select id from core.erasures") == []


@pytest.mark.parametrize(
    "body", [{"reference": "letter"}, {"reference": "letter", "confirm": "yes"}, {"confirm": "erase"}]
)
def test_it_has_to_be_confirmed_and_referred_to(api: Api, clinic: Clinic, body: dict[str, str]) -> None:
    refused = api.call("POST", path(clinic), api.manager(clinic), json=body)
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_body")
    assert api.rows("select id from core.erasures") == []


def test_the_list_is_newest_first_a_page_at_a_time_and_says_what_is_certified(api: Api, clinic: Clinic) -> None:
    ids = []
    for principal in (clinic.patient, clinic.other_patient):
        number = clinic.ids.patients[principal]
        ids.append(api.call("POST", f"/v1/patients/{number}/erasure", api.manager(clinic), json=ASK).json["id"])
    api.rows('update core.erasures set certificate = \'{"sha256": "x"}\' where id = %s returning id', ids[0])
    first = api.call("GET", "/v1/erasures?limit=1", api.manager(clinic)).json
    second = api.call("GET", f"/v1/erasures?limit=1&cursor={first['next_cursor']}", api.manager(clinic)).json
    assert [(each["id"], each["is_certified"]) for page in (first, second) for each in page["items"]] == [
        (ids[1], False),
        (ids[0], True),
    ]
    assert second["next_cursor"] is None
    shown = api.call("GET", f"/v1/erasures/{ids[0]}", api.manager(clinic)).json
    assert shown["certificate"] == {"sha256": "x"}


def test_the_function_keeps_to_the_tenant_of_the_transaction(
    api: Api, clinic: Clinic, foreign: Clinic, database: Database
) -> None:
    with psycopg.connect(database.url("core_api")) as tx:
        statement = "select * from core.request_erasure(gen_random_uuid(), %s, 4503599627370497, 'letter')"
        assert tx.execute(statement, [foreign.patient_id]).fetchall() == [], "no tenant, no patient"
        tx.execute("select set_config('app.org_id', %s, true)", [str(clinic.organisation_id)])
        assert tx.execute(statement, [foreign.patient_id]).fetchall() == []
    assert api.rows("select id from core.erasures") == []


def test_while_it_is_open_nothing_new_is_begun_for_the_patient(api: Api, clinic: Clinic) -> None:
    sitting = open_session(api, clinic)["id"]
    exercise = {"exercise_id": clinic.ids.exercises["Quad Set"]}
    consents = f"/v1/patients/{clinic.patient_id}/consents"
    grant = {"purpose": "biometric", "granted": True}
    assert api.call("POST", consents, api.patient(clinic), json=grant).status_code == 201
    assert api.call("POST", path(clinic), api.manager(clinic), json=ASK).status_code == 201
    at = f"/v1/treatment-sessions/{sitting}"
    plan = {
        "patient_id": clinic.patient_id,
        "treatment_plan_id": next(iter(clinic.ids.treatment_plans.values())),
        "sessions_total": 3,
        "frequency_per_week": 3,
    }
    opening = f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions"
    template = clinic.ids.form_templates["After session"]
    held = api.call("GET", f"/v1/patient-treatment-plans/{clinic.plan_id}", api.specialist(clinic)).headers["etag"]
    refused = {
        "form": api.call(
            "POST",
            f"{at}/forms",
            api.patient(clinic),
            json={"form_template_id": template, "responses": {"mood": "good"}},
        ),
        "cancelled": api.call(
            "POST",
            f"/v1/patient-treatment-plans/{clinic.plan_id}/cancel",
            api.specialist(clinic),
            json={"note": "x"},
            headers={"If-Match": held},
        ),
        "exercise": api.call("POST", f"{at}/exercises", api.patient(clinic), json=exercise),
        "sitting": api.call("POST", opening, api.patient(clinic), json={}),
        "consent": api.call("POST", consents, api.patient(clinic), json={**grant, "purpose": "analytics"}),
        "notes": api.call("POST", f"{at}/complete", api.patient(clinic), json={"notes": "x"}),
        "skip": api.call("POST", f"{at}/skip", api.patient(clinic), json={"notes": "x"}),
        "plan": api.call("POST", "/v1/patient-treatment-plans", api.specialist(clinic), json=plan),
    }
    assert {name: (each.status_code, each.json.get("code")) for name, each in refused.items()} == dict.fromkeys(
        refused, (409, "erasure_open")
    )
    withdrawn = api.call("POST", consents, api.patient(clinic), json={**grant, "granted": False})
    assert withdrawn.status_code == 201, "a withdrawal is always heard"
    without = api.call("POST", f"{at}/complete", api.patient(clinic), json={})
    assert without.status_code == 200, "what was begun may end, without free text"
