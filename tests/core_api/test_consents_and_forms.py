"""The consent ledger and post-session forms over HTTP."""

from __future__ import annotations

import json

import msgspec

from core_api.encryption import Place
from tests.core_api.clinics import Api, Clinic
from tests.core_api.test_sessions import open_session


def test_the_latest_row_of_a_purpose_is_its_state(api: Api, clinic: Clinic) -> None:
    path = f"/v1/patients/{clinic.patient_id}/consents"
    empty = api.call("GET", path, api.patient(clinic)).json
    assert empty["purposes"] == {"biometric": False, "analytics": False}
    for granted in (True, False, True):
        result = api.call("POST", path, api.patient(clinic), json={"purpose": "biometric", "granted": granted})
        assert result.status_code == 201
        state = api.call("GET", path, api.specialist(clinic)).json
        assert state["purposes"] == {"biometric": granted, "analytics": False}
    assert [(row["purpose"], row["granted"]) for row in state["latest"]] == [("biometric", True)]
    ledger = api.call("GET", f"{path}/ledger", api.patient(clinic)).json["items"]
    assert [row["granted"] for row in ledger] == [True, False, True]
    assert {row["recorded_by"] for row in ledger} == {str(clinic.patient)}
    assert [action for action, _ in api.audited(clinic.organisation_id)] == [
        "consent.grant",
        "consent.withdraw",
        "consent.grant",
    ]


def test_saying_again_what_holds_moves_nothing(api: Api, clinic: Clinic) -> None:
    path = f"/v1/patients/{clinic.patient_id}/consents"
    withdrawal = {"purpose": "biometric", "granted": False}
    api.call("POST", path, api.patient(clinic), json={"purpose": "biometric", "granted": True})
    first = api.call("POST", path, api.patient(clinic), json=withdrawal)
    again = api.call("POST", path, api.patient(clinic), json=withdrawal)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json["effective_at"] == first.json["effective_at"]
    assert len(api.rows("select id from core.consents")) == 2


def test_a_consent_names_a_form_of_the_patient(api: Api, clinic: Clinic) -> None:
    sitting = open_session(api, clinic)["id"]
    body = {"form_template_id": clinic.ids.form_templates["After session"], "responses": {"agreed": True}}
    form = api.call("POST", f"/v1/treatment-sessions/{sitting}/forms", api.patient(clinic), json=body).json
    path = f"/v1/patients/{clinic.patient_id}/consents"
    consent = {"purpose": "biometric", "granted": True, "form_id": form["id"]}
    assert api.call("POST", path, api.specialist(clinic), json=consent).json["form_id"] == form["id"]
    other = f"/v1/patients/{clinic.ids.patients[clinic.other_patient]}/consents"
    refused = api.call("POST", other, api.specialist(clinic), json=consent)
    assert (refused.status_code, refused.json["code"]) == (422, "reference_not_found")


def test_answers_rest_sealed(api: Api, clinic: Clinic) -> None:
    sitting = open_session(api, clinic)["id"]
    responses = {"mood": "It hurt when kneeling", "scale": [1, 2], "more": None}
    body = {"form_template_id": clinic.ids.form_templates["After session"], "responses": responses}
    result = api.call("POST", f"/v1/treatment-sessions/{sitting}/forms", api.patient(clinic), json=body)
    assert result.status_code == 201
    assert "responses" not in result.json
    [row] = api.rows("select * from core.forms")
    assert (row["session_completion_id"], row["patient_id"]) == (sitting, clinic.patient_id)
    assert b"kneeling" not in bytes(row["responses_encrypted"])
    place = Place(clinic.organisation_id, "core.forms.responses_encrypted", str(row["id"]))
    with api.deps.database.tenant(clinic.organisation_id) as tx:
        opened = api.deps.cipher.unseal(tx, row["responses_encrypted"], place)
    assert opened is not None
    assert msgspec.json.decode(opened) == responses
    audit = api.rows("select details from core.audit_log where action = 'form.submit'")
    assert "kneeling" not in json.dumps(audit)
