"""Changing service plans, specialists and forms: who may, under which ETag, what is audited; and that a form which
somebody answered stays as it was.
"""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from tests.core_api.clinics import Api, Clinic
from tests.core_api.test_sessions import open_session

FORMS = "/v1/form-templates"


@pytest.fixture
def form(clinic: Clinic) -> str:
    return f"{FORMS}/{clinic.ids.form_templates['After session']}"


def test_a_service_plan_changes_its_name_and_price_and_not_what_was_paid(api: Api, clinic: Clinic) -> None:
    path, manager = f"/v1/service-plans/{clinic.ids.service_plans['Rehab']}", api.manager(clinic)
    paid = api.rows("select amount_cents, currency from core.service_plan_payments order by id")
    first = api.call("GET", path, manager)
    changed = api.call("PATCH", path, manager, json={"price_cents": 24900}, headers={"If-Match": first.headers["etag"]})
    assert (changed.status_code, changed.json) == (200, {**first.json, "price_cents": 24900})
    assert api.call("GET", path, manager).headers["etag"] == changed.headers["etag"] != first.headers["etag"]
    late = api.call("PATCH", path, manager, json={"name": "Other"}, headers={"If-Match": first.headers["etag"]})
    assert (late.status_code, late.json["code"]) == (412, "if_match_failed")
    currency = api.call("PATCH", path, manager, json={"currency": "USD"})
    assert (currency.status_code, currency.json["code"]) == (422, "invalid_body")
    assert api.call("PATCH", path, api.specialist(clinic), json={"name": "Mine"}).status_code == 403
    assert api.rows("select amount_cents, currency from core.service_plan_payments order by id") == paid
    assert api.audited(clinic.organisation_id) == [("service_plan.change", path.rpartition("/")[2])]
    [row] = api.rows("select details from core.audit_log where action = 'service_plan.change'")
    assert row["details"]["fields"] == ["price_cents"]


def test_a_specialists_name_changes_sealed_and_its_value_is_not_audited(api: Api, clinic: Clinic) -> None:
    path, manager = f"/v1/specialists/{clinic.ids.specialists[clinic.specialist]}", api.manager(clinic)
    first = api.call("GET", path, manager)
    assert first.json["full_name"] == "Sam Specialist"
    changed = api.call("PATCH", path, manager, json={"full_name": "Samantha Specialist"})
    assert changed.json == {**first.json, "full_name": "Samantha Specialist"}
    assert api.call("GET", path, manager, headers={"If-None-Match": changed.headers["etag"]}).status_code == 304
    stale = {"If-Match": first.headers["etag"]}
    assert api.call("PATCH", path, manager, json={"full_name": None}, headers=stale).status_code == 412
    assert api.call("PATCH", path, manager, json={"full_name": None}, headers={"If-Match": None}).status_code == 428
    [row] = api.rows("select full_name_encrypted, principal_id from core.specialists")
    assert b"Samantha" not in bytes(row["full_name_encrypted"])
    assert row["principal_id"] == clinic.specialist
    [audited] = api.rows("select details from core.audit_log where action = 'specialist.change'")
    assert (audited["details"]["fields"], "Samantha" in str(audited["details"])) == (["full_name"], False)
    assert api.call("PATCH", path, manager, json={"full_name": None}).json["full_name"] is None


def test_a_changed_form_is_its_next_version_and_the_answered_one_stays(api: Api, clinic: Clinic, form: str) -> None:
    token = api.specialist(clinic)
    sitting = open_session(api, clinic)["id"]
    said: dict[str, Any] = {"form_template_id": int(form.rpartition("/")[2]), "responses": {"mood": "fine"}}
    api.call("POST", f"/v1/treatment-sessions/{sitting}/forms", api.patient(clinic), json=said)
    first = api.call("GET", form, token)
    assert (first.json["version"], first.json["is_newest"]) == (1, True)

    questions = [{"id": "mood", "text": "How do you feel?"}, {"id": "sleep", "text": "How did you sleep?"}]
    made = api.call("POST", f"{form}/versions", token, json={"questions": questions})
    assert made.status_code == 201
    expected = {**first.json, "id": made.json["id"], "version": 2, "questions": questions}
    assert made.json == expected
    assert made.headers["location"] == f"{FORMS}/{made.json['id']}"
    assert api.call("GET", made.headers["location"], api.patient(clinic)).json == expected

    before = api.call("GET", form, token).json
    assert before == {**first.json, "is_newest": False}
    [answered] = api.call("GET", f"/v1/treatment-sessions/{sitting}/forms", token).json["items"]
    assert answered["form_template_id"] == first.json["id"]
    assert [action for action, _ in api.audited(clinic.organisation_id)][-1] == "form_template.create"


def test_of_two_who_change_a_form_the_second_is_told(api: Api, clinic: Clinic, form: str) -> None:
    token = api.specialist(clinic)
    tag = api.tag(form, token)
    key = {"If-Match": tag, "Idempotency-Key": "k"}
    made = api.call("POST", f"{form}/versions", token, json={"questions": []}, headers=key)
    again = api.call("POST", f"{form}/versions", token, json={"questions": []}, headers=key)
    assert (again.json, again.headers["idempotent-replayed"]) == (made.json, "true")
    late = api.call("POST", f"{form}/versions", token, json={"purpose": "other"}, headers={"If-Match": tag})
    assert (late.status_code, late.json["code"]) == (412, "if_match_failed")
    old = api.call("POST", f"{form}/versions", token, json={"purpose": "other"})
    assert (old.status_code, old.json["code"]) == (409, "form_template_superseded")
    assert api.rows("select version from core.form_templates where name = 'After session' order by 1") == [
        {"version": 1},
        {"version": 2},
    ]


def test_two_at_once_make_one_version(api: Api, clinic: Clinic, form: str) -> None:
    token = api.specialist(clinic)
    headers = {"If-Match": api.tag(form, token)}
    together = threading.Barrier(4)
    answers: list[int] = []

    def send() -> None:
        together.wait(10)
        answers.append(api.call("POST", f"{form}/versions", token, json={"questions": []}, headers=headers).status_code)

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(20)
    assert sorted(answers)[0] == 201
    assert set(answers[1:]) | set(answers[:1]) <= {201, 409, 412}
    assert answers.count(201) == 1
    assert api.rows("select count(*) as versions from core.form_templates where name = 'After session'") == [
        {"versions": 2}
    ]


def test_not_even_the_services_own_login_edits_a_form(api: Api, clinic: Clinic) -> None:
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        api.deps.database.tenant(clinic.organisation_id) as tx,
    ):
        tx.execute("update core.form_templates set questions = '[]'")
