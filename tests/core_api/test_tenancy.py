"""One tenant never sees another's row, whatever the endpoint, even with a bug in a query; a patient sees their own.

``CASES`` has a case for each operation of the app: a new route without one fails here.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import falcon.testing
import pytest
from psycopg import errors

from core_api.app import ROUTES
from core_api.surface import Operation
from tests.core_api.clinics import Api, Clinic
from tests.core_api.test_sessions import open_session, start

Call = tuple[str, str, dict[str, Any] | None]


@dataclass(frozen=True)
class Things:
    """A clinic's resources by the names that paths and bodies give them."""

    clinic: Clinic
    sitting_id: int
    session_id: str
    erasure_id: str

    @property
    def ids(self) -> dict[str, object]:
        ids = self.clinic.ids
        return {
            "organisation_id": self.clinic.organisation_id,
            "plan_id": self.clinic.plan_id,
            "patient_id": self.clinic.patient_id,
            "treatment_plan_id": ids.treatment_plans["Post-ACL Rehab"],
            "exercise_id": ids.exercises["Quad Set"],
            "service_plan_id": ids.service_plans["Rehab"],
            "form_template_id": ids.form_templates["After session"],
            "specialist_id": ids.specialists[self.clinic.specialist],
            "treatment_session_id": self.sitting_id,
            "session_id": self.session_id,
            "erasure_id": self.erasure_id,
        }

    def own(self, what: str) -> set[object]:
        """Every id of a list's kind of thing."""
        ids = self.clinic.ids
        kinds: dict[str, set[object]] = {
            "exercises": set(ids.exercises.values()),
            "treatment-plans": set(ids.treatment_plans.values()),
            "service-plans": set(ids.service_plans.values()),
            "form-templates": set(ids.form_templates.values()),
            "specialists": set(ids.specialists.values()),
            "patients": set(ids.patients.values()),
            "patient-treatment-plans": set(ids.patient_plans),
            "erasures": {self.erasure_id},
        }
        return kinds[what]


def make_things(api: Api, clinic: Clinic) -> Things:
    sitting_id = open_session(api, clinic)["id"]
    other = f"/v1/patients/{clinic.ids.patients[clinic.other_patient]}/erasure"
    asked = api.call("POST", other, api.manager(clinic), json={"reference": "letter 12", "confirm": "erase"})
    session_id = start(api, clinic, sitting_id, "Quad Set")[1]["session_id"]
    return Things(clinic, sitting_id, session_id, asked.json["id"])


