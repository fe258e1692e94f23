"""The demonstration's dashboards by hand: what its week comes to, and the definitions at their edges."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from infra.demo.organisation import Figures, HeldPlan, HeldSitting, by_hand, figures
from infra.demo.scenario import CLINICS, PATIENTS, Patient

NOW = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)
NOTHING_ENDED: Figures = {
    "plans_completed": Decimal(0),
    "plans_expired": Decimal(0),
    "plans_cancelled": Decimal(0),
    "plans_with_pain_reduction": Decimal(0),
    "plan_completion_percent": None,
    "pain_reduction_points": None,
    "important_pain_reduction_percent": None,
}


def played(patient_id: int, patient: Patient) -> HeldPlan:
    """A patient's week as it is stored once it is played."""
    return HeldPlan(
        patient_id=patient_id,
        status="active",
        started_on=(NOW - dt.timedelta(days=max(sitting.days_ago for sitting in patient.sittings))).date(),
        ended_at=None,
        sessions_total=patient.sessions_total,
        frequency_per_week=patient.frequency_per_week,
        time_zone=patient.time_zone,
        sittings=tuple(
            HeldSitting(
                status="completed" if sitting.exercises else "skipped",
                started_at=NOW - dt.timedelta(days=sitting.days_ago),
                session_number=number,
                pain_level_before=sitting.pain_level_before,
            )
            for number, sitting in enumerate(patient.sittings, start=1)
        ),
    )


def ended(status: str, *pains: int | None, days: int = 14) -> HeldPlan:
    """A plan of 3 a week, one sitting a day, whose pains are these."""
    begun = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)
    return HeldPlan(
        patient_id=1,
        status=status,
        started_on=begun.date(),
        ended_at=begun + dt.timedelta(days=days),
        sessions_total=12,
        frequency_per_week=3,
        time_zone="Europe/London",
        sittings=tuple(
            HeldSitting(
                status="completed",
                started_at=begun + dt.timedelta(days=day),
                session_number=day + 1,
                pain_level_before=pain,
            )
            for day, pain in enumerate(pains)
        ),
    )


@pytest.mark.parametrize(
    ("clinic", "wanted"),
    [
        # Ana did 3 in 6 days and Mihai 2 of 3 in 5; 3 a week is 2 by then for either. 5 of 4.
        (
            "Riverside Rehabilitation",
            {
                "patients": 2,
                "plans_total": 2,
                "plans_active": 2,
                "sessions_completed": 5,
                "sessions_skipped": 1,
                "sessions_expected": 4,
                "adherence_percent": 125,
            },
        ),
        # Jane did 3 in 6 days.
        (
            "Northgate Physiotherapy",
            {
                "patients": 1,
                "plans_total": 1,
                "plans_active": 1,
                "sessions_completed": 3,
                "sessions_skipped": 0,
                "sessions_expected": 2,
                "adherence_percent": 150,
            },
        ),
    ],
)
def test_what_the_week_comes_to(clinic: str, wanted: dict[str, int]) -> None:
    assert clinic in {one.name for one in CLINICS}
    plans = [played(number, patient) for number, patient in enumerate(PATIENTS) if patient.clinic == clinic]
    assert by_hand(plans, NOW) == {**NOTHING_ENDED, **{name: Decimal(count) for name, count in wanted.items()}}


def test_outcomes_are_of_completed_plans_with_two_recordings() -> None:
    plans = [
        ended("completed", 8, None, 4),
        ended("completed", 6, 5),
        ended("completed", None, 7),
        ended("expired", 9, 1),
        ended("cancelled"),
    ]
    shown = by_hand(plans, NOW)
    assert shown["plans_with_pain_reduction"] == 2
    assert shown["pain_reduction_points"] == Decimal("2.50")
    assert shown["important_pain_reduction_percent"] == 50
    assert shown["plan_completion_percent"] == 60
    assert shown["patients"] == 1
    assert shown["adherence_percent"] is None


def test_a_day_is_the_patients_and_the_day_still_running_is_not_owed() -> None:
    plan = played(1, PATIENTS[0])
    assert plan.time_zone == "Europe/Bucharest"
    evening = dt.datetime(2026, 3, 10, 22, 30, tzinfo=dt.UTC)  # the seventh day has ended in Bucharest
    assert (plan.expected(NOW), plan.expected(evening)) == (2, 3)
    assert plan.expected(NOW + dt.timedelta(days=365)) == 12


def test_a_plan_that_ended_owes_nothing_after_its_end() -> None:
    assert ended("expired", days=10).expected(NOW) == 4


def test_numbers_and_decimal_strings_are_the_same_figure() -> None:
    assert figures({"a": "2.50", "b": 2, "c": None, "d": 1}, ["a", "b", "c"]) == {
        "a": Decimal("2.5"),
        "b": Decimal(2),
        "c": None,
    }
    with pytest.raises(KeyError):
        figures({}, ["a"])
