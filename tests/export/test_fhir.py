"""FHIR resources: valid by the library's models, and refused by them where they are not."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

import pytest
from fhir.resources.R4B import get_fhir_model_class

from pipelines.export import fhir

AT = dt.datetime(2026, 3, 2, 9, 30, 0, 123456, tzinfo=dt.UTC)
SESSION = UUID("10000000-0000-4000-8000-000000000001")
MOVEMENT = {"session_id": SESSION, "started_at": AT, "rep_count": 10, "average_form_score": None, "rom_mean_deg": 91.5,
            "rom_max_deg": 99, "tempo_mean_ms": 2900.5}  # fmt: skip


def resources() -> list[dict[str, Any]]:
    consent = {"id": 1, "granted": True, "effective_at": AT, "purpose": "biometric", "form_id": 4}
    plan = {"id": 7, "status": "expired", "treatment_plan_name": "Knee", "started_on": AT.date(), "ended_at": AT,
            "sessions_total": 12, "frequency_per_week": 3}  # fmt: skip
    sitting = {"id": 3, "started_at": AT, "completed_at": None, "pain_level_before": 0, "pain_level_after": 4}
    form = {"id": 4, "form_template_id": 2, "form_template_version": 1, "submitted_at": AT,
            "responses": {"mood": "fine", "walks": True, "stairs": 3, "km": 1.5, "many": ["a"]}}  # fmt: skip
    return [
        *fhir.consents(42, [consent, {**consent, "id": 2, "granted": False, "form_id": None}]),
        *fhir.care_plans(42, [plan, {**plan, "id": 8, "status": "active", "ended_at": None}]),
        *fhir.pain_observations(42, [sitting]),
        *fhir.movement_observations(42, [MOVEMENT]),
        *fhir.questionnaire_responses(42, [form, {**form, "id": 5, "responses": None}]),
    ]


def test_each_resource_is_valid_and_survives_the_library_unchanged() -> None:
    made = resources()
    kinds = {each["resourceType"] for each in made}
    assert kinds == {"Consent", "CarePlan", "Observation", "QuestionnaireResponse"}
    for each in made:
        read = get_fhir_model_class(each["resourceType"]).model_validate(each)
        assert read.model_dump(mode="json").keys() >= each.keys() - {"resourceType"}


def test_what_is_unknown_is_left_out_and_zero_is_kept() -> None:
    observations = fhir.movement_observations(42, [MOVEMENT])
    assert "form-score" not in " ".join(each["id"] for each in observations)
    [pain] = [each for each in resources() if each["id"].startswith("pain")]
    assert (pain["id"], pain["valueInteger"]) == ("pain-3-before", 0)
    withdrawn = next(each for each in resources() if each["id"] == "consent-2")
    assert (withdrawn["status"], withdrawn["provision"]["type"]) == ("inactive", "deny")


@pytest.mark.parametrize("name", ["status", "code"])
def test_a_bundle_with_a_resource_that_breaks_its_definition_is_refused(name: str) -> None:
    broken = {**fhir.movement_observations(42, [MOVEMENT])[0], name: {"nonsense": True}}
    with pytest.raises(ValueError, match=name):
        fhir.bundle([broken], AT)
    assert len(fhir.bundle(resources(), AT)["entry"]) == len(resources())
    assert "entry" not in fhir.bundle([], AT)
