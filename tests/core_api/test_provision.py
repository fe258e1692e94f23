"""Provisioning: a clinic is made once, whole or not at all, and audited."""

from __future__ import annotations

import uuid

import msgspec
import pytest
from psycopg import Connection
from psycopg.rows import DictRow
from psycopg_pool import ConnectionPool

from core_api import consent_form
from core_api.encryption import ColumnCipher
from core_api.provision import ProvisionSpec, SpecInvalid, provision
from tests.core_api.clinics import NOW, Api, Clinic, clinic_spec
from tests.core_api.test_sessions import open_session

Pool = ConnectionPool[Connection[DictRow]]


def test_the_same_spec_twice_gives_the_same_ids(api: Api, pool: Pool, cipher: ColumnCipher) -> None:
    spec = clinic_spec("North Clinic")
    with pool.connection() as connection:
        first = provision(connection, spec, cipher=cipher, now=NOW)
        entries = api.rows("select action, actor_role from core.audit_log")
        again = provision(connection, spec, cipher=cipher, now=NOW)
        other = provision(connection, clinic_spec("South Clinic"), cipher=cipher, now=NOW)
    assert again == first
    assert other.organisation_id != first.organisation_id
    assert api.rows("select count(*) as n from core.organisations where name = 'North Clinic'") == [{"n": 1}]
    assert {row["actor_role"] for row in entries} == {"provisioning"}
    assert sorted({row["action"] for row in entries}) == [
        "exercise.create",
        "form_template.create",
        "organisation.create",
        "patient.create",
        "patient_treatment_plan.create",
        "payment.create",
        "service_plan.create",
        "specialist.create",
        "treatment_plan.create",
    ]
    payments = api.rows("select amount_cents, currency from core.service_plan_payments where organisation_id = %s", 1)
    assert payments == [{"amount_cents": 19900, "currency": "EUR"}] * 2


def test_a_grown_spec_adds_only_what_is_new(api: Api, pool: Pool, cipher: ColumnCipher) -> None:
    spec = clinic_spec("North Clinic")
    with pool.connection() as connection:
        first = provision(connection, spec, cipher=cipher, now=NOW)
        newcomer = msgspec.structs.replace(spec.patients[0], principal_id=uuid.uuid4(), full_name="New Comer")
        grown = msgspec.structs.replace(spec, patients=(*spec.patients, newcomer))
        second = provision(connection, grown, cipher=cipher, now=NOW)
    assert set(second.patients) - set(first.patients) == {newcomer.principal_id}
    assert second.patient_plans == first.patient_plans
    assert len(api.rows("select id from core.patients")) == 3


def broken(spec: ProvisionSpec, where: str) -> ProvisionSpec:
    replace = msgspec.structs.replace
    plan, treatment, patient = spec.patient_plans[0], spec.treatment_plans[0], spec.patients[0]
    changes: dict[str, ProvisionSpec] = {
        "time zone": replace(spec, patients=(replace(patient, time_zone="Mars/Olympus"), *spec.patients[1:])),
        "exercise": replace(spec, exercises=spec.exercises[1:]),
        "patient": replace(spec, patients=spec.patients[1:]),
        "treatment plan": replace(spec, patient_plans=(replace(plan, treatment_plan="Other"),)),
        "specialist": replace(spec, specialists=()),
        "service plan": replace(spec, service_plans=()),
        "before": replace(spec, patient_plans=(replace(plan, started_on=NOW.date().replace(year=1999)),)),
        "payment": replace(spec, patient_plans=(replace(plan, service_plan=None),)),
    }
    assert treatment.exercises
    return changes[where]


@pytest.mark.parametrize(
    "where",
    ["time zone", "exercise", "patient", "treatment plan", "specialist", "service plan", "before", "payment"],
)
def test_a_spec_that_does_not_hold_together_is_refused_by_name(where: str, cipher: ColumnCipher) -> None:
    with pytest.raises(SpecInvalid, match=where):
        provision(None, broken(clinic_spec("x"), where), cipher=cipher, now=NOW)  # type: ignore[arg-type]


def test_nothing_is_half_provisioned(api: Api, pool: Pool, cipher: ColumnCipher) -> None:
    spec = clinic_spec("North Clinic")
    treatment = spec.treatment_plans[0]
    twice = msgspec.structs.replace(treatment, exercises=(treatment.exercises[0], treatment.exercises[0]))
    with pool.connection() as connection, pytest.raises(Exception, match="treatment_plan_exercises"):
        provision(connection, msgspec.structs.replace(spec, treatment_plans=(twice,)), cipher=cipher, now=NOW)
    for table in ("organisations", "patients", "exercises", "audit_log", "organisation_keys"):
        assert api.rows(f"select * from core.{table}") == []


def test_every_organisation_has_the_consent_form_for_the_camera(api: Api, clinic: Clinic) -> None:
    [form] = api.rows("select * from core.form_templates where purpose = 'biometric'")
    assert (form["name"], form["version"]) == (consent_form.NAME, 1)
    assert {question["tier"] for question in form["questions"]} == {"B"}
    sitting = open_session(api, clinic)["id"]
    answered = {"form_template_id": form["id"], "responses": {"agreed": True}}
    path = f"/v1/treatment-sessions/{sitting}/forms"
    form_id = api.call("POST", path, api.patient(clinic), json=answered).json["id"]
    consents = f"/v1/patients/{clinic.patient_id}/consents"
    given = {"purpose": "biometric", "granted": True, "form_id": form_id}
    assert api.call("POST", consents, api.patient(clinic), json=given).status_code == 201
    with api.deps.database.tenant(clinic.organisation_id) as tx:
        [state] = tx.execute("select * from core.current_consents").fetchall()
    assert (state["granted"], state["form_name"], state["form_version"]) == (True, consent_form.NAME, 1)
    assert state["recorded_by"] == clinic.patient
    withdrawn = {"purpose": "biometric", "granted": False}
    assert api.call("POST", consents, api.patient(clinic), json=withdrawn).status_code == 201
    with api.deps.database.tenant(clinic.organisation_id) as tx:
        [state] = tx.execute("select granted, form_id from core.current_consents").fetchall()
    assert state == {"granted": False, "form_id": None}
