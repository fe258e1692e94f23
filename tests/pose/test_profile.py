from __future__ import annotations

import msgspec
import pytest

from pipelines.pose.angles import ANGLES
from pipelines.pose.profile import Compensation, MovementProfile, Primary, UnknownProfileError, load, names
from pipelines.pose.version import algorithm_version

EXERCISES = (
    "bench_press",
    "deep_squat",
    "hurdle_step",
    "inline_lunge",
    "lateral_raise",
    "shoulder_abduction",
    "shoulder_extension",
    "shoulder_internal_external_rotation",
    "shoulder_scaption",
    "side_lunge",
    "single_squat",
    "sit_to_stand",
    "standing_active_straight_leg_raise",
    "straight_leg_raise",
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
    ],
)
def test_names_and_aliases_in_any_spelling(name: str, expected: str) -> None:
    assert load(name).name == expected


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
