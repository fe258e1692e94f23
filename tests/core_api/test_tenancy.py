"""One tenant never sees another's row, whatever the endpoint, even with a bug in a query; a patient sees their own."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import errors

from tests.core_api.clinics import Api, Clinic
from tests.core_api.test_sessions import open_session, start

Call = tuple[str, str, dict[str, Any] | None]


def every_call(clinic: Clinic, sitting_id: int, session_id: str) -> list[Call]:
    """Each route that names something, naming this clinic's."""
    plan, sitting = f"/v1/patient-treatment-plans/{clinic.plan_id}", f"/v1/treatment-sessions/{sitting_id}"
    form = {"form_template_id": clinic.ids.form_templates["After session"], "responses": {"mood": "fine"}}
    return [
        ("POST", f"{plan}/sessions", {}),
        ("GET", f"{plan}/progress", None),
        ("GET", f"{plan}/analytics", None),
        ("POST", f"{sitting}/exercises", {"exercise_id": clinic.ids.exercises["Quad Set"]}),
        ("POST", f"{sitting}/forms", form),
        ("POST", f"{sitting}/complete", {}),
        ("POST", f"{sitting}/skip", {}),
        ("POST", f"/v1/patients/{clinic.patient_id}/consents", {"purpose": "biometric", "granted": True}),
        ("GET", f"/v1/patients/{clinic.patient_id}/consents", None),
        ("GET", f"/v1/sessions/{session_id}", None),
        ("GET", f"/v1/sessions/{session_id}/replay", None),
    ]


def snapshot(api: Api, organisation_id: int) -> list[Any]:
    tables = ("patient_session_completions", "patient_exercise_logs", "consents", "forms", "audit_log")
    return [api.rows(f"select * from core.{t} where organisation_id = %s order by id", organisation_id) for t in tables]


def test_another_tenants_ids_are_not_found_on_any_route(api: Api, clinic: Clinic, foreign: Clinic) -> None:
    sitting = open_session(api, foreign)["id"]
    _, started = start(api, foreign, sitting, "Quad Set")
    before = snapshot(api, foreign.organisation_id)
    calls = every_call(foreign, sitting, started["session_id"])
    routes = {path for _, path, _ in calls}
    assert len(routes) == 10
    for method, path, body in calls:
        refused = api.call(method, path, api.specialist(clinic), json=body)
        assert refused.status_code == 404, (path, refused.text)
        assert refused.json["code"].endswith("_not_found")
    manager = api.manager(clinic)
    dashboard = api.call("GET", f"/v1/organisations/{foreign.organisation_id}/dashboard", manager)
    assert (dashboard.status_code, dashboard.json["code"]) == (404, "organisation_not_found")
    assert snapshot(api, foreign.organisation_id) == before
    assert api.audited(clinic.organisation_id) == []


def test_a_patient_reaches_only_their_own(api: Api, clinic: Clinic) -> None:
    sitting = open_session(api, clinic)["id"]
    _, started = start(api, clinic, sitting, "Quad Set")
    before = snapshot(api, clinic.organisation_id)
    other = api.token(clinic.other_patient, clinic.organisation_id, "patient")
    for method, path, body in every_call(clinic, sitting, started["session_id"]):
        refused = api.call(method, path, other, json=body)
        expected = 403 if path.endswith(("/analytics", "/replay")) else 404
        assert refused.status_code == expected, (path, refused.text)
    assert snapshot(api, clinic.organisation_id) == before


def test_a_token_of_another_organisation_gives_its_own_principal_nothing(
    api: Api, clinic: Clinic, foreign: Clinic
) -> None:
    """The same person in two organisations is two patients: the token's organisation decides."""
    token = api.token(clinic.patient, foreign.organisation_id, "patient")
    assert api.call("GET", f"/v1/patient-treatment-plans/{clinic.plan_id}/progress", token).status_code == 404


def test_another_tenants_form_template_or_form_is_unknown(api: Api, clinic: Clinic, foreign: Clinic) -> None:
    sitting = open_session(api, clinic)["id"]
    form = {"form_template_id": foreign.ids.form_templates["After session"], "responses": {"a": 1}}
    refused = api.call("POST", f"/v1/treatment-sessions/{sitting}/forms", api.patient(clinic), json=form)
    assert (refused.status_code, refused.json["code"]) == (422, "form_template_not_found")
    assert api.rows("select id from core.forms") == []


def test_a_query_without_a_where_clause_shows_own_rows_only(api: Api, clinic: Clinic, foreign: Clinic) -> None:
    for each in (clinic, foreign):
        start(api, each, open_session(api, each)["id"], "Quad Set")
    tables = ("core.patients", "core.patient_treatment_plans", "core.audit_log", "core.exercises", "telemetry.sessions")
    for table in tables:
        with api.deps.database.tenant(clinic.organisation_id) as tx:
            seen = tx.execute(f"select organisation_id from {table}".encode()).fetchall()
        assert {row["organisation_id"] for row in seen} == {clinic.organisation_id}, table
    # The tenant ends with its transaction: the next one on the same connection has none.
    with api.deps.database._pool.connection() as connection:
        assert connection.execute("select id from core.patients").fetchall() == []


def test_a_row_cannot_be_written_for_another_tenant(api: Api, clinic: Clinic, foreign: Clinic) -> None:
    with pytest.raises(errors.InsufficientPrivilege), api.deps.database.tenant(clinic.organisation_id) as tx:
        tx.execute(
            "insert into core.exercises (organisation_id, name, movement_profile) values (%s, 'x', 'y')",
            [foreign.organisation_id],
        )


def test_every_mutation_leaves_one_audit_row_and_a_refused_one_leaves_none(api: Api, clinic: Clinic) -> None:
    sitting = open_session(api, clinic)["id"]
    _, started = start(api, clinic, sitting, "Quad Set")
    calls = every_call(clinic, sitting, started["session_id"])
    for method, path, body in calls:
        api.call(method, path, api.specialist(clinic), json=body)
    actions = [action for action, _ in api.audited(clinic.organisation_id)]
    assert actions == [
        "treatment_session.open",
        "exercise.start",
        "exercise.resume",
        "form.submit",
        "treatment_session.complete",
        "consent.grant",
    ]
    roles = api.rows("select actor_role, actor_principal_id from core.audit_log where action = 'form.submit'")
    assert roles == [{"actor_role": "specialist", "actor_principal_id": clinic.specialist}]


def test_what_is_not_audited_is_not_done(api: Api, clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **details: object) -> None:
        raise errors.InsufficientPrivilege(f"{len(arguments)} {len(details)}")

    monkeypatch.setattr("core_api.audit.record", refuse)
    result = api.call("POST", f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions", api.patient(clinic))
    assert result.status_code == 500
    assert api.rows("select id from core.patient_session_completions") == []