PLAN, SITTING = "/v1/patient-treatment-plans/{plan_id}", "/v1/treatment-sessions/{treatment_session_id}"
SESSION = "/v1/sessions/{session_id}"
CONSENTS, ORGANISATION = "/v1/patients/{patient_id}/consents", "/v1/organisations/{organisation_id}"
ANYBODY: dict[str, Any] = {}
# Operation -> its body, made of the resources named in braces. None: it has no body.
CASES: dict[tuple[str, str], dict[str, Any] | None] = {
    ("get", "/v1/exercises"): None,
    ("post", "/v1/exercises"): {"name": "Hop", "movement_profile": "deep_squat"},
    ("get", "/v1/exercises/{exercise_id}"): None,
    ("patch", "/v1/exercises/{exercise_id}"): {"name": "Leap"},
    ("get", "/v1/treatment-plans"): None,
    ("post", "/v1/treatment-plans"): {"name": "Hips", "exercises": [{"exercise_id": "{exercise_id}"}]},
    ("get", "/v1/treatment-plans/{treatment_plan_id}"): None,
    ("patch", "/v1/treatment-plans/{treatment_plan_id}"): {"name": "Hips"},
    ("get", "/v1/service-plans"): None,
    ("post", "/v1/service-plans"): {"name": "More", "price_cents": 1, "currency": "EUR"},
    ("get", "/v1/service-plans/{service_plan_id}"): None,
    ("patch", "/v1/service-plans/{service_plan_id}"): {"price_cents": 2},
    ("get", "/v1/form-templates"): None,
    ("post", "/v1/form-templates"): {"name": "Another"},
    ("get", "/v1/form-templates/{form_template_id}"): None,
    ("post", "/v1/form-templates/{form_template_id}/versions"): {"questions": []},
    ("get", "/v1/specialists"): None,
    ("post", "/v1/specialists"): {"principal_id": str(uuid.UUID(int=7))},
    ("get", "/v1/specialists/{specialist_id}"): None,
    ("patch", "/v1/specialists/{specialist_id}"): {"full_name": None},
    ("get", "/v1/patients"): None,
    ("post", "/v1/patients"): {"principal_id": str(uuid.UUID(int=8)), "full_name": "New", "time_zone": "UTC"},
    ("get", "/v1/patients/{patient_id}"): None,
    ("patch", "/v1/patients/{patient_id}"): {"time_zone": "UTC"},
    ("get", CONSENTS): None,
    ("post", CONSENTS): {"purpose": "analytics", "granted": True},
    ("get", f"{CONSENTS}/ledger"): None,
    ("post", "/v1/patients/{patient_id}/erasure"): {"reference": "letter 13", "confirm": "erase"},
    ("get", "/v1/erasures"): None,
    ("get", "/v1/erasures/{erasure_id}"): None,
    ("get", "/v1/patients/{patient_id}/reference-sessions"): None,
    ("get", "/v1/patient-treatment-plans"): None,
    ("post", "/v1/patient-treatment-plans"): {
        "patient_id": "{patient_id}",
        "treatment_plan_id": "{treatment_plan_id}",
        "sessions_total": 6,
        "frequency_per_week": 3,
    },
    ("get", PLAN): None,
    ("patch", PLAN): {"sessions_total": 13},
    ("post", f"{PLAN}/cancel"): ANYBODY,
    ("post", f"{PLAN}/payments"): {"amount_cents": 100},
    ("get", f"{PLAN}/sessions"): None,
    ("post", f"{PLAN}/sessions"): ANYBODY,
    ("get", f"{PLAN}/progress"): None,
    ("get", f"{PLAN}/analytics"): None,
    ("get", f"{PLAN}/exercises/{{exercise_id}}/trend"): None,
    ("get", SITTING): None,
    ("get", f"{SITTING}/exercise-logs"): None,
    ("post", f"{SITTING}/exercises"): {"exercise_id": "{exercise_id}"},
    ("post", f"{SITTING}/complete"): ANYBODY,
    ("post", f"{SITTING}/skip"): ANYBODY,
    ("get", f"{SITTING}/forms"): None,
    ("post", f"{SITTING}/forms"): {"form_template_id": "{form_template_id}", "responses": {"mood": "fine"}},
    ("get", SESSION): None,
    ("get", f"{SESSION}/replay"): None,
    ("get", f"{SESSION}/clinical-flag"): None,
    ("put", f"{SESSION}/clinical-flag"): None,
    ("delete", f"{SESSION}/clinical-flag"): None,
    ("get", f"{SESSION}/reference"): None,
    ("put", f"{SESSION}/reference"): None,
    ("delete", f"{SESSION}/reference"): None,
    ("get", f"{ORGANISATION}/dashboard"): None,
    ("get", f"{ORGANISATION}/exercise-trends"): None,
    ("get", f"{ORGANISATION}/cohorts"): None,
}
# Operations that name no tenant's thing: public ones, and the console's, whose cells are test_marts.py's matter.
NOBODYS = {"/healthz", "/readyz", "/metrics", "/.well-known/jwks.json", "/openapi.json", "/v1/console/benchmarks"}

OPERATIONS: dict[tuple[str, str], Operation] = {
    (method, route.path): operation for route in ROUTES for method, operation in route.operations.items()
}


def filled(body: Any, ids: dict[str, object]) -> Any:  # noqa: ANN401 - JSON
    """``body`` with the ids in place of the names in braces."""
    if isinstance(body, dict):
        return {name: filled(value, ids) for name, value in body.items()}
    if isinstance(body, list):
        return [filled(value, ids) for value in body]
    return ids[body[1:-1]] if isinstance(body, str) and body.startswith("{") else body


def names_something(case: tuple[str, str]) -> bool:
    """Whether the path or the body names a tenant's thing."""
    return "{" in case[1] or "'{" in repr(CASES[case])


def call_as(api: Api, role: str, caller: Clinic, of: Things, case: tuple[str, str]) -> falcon.testing.Result:
    """One case, naming what ``of`` has, as somebody of ``caller``."""
    method, path = case
    headers = {"If-Match": '"unread"'} if OPERATIONS[case].is_conditional else {}
    token = (
        getattr(api, role)(caller)
        if role != "other patient"
        else api.token(caller.other_patient, caller.organisation_id, "patient")
    )
    return api.call(method.upper(), path.format(**of.ids), token, json=filled(CASES[case], of.ids), headers=headers)


