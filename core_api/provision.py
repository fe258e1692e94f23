"""Making a clinic: an organisation with its plans, exercises, people and assignments, in one transaction.

Idempotent by names (organisation, exercise, plan, form template), principal ids (people) and, for an assigned plan, its
patient, treatment plan and first day: what exists is left as it is and its id given back. Each new row is audited as
``provisioning``. Used by set-up and demonstrations; a clinic's own staff have the HTTP API.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import available_timezones

import msgspec
from psycopg.types.json import Jsonb

from core_api import audit, consent_form
from core_api.bodies import HoldMs, TargetAngle, check_target
from core_api.database import Row, Tx, enter_tenant, one, run, the
from core_api.encryption import ColumnCipher, Place

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Cents = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
FIRST_DAY = date(2000, 1, 1)


class SpecInvalid(ValueError):  # noqa: N818
    """The spec refers to something it does not contain, or names an unknown time zone."""


class ServicePlanSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a patient buys."""

    name: Name
    price_cents: Cents
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]


class ExerciseSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``movement_profile`` is a profile's name; one that no profile has is measured from the motion itself."""

    name: Name
    movement_profile: Name
    media_id: Name | None = None


class PrescribedExerciseSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One exercise of a treatment plan, by the exercise's name."""

    exercise: Name
    sets: Count | None = None
    reps: Count | None = None
    side: Literal["left", "right", "both"] | None = None
    target_low_deg: TargetAngle | None = None
    target_high_deg: TargetAngle | None = None
    hold_ms: HoldMs | None = None

    def __post_init__(self) -> None:
        check_target(self.target_low_deg, self.target_high_deg)


class TreatmentPlanSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is prescribed, in the order it is done."""

    name: Name
    exercises: tuple[PrescribedExerciseSpec, ...]


class SpecialistSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``principal_id`` is the identity provider's."""

    principal_id: UUID
    full_name: Name | None = None


class PatientSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``time_zone`` is an IANA name; days and streaks are counted in it."""

    principal_id: UUID
    full_name: Name
    time_zone: Name
    contact: Name | None = None


class PatientPlanSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A treatment plan assigned to a patient. ``paid_cents`` is recorded as one payment for the service plan."""

    patient: UUID
    treatment_plan: Name
    sessions_total: Count
    frequency_per_week: Annotated[int, msgspec.Meta(ge=1, le=21)]
    started_on: date
    ends_on: date | None = None
    specialist: UUID | None = None
    service_plan: Name | None = None
    paid_cents: Cents | None = None


class FormTemplateSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``questions`` is shown to the patient as it is; a changed form is a new version."""

    name: Name
    version: Count = 1
    purpose: Name | None = None
    questions: tuple[dict[str, Any], ...] = ()


# Every organisation has it, whatever its spec says.
_CONSENT_FORM = FormTemplateSpec(
    name=consent_form.NAME,
    version=consent_form.VERSION,
    purpose=consent_form.PURPOSE,
    questions=consent_form.QUESTIONS,
)


class ProvisionSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One organisation and what it has. Everything referred to by name or principal id is in the same spec."""

    organisation: Name
    service_plans: tuple[ServicePlanSpec, ...] = ()
    exercises: tuple[ExerciseSpec, ...] = ()
    treatment_plans: tuple[TreatmentPlanSpec, ...] = ()
    specialists: tuple[SpecialistSpec, ...] = ()
    patients: tuple[PatientSpec, ...] = ()
    patient_plans: tuple[PatientPlanSpec, ...] = ()
    form_templates: tuple[FormTemplateSpec, ...] = ()


class ProvisionedIds(msgspec.Struct, frozen=True, kw_only=True):
    """Keys of everything in the spec, existing or made now. ``patient_plans`` is parallel to the spec's."""

    organisation_id: int
    service_plans: dict[str, int]
    exercises: dict[str, int]
    treatment_plans: dict[str, int]
    specialists: dict[UUID, int]
    patients: dict[UUID, int]
    patient_plans: tuple[int, ...]
    form_templates: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Provisioning:
    tx: Tx
    organisation_id: int
    author: audit.Author
    cipher: ColumnCipher
    now: datetime

    def ensure(self, what: str, entity: str, values: Mapping[str, object]) -> tuple[int, bool]:
        """The id of the row ``find_<what>.sql`` sees, or else ``insert_<what>.sql`` makes; whether it was made."""
        parameters: Row = {**values, "organisation_id": self.organisation_id, "now": self.now}
        found = one(self.tx, f"find_{what}", parameters)
        if found is not None:
            return int(found["id"]), False
        made = int(the(self.tx, f"insert_{what}", parameters)["id"])
        audit.record(self.tx, self.author, f"{what}.create", entity, made)
        return made, True

    def seal(self, text: str | None, column: str, row: object) -> bytes | None:
        if text is None:
            return None
        return self.cipher.seal(self.tx, text, Place(self.organisation_id, column, str(row)))


def provision(
    connection: Tx, spec: ProvisionSpec, *, cipher: ColumnCipher, now: datetime, request_id: str = "provision"
) -> ProvisionedIds:
    """Make what ``spec`` asks for and is not there yet. ``connection`` is the Core API's role (rows as dictionaries);
    one transaction. Raises ``SpecInvalid``.
    """
    _check(spec)
    with connection.transaction():
        organisation = the(connection, "provision_organisation", {"name": spec.organisation})
        organisation_id = int(organisation["organisation_id"])
        enter_tenant(connection, organisation_id)
        author = audit.Author(None, "provisioning", request_id)
        if organisation["created"]:
            audit.record(connection, author, "organisation.create", "core.organisations", organisation_id)
        cipher.create_key(connection, organisation_id)
        return _provision(_Provisioning(connection, organisation_id, author, cipher, now), spec)


