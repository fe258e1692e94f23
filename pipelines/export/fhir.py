"""A patient's records as HL7 FHIR R4: Consent, CarePlan, Observation and QuestionnaireResponse in one Bundle. Pure.

What a field means is FHIR's R4 definition (hl7.org/fhir/R4). Validation is by the models of ``fhir.resources`` for R4B
(4.3.0): that package has none for R4 (4.0.1), and R4B left these four resources and Bundle as R4 has them, so nothing
of R4 is missed by it. Terminology (that a code exists) is not validated, by no offline library.

References: ``Patient/<number>`` names the subject by the clinic's number; no name is in the bundle.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from fhir.resources.R4B.bundle import Bundle

Row = dict[str, Any]
SYSTEM = "https://restartix.example/fhir"
_LOINC_PAIN = {"system": "http://loinc.org", "code": "72514-3", "display": "Pain severity - 0-10 verbal numeric rating"}
_PLAN_STATUS = {"active": "active", "completed": "completed", "expired": "completed", "cancelled": "revoked"}
_MOVEMENT = (  # column, what it is, UCUM unit
    ("rep_count", "Repetitions counted", "{repetitions}"),
    ("average_form_score", "Form score, mean", "{score}"),
    ("rom_mean_deg", "Range of motion, mean", "deg"),
    ("rom_max_deg", "Range of motion, greatest", "deg"),
    ("tempo_mean_ms", "Duration of a repetition, mean", "ms"),
)


def consents(patient_id: int, rows: Iterable[Row]) -> list[Row]:
    """One Consent a row of the ledger: a withdrawal is a resource of its own, as it is in the ledger."""
    return [
        {
            "resourceType": "Consent",
            "id": f"consent-{row['id']}",
            "status": "active" if row["granted"] else "inactive",
            "scope": _concept("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
            "category": [_concept("http://terminology.hl7.org/CodeSystem/consentcategorycodes", "infa")],
            "patient": _patient(patient_id),
            "dateTime": _instant(row["effective_at"]),
            "policyRule": {"text": "Data processing by purpose; the latest entry of a purpose is its state"},
            "provision": {
                "type": "permit" if row["granted"] else "deny",
                "purpose": [{"system": f"{SYSTEM}/consent-purpose", "code": row["purpose"]}],
            },
            **(
                {"sourceReference": {"reference": f"QuestionnaireResponse/form-{row['form_id']}"}}
                if row["form_id"] is not None
                else {}
            ),
        }
        for row in rows
    ]


def care_plans(patient_id: int, rows: Iterable[Row]) -> list[Row]:
    """One CarePlan an assigned treatment plan."""
    return [
        {
            "resourceType": "CarePlan",
            "id": f"plan-{row['id']}",
            "status": _PLAN_STATUS[row["status"]],
            "intent": "plan",
            "title": row["treatment_plan_name"],
            "subject": _patient(patient_id),
            "period": {
                "start": row["started_on"].isoformat(),
                **({"end": row["ended_at"].date().isoformat()} if row["ended_at"] is not None else {}),
            },
            "description": f"{row['sessions_total']} sessions, {row['frequency_per_week']} a week",
        }
        for row in rows
    ]


def pain_observations(patient_id: int, rows: Iterable[Row]) -> list[Row]:
    """Pain before and after each treatment session, where it was said."""
    found = []
    for row in rows:
        moments = (("before", row["started_at"]), ("after", row["completed_at"]))
        for when, moment in moments:
            value = row[f"pain_level_{when}"]
            if value is not None and moment is not None:
                made = _observation(
                    f"pain-{row['id']}-{when}",
                    patient_id,
                    {"coding": [_LOINC_PAIN], "text": f"Pain {when} the session"},
                    moment,
                )
                found.append({**made, "valueInteger": int(value)})
    return found


def movement_observations(patient_id: int, rows: Iterable[Row]) -> list[Row]:
    """What was measured of each exercise session; what is unknown is left out."""
    found = []
    for row in rows:
        for column, text, unit in _MOVEMENT:
            if row[column] is None:
                continue
            name = column.replace("_", "-")
            made = _observation(f"{name}-{row['session_id']}"[:64], patient_id, {"text": text}, row["started_at"])
            quantity = {"value": float(row[column]), "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
            found.append({**made, "valueQuantity": quantity})
    return found


def questionnaire_responses(patient_id: int, rows: Iterable[Row]) -> list[Row]:
    """One QuestionnaireResponse a form; answers that are no text, number or truth value are given as text."""
    return [
        {
            "resourceType": "QuestionnaireResponse",
            "id": f"form-{row['id']}",
            "questionnaire": f"{SYSTEM}/Questionnaire/{row['form_template_id']}|{row['form_template_version']}",
            "status": "completed",
            "subject": _patient(patient_id),
            "authored": _instant(row["submitted_at"]),
            "item": [{"linkId": str(name), "answer": [_answer(value)]} for name, value in row["responses"].items()],
        }
        if row["responses"]
        else {
            "resourceType": "QuestionnaireResponse",
            "id": f"form-{row['id']}",
            "status": "completed",
            "subject": _patient(patient_id),
            "authored": _instant(row["submitted_at"]),
        }
        for row in rows
    ]


def bundle(resources: Sequence[Row], at: dt.datetime) -> Row:
    """All of them as a collection. Raises ``ValueError`` (pydantic's) where one breaks its definition."""
    made = {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": _instant(at),
        "entry": [{"fullUrl": f"{SYSTEM}/{each['resourceType']}/{each['id']}", "resource": each} for each in resources],
    }
    if not resources:
        del made["entry"]
    Bundle.model_validate(made)
    return made


def _observation(identity: str, patient_id: int, code: Row, at: dt.datetime) -> Row:
    return {
        "resourceType": "Observation",
        "id": identity,
        "status": "final",
        "code": code,
        "subject": _patient(patient_id),
        "effectiveDateTime": _instant(at),
    }


def _answer(value: object) -> Row:
    if isinstance(value, bool):
        return {"valueBoolean": value}
    if isinstance(value, int) and abs(value) < 2**31:
        return {"valueInteger": value}
    if isinstance(value, float):
        return {"valueDecimal": value}
    return {"valueString": str(value) or "-"}


def _patient(patient_id: int) -> Row:
    return {"reference": f"Patient/{patient_id}"}


def _concept(system: str, code: str) -> Row:
    return {"coding": [{"system": system, "code": code}]}


def _instant(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds")