def snapshot(api: Api, organisation_id: int) -> list[Any]:
    """Every row of a tenant, in every table that has one."""
    tables = api.rows(
        "select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " join pg_attribute a on a.attrelid = c.oid and a.attname = 'organisation_id'"
        " where n.nspname in ('core', 'telemetry') and c.relkind in ('r', 'p') and not c.relispartition order by 1"
    )
    assert len(tables) > 15
    return [
        api.rows(f"select t::text from {each['name']} t where organisation_id = %s order by 1", organisation_id)
        for each in tables
        if "row_changes" not in each["name"]
    ]


def test_every_operation_has_a_case_here() -> None:
    of_tenants = {case for case in OPERATIONS if case[1] not in NOBODYS}
    assert of_tenants == set(CASES), "a route needs a case in CASES; one that went needs none"
    assert {path for _, path in OPERATIONS} >= NOBODYS


@pytest.mark.parametrize("role", ["specialist", "manager", "patient"])
def test_another_tenants_things_are_not_found_on_any_route(
    api: Api, clinic: Clinic, foreign: Clinic, role: str
) -> None:
    theirs = make_things(api, foreign)
    before = snapshot(api, foreign.organisation_id)
    named = 0
    for case, operation in OPERATIONS.items():
        if case not in CASES or not names_something(case):
            continue
        answer = call_as(api, role, clinic, theirs, case)
        if role not in operation.roles:
            assert (answer.status_code, answer.json["code"]) == (403, "role_not_allowed"), case
        elif "{" in case[1]:
            assert answer.status_code == 404, (case, answer.text)
            assert answer.json["code"].endswith("_not_found")
            named += 1
        else:  # named in the body only
            assert (answer.status_code, answer.json["code"]) == (422, "reference_not_found"), case
            named += 1
    assert named > 10
    assert snapshot(api, foreign.organisation_id) == before
    assert api.audited(clinic.organisation_id) == []


def test_lists_and_new_things_are_the_tenants_own(api: Api, clinic: Clinic, foreign: Clinic) -> None:
    ours, theirs = make_things(api, clinic), make_things(api, foreign)
    before = snapshot(api, foreign.organisation_id)
    for case, operation in OPERATIONS.items():
        if case not in CASES or "{" in case[1]:
            continue
        role = "manager" if "manager" in operation.roles else "specialist"
        answer = call_as(api, role, clinic, ours, case)
        assert answer.status_code in (200, 201), (case, answer.text)
        if case[0] == "get":
            what = case[1].removeprefix("/v1/")
            shown = {each["id"] for each in answer.json["items"]}
            assert shown >= ours.own(what), case
            assert shown.isdisjoint(theirs.own(what)), case
    assert snapshot(api, foreign.organisation_id) == before


def test_a_patient_reaches_only_their_own(api: Api, clinic: Clinic) -> None:
    things = make_things(api, clinic)
    before = snapshot(api, clinic.organisation_id)
    for case, operation in OPERATIONS.items():
        if case not in CASES:
            continue
        answer = call_as(api, "other patient", clinic, things, case)
        if "patient" not in operation.roles:
            assert (answer.status_code, answer.json["code"]) == (403, "role_not_allowed"), case
        elif case[1].startswith("/v1/form-templates"):
            assert answer.status_code == 200, case  # the clinic's questions are for all its patients
        elif "{" in case[1]:
            assert answer.status_code == 404, (case, answer.text)
        else:
            assert case[1] == "/v1/patient-treatment-plans", case
            assert {each["id"] for each in answer.json["items"]} == {clinic.other_plan_id}
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
    assert (refused.status_code, refused.json["code"]) == (422, "reference_not_found")
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
    start(api, clinic, sitting, "Quad Set")
    plan, path = f"/v1/patient-treatment-plans/{clinic.plan_id}", f"/v1/treatment-sessions/{sitting}"
    form = {"form_template_id": clinic.ids.form_templates["After session"], "responses": {"mood": "fine"}}
    calls: list[Call] = [
        ("GET", f"{plan}/progress", None),
        ("GET", f"{plan}/analytics", None),
        ("POST", f"{path}/exercises", {"exercise_id": clinic.ids.exercises["Quad Set"]}),
        ("POST", f"{path}/forms", form),
        ("POST", f"{path}/complete", {}),
        ("POST", f"{path}/skip", {}),  # refused: it is completed
        ("POST", f"/v1/patients/{clinic.patient_id}/consents", {"purpose": "biometric", "granted": True}),
        ("GET", f"/v1/patients/{clinic.patient_id}/consents", None),
    ]
    for method, target, body in calls:
        api.call(method, target, api.specialist(clinic), json=body)
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
