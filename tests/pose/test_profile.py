from __future__ import annotations

import msgspec
import pytest

from pipelines.pose.angles import ANGLES
from pipelines.pose.model import Prescription
from pipelines.pose.profile import Compensation, MovementProfile, Primary, UnknownProfileError, load, names
from pipelines.pose.version import algorithm_version

EXERCISES = (
    "bench_press",
    "biceps_curl",
    "bridge",
    "calf_raise",
    "deep_squat",
    "front_raise",
    "heel_slide",
    "hip_abduction",
    "hurdle_step",
    "inline_lunge",
    "jumping_jack",
    "lateral_raise",
    "lunge",
    "plank",
    "prone_hang",
    "pull_up",
    "push_up",
    "quad_set",
    "seated_knee_extension",
    "shoulder_abduction",
    "shoulder_extension",
    "shoulder_flexion",
    "shoulder_internal_external_rotation",
    "shoulder_press",
    "shoulder_scaption",
    "side_lunge",
    "single_leg_stance",
    "single_squat",
    "sit_to_stand",
    "sit_up",
    "squat",
    "standing_active_straight_leg_raise",
    "straight_leg_raise",
    "wall_sit",
)


def test_every_exercise_has_its_profile() -> None:
    assert names() == EXERCISES


@pytest.mark.parametrize("name", EXERCISES)
def test_a_profile_says_what_it_measures_and_survives_being_frozen(name: str) -> None:
    profile = load(name)
    assert profile.primary.angle in ANGLES
    assert profile.title
    assert profile.source
    assert len({each.name for each in profile.compensations}) == len(profile.compensations)
    assert msgspec.json.decode(msgspec.json.encode(profile), type=MovementProfile) == profile


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Deep Squat", "deep_squat"),
        ("deep-squat", "deep_squat"),
        ("standing_shoulder_abduction", "shoulder_abduction"),
        ("standing_shoulder_scaption", "shoulder_scaption"),
        ("active straight leg raise", "straight_leg_raise"),
        ("Push-Ups", "push_up"),
        ("JumpingJacks", "jumping_jack"),
        ("bicep curls", "biceps_curl"),
        ("Squats", "squat"),
    ],
)
def test_names_and_aliases_in_any_spelling(name: str, expected: str) -> None:
    assert load(name).name == expected


@pytest.mark.parametrize("name", EXERCISES)
def test_a_profile_says_what_is_good_and_what_is_not(name: str) -> None:
    profile = load(name)
    if not profile.measurable:
        return
    assert profile.target is not None or profile.hold is not None
    assert profile.compensations or profile.name in {"prone_hang"}  # which lies: the knee's own angle is all there is
    assert profile.tempo.shortest_ms < profile.tempo.longest_ms
    assert profile.primary.partial_share <= profile.primary.turn_share


def bounds(name: str, prescription: Prescription) -> tuple[float, float | None]:
    target = load(name).prescribed(prescription).target
    assert target is not None
    return target.low_deg, target.high_deg


def test_a_plan_changes_the_target_and_the_hold_and_nothing_else() -> None:
    squat = load("squat")
    assert squat.prescribed(Prescription(sets=3, reps=10, side="left")) == squat
    asked = squat.prescribed(Prescription(target_low_deg=60.0))
    assert asked.target is not None and squat.target is not None
    assert asked.target.low_deg == 60.0
    assert asked.target.weight == squat.target.weight
    assert msgspec.structs.replace(asked, target=squat.target) == squat
    assert bounds("lateral_raise", Prescription(target_low_deg=80.0)) == (80.0, 110.0)
    assert bounds("lateral_raise", Prescription(target_low_deg=120.0)) == (120.0, 155.0)
    assert bounds("lateral_raise", Prescription(target_high_deg=50.0)) == (15.0, 50.0)
    assert bounds("lateral_raise", Prescription(target_low_deg=60.0, target_high_deg=130.0)) == (60.0, 130.0)
    untargeted = msgspec.structs.replace(squat, target=None).prescribed(Prescription(target_high_deg=90.0))
    assert untargeted.target is not None and untargeted.target.high_deg == 90.0
    assert load("plank").prescribed(Prescription(hold_ms=45_000)).tempo.brisk_ms == 45_000
    held = squat.prescribed(Prescription(hold_ms=45_000))
    assert held.tempo.longest_ms == squat.tempo.longest_ms + 45_000
    assert msgspec.structs.replace(held, tempo=squat.tempo) == squat


def test_a_profile_frozen_before_a_field_was_there_still_reads() -> None:
    old = '{"name": "x", "title": "X", "primary": {"angle": "knee_flexion", "sides": "bilateral"}}'
    profile = msgspec.json.decode(old, type=MovementProfile)
    assert profile.measurable and profile.hold is None and profile.primary.candidates == ()


def test_an_unknown_name_is_said_to_be_unknown() -> None:
    with pytest.raises(UnknownProfileError, match="juggling"):
        load("juggling")


def test_a_profile_with_an_unknown_angle_or_field_is_refused() -> None:
    with pytest.raises(ValueError, match="no angle"):
        MovementProfile(name="x", title="x", primary=Primary(angle="ear_rotation", sides="bilateral"))
    with pytest.raises(msgspec.ValidationError, match="alowed_deg"):
        msgspec.convert(
            {"name": "x", "angle": "knee_flexion", "alowed_deg": 3.0, "allowed_deg": 3.0, "severe_deg": 1.0},
            Compensation,
        )


def test_the_version_names_the_numeric_libraries() -> None:
    version = algorithm_version()
    assert version.startswith("movement-")
    for library in ("numpy-", "polars-", "scipy-"):
        assert library in version
