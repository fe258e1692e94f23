"""Making the demonstration's clinics: existing ones are kept, the patients are new in every run.

Belongs here: the scenario as a provisioning request. Does not belong here: how provisioning works (``core_api``).
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import NAMESPACE_URL, UUID, uuid5

import psycopg
from psycopg.rows import dict_row

from core_api import provision
from core_api.encryption import ColumnCipher
from infra.demo.scenario import CLINICS, EXERCISES, PATIENTS, Clinic, Patient
from infra.stack.state import StackState
from pipelines.adapters.key_file import KeyFile

IDENTITY_TOKEN_LIFE = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """One patient of this run, with everything that is needed to play and to read them."""

    patient: Patient
    organisation_id: int
    principal_id: UUID
    specialist_principal_id: UUID
    patient_id: int
    plan_id: int
    exercise_ids: Mapping[str, int]  # simulator's key -> id


def enrol(state: StackState, *, now: dt.datetime, new_id: Callable[[], UUID]) -> list[Enrolled]:
    """Provision every clinic as the Core API's role; the patients in the scenario's order."""
    cipher = ColumnCipher(KeyFile.read(state.column_key_path, secrets.token_bytes), secrets.token_bytes)
    enrolled = []
    with psycopg.Connection.connect(state.logins.url("core_api"), row_factory=dict_row, autocommit=True) as connection:
        for clinic in CLINICS:
            members = [(patient, new_id()) for patient in PATIENTS if patient.clinic == clinic.name]
            specialist_id = _principal(clinic.specialist)
            ids = provision.provision(connection, _spec(clinic, specialist_id, members, now), cipher=cipher, now=now)
            exercises = {key: ids.exercises[name] for key, name in EXERCISES.items() if name in ids.exercises}
            enrolled += [
                Enrolled(
                    patient,
                    ids.organisation_id,
                    principal_id,
                    specialist_id,
                    ids.patients[principal_id],
                    plan_id,
                    exercises,
                )
                for (patient, principal_id), plan_id in zip(members, ids.patient_plans, strict=True)
            ]
    return enrolled


def identity_token(state: StackState, principal_id: UUID, organisation_id: int, role: str, now: dt.datetime) -> str:
    """A token as the clinic app's identity provider would sign it."""
    claims = {
        "sub": str(principal_id),
        "org": organisation_id,
        "role": role,
        "aud": "core-api",
        "iat": int(now.timestamp()),
        "exp": int((now + IDENTITY_TOKEN_LIFE).timestamp()),
    }
    return state.identity_keys.mint(claims)


def _spec(
    clinic: Clinic, specialist_id: UUID, members: Sequence[tuple[Patient, UUID]], now: dt.datetime
) -> provision.ProvisionSpec:
    used = list(dict.fromkeys(key for exercises in clinic.treatment_plans.values() for key in exercises))
    return provision.ProvisionSpec(
        organisation=clinic.name,
        service_plans=(
            provision.ServicePlanSpec(
                name=clinic.service_plan, price_cents=clinic.price_cents, currency=clinic.currency
            ),
        ),
        exercises=tuple(
            provision.ExerciseSpec(name=EXERCISES[key], movement_profile=key, media_id=f"video-{key}") for key in used
        ),
        treatment_plans=tuple(
            provision.TreatmentPlanSpec(
                name=name,
                exercises=tuple(
                    provision.PrescribedExerciseSpec(exercise=EXERCISES[key], sets=1, reps=10) for key in exercises
                ),
            )
            for name, exercises in clinic.treatment_plans.items()
        ),
        specialists=(provision.SpecialistSpec(principal_id=specialist_id, full_name=clinic.specialist),),
        patients=tuple(
            provision.PatientSpec(principal_id=principal_id, full_name=patient.full_name, time_zone=patient.time_zone)
            for patient, principal_id in members
        ),
        patient_plans=tuple(
            provision.PatientPlanSpec(
                patient=principal_id,
                treatment_plan=patient.treatment_plan,
                sessions_total=patient.sessions_total,
                frequency_per_week=patient.frequency_per_week,
                started_on=(now - dt.timedelta(days=max(sitting.days_ago for sitting in patient.sittings))).date(),
                specialist=specialist_id,
                service_plan=clinic.service_plan,
                paid_cents=clinic.price_cents,
            )
            for patient, principal_id in members
        ),
    )


def _principal(name: str) -> UUID:
    """The same person in every run: a name-based id (RFC 9562, version 5)."""
    return uuid5(NAMESPACE_URL, f"https://restartix.example/people/{name}")