def _provision(work: _Provisioning, spec: ProvisionSpec) -> ProvisionedIds:
    service_plans = {
        each.name: work.ensure("service_plan", "core.service_plans", msgspec.structs.asdict(each))[0]
        for each in spec.service_plans
    }
    exercises = {
        each.name: work.ensure("exercise", "core.exercises", msgspec.structs.asdict(each))[0] for each in spec.exercises
    }
    treatment_plans = {each.name: _treatment_plan(work, each, exercises) for each in spec.treatment_plans}
    form_templates = {
        each.name: work.ensure(
            "form_template",
            "core.form_templates",
            {**msgspec.structs.asdict(each), "questions": Jsonb(list(each.questions))},
        )[0]
        for each in (*spec.form_templates, _CONSENT_FORM)
    }
    specialists = {each.principal_id: _specialist(work, each) for each in spec.specialists}
    patients = {each.principal_id: _patient(work, each) for each in spec.patients}
    patient_plans = tuple(
        _patient_plan(
            work,
            each,
            patient_id=patients[each.patient],
            treatment_plan_id=treatment_plans[each.treatment_plan],
            specialist_id=specialists[each.specialist] if each.specialist else None,
            service_plan_id=service_plans[each.service_plan] if each.service_plan else None,
        )
        for each in spec.patient_plans
    )
    return ProvisionedIds(
        organisation_id=work.organisation_id,
        service_plans=service_plans,
        exercises=exercises,
        treatment_plans=treatment_plans,
        specialists=specialists,
        patients=patients,
        patient_plans=patient_plans,
        form_templates=form_templates,
    )


def _treatment_plan(work: _Provisioning, spec: TreatmentPlanSpec, exercises: Mapping[str, int]) -> int:
    plan_id, created = work.ensure("treatment_plan", "core.treatment_plans", {"name": spec.name})
    if created:
        for sort_order, each in enumerate(spec.exercises, start=1):
            values: Row = {
                "organisation_id": work.organisation_id,
                "treatment_plan_id": plan_id,
                "exercise_id": exercises[each.exercise],
                "sets": each.sets,
                "reps": each.reps,
                "side": each.side,
                "target_low_deg": each.target_low_deg,
                "target_high_deg": each.target_high_deg,
                "hold_ms": each.hold_ms,
                "sort_order": sort_order,
            }
            run(work.tx, "insert_treatment_plan_exercise", values)
    return plan_id


def _specialist(work: _Provisioning, spec: SpecialistSpec) -> int:
    name = work.seal(spec.full_name, "core.specialists.full_name_encrypted", spec.principal_id)
    values = {"principal_id": spec.principal_id, "full_name_encrypted": name}
    return work.ensure("specialist", "core.specialists", values)[0]


def _patient(work: _Provisioning, spec: PatientSpec) -> int:
    values = {
        "principal_id": spec.principal_id,
        "full_name_encrypted": work.seal(spec.full_name, "core.patients.full_name_encrypted", spec.principal_id),
        "contact_encrypted": work.seal(spec.contact, "core.patients.contact_encrypted", spec.principal_id),
        "time_zone": spec.time_zone,
    }
    return work.ensure("patient", "core.patients", values)[0]


def _patient_plan(
    work: _Provisioning,
    spec: PatientPlanSpec,
    *,
    patient_id: int,
    treatment_plan_id: int,
    specialist_id: int | None,
    service_plan_id: int | None,
) -> int:
    values = {
        "patient_id": patient_id,
        "treatment_plan_id": treatment_plan_id,
        "specialist_id": specialist_id,
        "service_plan_id": service_plan_id,
        "sessions_total": spec.sessions_total,
        "frequency_per_week": spec.frequency_per_week,
        "started_on": spec.started_on,
        "ends_on": spec.ends_on,
    }
    plan_id, created = work.ensure("patient_treatment_plan", "core.patient_treatment_plans", values)
    if created and spec.paid_cents is not None and service_plan_id is not None:
        payment = {"patient_treatment_plan_id": plan_id, "service_plan_id": service_plan_id, "amount": spec.paid_cents}
        made = the(work.tx, "insert_payment", {**payment, "organisation_id": work.organisation_id, "now": work.now})
        audit.record(work.tx, work.author, "payment.create", "core.service_plan_payments", made["id"])
    return plan_id


def _check(spec: ProvisionSpec) -> None:
    """Raises ``SpecInvalid`` naming the first thing that is not there."""
    zones = available_timezones()
    for patient in spec.patients:
        _known("time zone", patient.time_zone, zones)
    exercises = {each.name for each in spec.exercises}
    for treatment_plan in spec.treatment_plans:
        for prescribed in treatment_plan.exercises:
            _known("exercise", prescribed.exercise, exercises)
    patients = {each.principal_id for each in spec.patients}
    specialists = {each.principal_id for each in spec.specialists}
    treatment_plans = {each.name for each in spec.treatment_plans}
    service_plans = {each.name for each in spec.service_plans}
    for plan in spec.patient_plans:
        _known("patient", plan.patient, patients)
        _known("treatment plan", plan.treatment_plan, treatment_plans)
        _known("specialist", plan.specialist, {*specialists, None})
        _known("service plan", plan.service_plan, {*service_plans, None})
        if plan.started_on < FIRST_DAY:
            raise SpecInvalid(f"a plan that starts on {plan.started_on}, before {FIRST_DAY}")
        if plan.paid_cents is not None and plan.service_plan is None:
            raise SpecInvalid("a payment without a service plan")


def _known(what: str, name: object, names: Set[Any]) -> None:
    if name not in names:
        raise SpecInvalid(f"unknown {what} {name}")
