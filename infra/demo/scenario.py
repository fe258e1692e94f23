"""Who does what in the demonstration's week. Data only.

Two clinics, three patients, six or seven days: Mihai goes silent in his first sitting (the sweep closes it) and skips
his last, Ana abandons an exercise, Jane withdraws her consent in the middle of her last exercise. The repetitions that
must be counted follow from what each of them sends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Ending = Literal["completed", "abandoned", "timeout", "consent_withdrawn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExercisePlay:
    """One exercise session. ``reps_until_ending`` of ``reps`` are sent before an ending other than completed."""

    exercise: str  # key of EXERCISES
    reps: int
    tempo_s: float = 2.6
    faults: dict[str, float] = field(default_factory=dict)
    ending: Ending = "completed"
    reps_until_ending: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """One treatment session, ``days_ago`` at ``hour`` o'clock UTC. Without exercises it is skipped."""

    days_ago: int
    hour: int
    pain_level_before: int
    pain_level_after: int | None = None
    perceived_difficulty: int | None = None
    exercises: tuple[ExercisePlay, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    full_name: str
    clinic: str
    treatment_plan: str
    time_zone: str
    sessions_total: int
    frequency_per_week: int
    sittings: tuple[Sitting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clinic:
    name: str
    specialist: str
    currency: str
    service_plan: str
    price_cents: int
    treatment_plans: dict[str, tuple[str, ...]]  # name -> exercises


EXERCISES = {
    # key of the simulator and of the movement profile -> what the clinic calls it
    "deep_squat": "Deep Squat",
    "sit_to_stand": "Sit to Stand",
    "shoulder_abduction": "Shoulder Abduction",
    "straight_leg_raise": "Straight Leg Raise",
}

CLINICS = (
    Clinic(
        name="Riverside Rehabilitation",
        specialist="Dr. Elena Marin",
        currency="EUR",
        service_plan="Knee programme, four weeks",
        price_cents=24_900,
        treatment_plans={"Post-ACL Rehab Weeks 1-4": ("deep_squat", "straight_leg_raise")},
    ),
    Clinic(
        name="Northgate Physiotherapy",
        specialist="Dr. Samuel Okafor",
        currency="GBP",
        service_plan="Shoulder and mobility, four weeks",
        price_cents=21_500,
        treatment_plans={"Frozen Shoulder Weeks 1-4": ("shoulder_abduction", "sit_to_stand")},
    ),
)

PATIENTS = (
    Patient(
        full_name="Ana Popescu",
        clinic="Riverside Rehabilitation",
        treatment_plan="Post-ACL Rehab Weeks 1-4",
        time_zone="Europe/Bucharest",
        sessions_total=12,
        frequency_per_week=3,
        sittings=(
            Sitting(
                days_ago=6,
                hour=7,
                pain_level_before=7,
                pain_level_after=5,
                perceived_difficulty=6,
                exercises=(
                    ExercisePlay(exercise="deep_squat", reps=8, faults={"trunk_lean": 1.0}),
                    ExercisePlay(exercise="straight_leg_raise", reps=8),
                ),
            ),
            Sitting(
                days_ago=2,
                hour=7,
                pain_level_before=6,
                pain_level_after=4,
                perceived_difficulty=6,
                exercises=(
                    ExercisePlay(exercise="deep_squat", reps=10),
                    ExercisePlay(exercise="straight_leg_raise", reps=8, ending="abandoned", reps_until_ending=4),
                ),
            ),
            Sitting(
                days_ago=1,
                hour=7,
                pain_level_before=5,
                pain_level_after=4,
                perceived_difficulty=5,
                exercises=(
                    ExercisePlay(exercise="deep_squat", reps=10),
                    ExercisePlay(exercise="straight_leg_raise", reps=10),
                ),
            ),
        ),
    ),
    Patient(
        full_name="Mihai Ionescu",
        clinic="Riverside Rehabilitation",
        treatment_plan="Post-ACL Rehab Weeks 1-4",
        time_zone="Europe/Bucharest",
        sessions_total=12,
        frequency_per_week=3,
        sittings=(
            Sitting(
                days_ago=5,
                hour=16,
                pain_level_before=6,
                pain_level_after=6,
                perceived_difficulty=8,
                exercises=(
                    ExercisePlay(exercise="deep_squat", reps=8, ending="timeout", reps_until_ending=5),
                    ExercisePlay(exercise="straight_leg_raise", reps=6, tempo_s=3.2),
                ),
            ),
            Sitting(
                days_ago=3,
                hour=16,
                pain_level_before=6,
                pain_level_after=5,
                perceived_difficulty=7,
                exercises=(
                    ExercisePlay(exercise="deep_squat", reps=8, tempo_s=3.0),
                    ExercisePlay(exercise="straight_leg_raise", reps=8),
                ),
            ),
            Sitting(days_ago=1, hour=16, pain_level_before=5),
        ),
    ),
    Patient(
        full_name="Jane Doe",
        clinic="Northgate Physiotherapy",
        treatment_plan="Frozen Shoulder Weeks 1-4",
        time_zone="Europe/London",
        sessions_total=8,
        frequency_per_week=3,
        sittings=(
            Sitting(
                days_ago=6,
                hour=18,
                pain_level_before=8,
                pain_level_after=6,
                perceived_difficulty=7,
                exercises=(
                    ExercisePlay(exercise="shoulder_abduction", reps=10),
                    ExercisePlay(exercise="sit_to_stand", reps=8),
                ),
            ),
            Sitting(
                days_ago=4,
                hour=18,
                pain_level_before=7,
                pain_level_after=5,
                perceived_difficulty=6,
                exercises=(
                    ExercisePlay(exercise="shoulder_abduction", reps=10),
                    ExercisePlay(exercise="sit_to_stand", reps=10),
                ),
            ),
            Sitting(
                days_ago=2,
                hour=18,
                pain_level_before=6,
                pain_level_after=4,
                perceived_difficulty=5,
                exercises=(
                    ExercisePlay(exercise="shoulder_abduction", reps=10),
                    ExercisePlay(exercise="sit_to_stand", reps=8, ending="consent_withdrawn", reps_until_ending=4),
                ),
            ),
        ),
    ),
)
