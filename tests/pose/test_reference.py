from __future__ import annotations

from importlib.resources import files

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.pose.angles import ANGLES
from pipelines.pose.model import PoseSummary, Prescription
from pipelines.pose.personal import PersonalReference, TooFewRepetitionsError, personalised, reference_from
from pipelines.pose.profile import MovementProfile, load, names
from pipelines.pose.reference import PHASE_POINTS, Channel, Reference, Template, join
from pipelines.pose.summary import summarise
from pipelines.pose.template import band, channels_of, excess
from tests.pose.synthetic import abducting, leaning, repetitions_deg, squatting, timestamps

LEARNT = [name for name in names() if load(name).reference is not None]
MIDDLE = np.zeros(PHASE_POINTS)
HALF = np.full(PHASE_POINTS, 10.0)


def scored(angle_deg: NDArray[np.float64], profile: MovementProfile, scale: float = 1.0) -> PoseSummary:
    body = squatting(angle_deg)
    times = np.round(timestamps(len(body)) * scale).astype(np.int64)
    return summarise(body, times, profile, Prescription())


def own_reference(angle_deg: NDArray[np.float64], profile: MovementProfile) -> PersonalReference:
    body = squatting(angle_deg)
    return reference_from(body, timestamps(len(body)), profile, Prescription())


def test_the_ten_recorded_movements_carry_a_reference() -> None:
    assert len(LEARNT) >= 10
    written = {file.name for file in files("pipelines.pose").joinpath("references").iterdir()}
    assert {f"{name}.toml" for name in LEARNT} == {name for name in written if name.endswith(".toml")}


@pytest.mark.parametrize("name", LEARNT)
def test_a_shipped_reference_says_where_it_came_from(name: str) -> None:
    profile = load(name)
    assert profile.reference is not None
    provenance = profile.reference.provenance
    assert provenance is not None
    assert provenance.algorithm_version.startswith("movement-")
    assert provenance.fitted_on.count("-") == 2
    for source in provenance.sources:
        assert source.licence
        assert source.dataset
        assert len(source.subjects) > 1
        assert source.correct_reps > 10
        assert source.incorrect_reps > 10
        assert source.left_out_auc is not None
        assert source.left_out_auc > 0.75


@pytest.mark.parametrize("name", LEARNT)
def test_a_shipped_template_can_be_compared_with(name: str) -> None:
    profile = load(name)
    assert profile.reference is not None
    template = profile.reference.template
    assert template is not None
    assert sum(channel.weight for channel in template.channels) == pytest.approx(1.0, abs=0.001)
    possible = set(channels_of(profile))
    for channel in template.channels:
        assert channel.angle in ANGLES
        assert (channel.angle, channel.side) in possible
        assert channel.middle_deg[0] == 0.0, "told against the posture it began in"
    assert msgspec.json.decode(msgspec.json.encode(profile), type=MovementProfile) == profile


def test_what_a_profile_says_for_itself_comes_before_what_was_learnt() -> None:
    own = {"name": "x", "compensations": [{"name": "lean", "allowed_deg": 1.0}], "target": {"low_deg": 50.0}}
    learnt = {
        "compensations": [{"name": "lean", "allowed_deg": 9.0}, {"name": "tilt", "allowed_deg": 2.0}],
        "target": {"low_deg": 90.0},
        "reference": {"version": 1},
    }
    joined = join(own, learnt)
    assert joined["compensations"] == [{"name": "lean", "allowed_deg": 1.0}, {"name": "tilt", "allowed_deg": 2.0}]
    assert joined["target"] == {"low_deg": 50.0}
    assert joined["reference"] == {"version": 1}
    assert join({"name": "x"}, learnt)["target"] == {"low_deg": 90.0}


def test_within_the_band_costs_nothing_and_beyond_it_only_more() -> None:
    def distance(offset_deg: float) -> float:
        return float(excess(np.full((1, 1, PHASE_POINTS), offset_deg), MIDDLE, HALF)[0])

    assert [distance(offset) for offset in (0.0, 5.0, -10.0, 10.0)] == [0.0] * 4
    assert distance(15.0) == pytest.approx(0.5)
    assert distance(-15.0) == distance(15.0)


@given(st.floats(0.0, 90.0), st.floats(0.0, 90.0))
def test_the_distance_grows_with_the_deviation(one: float, other: float) -> None:
    near, far = sorted((one, other))
    curve = np.stack((np.full(PHASE_POINTS, near), np.full(PHASE_POINTS, far)))[None]
    small, large = excess(curve, MIDDLE, HALF)
    assert small <= large


def test_a_band_holds_what_correct_repetitions_span_and_never_less_than_a_trackers_wobble() -> None:
    random = np.random.default_rng(1)
    correct = random.normal(0.0, 6.0, (1, 400, PHASE_POINTS)) + 30.0
    middle, half = band(correct)
    assert middle == pytest.approx(30.0, abs=1.5)
    assert half == pytest.approx(12.0, rel=0.2)
    inside = np.abs(correct - middle) <= half
    assert 0.92 < inside.mean() < 0.98
    assert (band(np.zeros((2, 5, PHASE_POINTS)))[1] == 4.0).all()


def squat_template(half_width_deg: float = 6.0) -> MovementProfile:
    """A profile that knows nothing but the course of a squat to 100 degrees."""
    phase = np.linspace(0.0, 1.0, PHASE_POINTS)
    channel = Channel(
        angle="knee_flexion",
        side="each",
        weight=1.0,
        middle_deg=tuple(50.0 * (1.0 - np.cos(2.0 * np.pi * phase))),
        half_width_deg=(half_width_deg + 8.0,) * PHASE_POINTS,
    )
    template = Template(channels=(channel,), allowed=0.0, severe=1.0, weight=1.0)
    bare = msgspec.structs.replace(load("deep_squat"), target=None, compensations=())
    return msgspec.structs.replace(bare, reference=Reference(template=template))


def test_agreement_falls_as_the_course_leaves_the_template_and_the_reason_says_where() -> None:
    profile = squat_template()
    means = []
    for peak_deg in (100.0, 75.0, 50.0):
        reps = scored(repetitions_deg(3, peak_deg=peak_deg), profile).reps
        means.append(np.mean([rep.reference_score for rep in reps if rep.reference_score is not None]))
    assert means[0] > 95.0
    assert means[0] > means[1] > means[2]
    (first, *_) = scored(repetitions_deg(3, peak_deg=50.0), profile).reps
    assert first.reason is not None
    assert "knee flexion left the range of correct repetitions by 3" in first.reason


@given(st.floats(1.0, 1.6))
@settings(max_examples=8, deadline=None)
def test_a_template_knows_no_tempo(scale: float) -> None:
    usual = scored(repetitions_deg(3, peak_deg=70.0), squat_template()).reps
    stretched = scored(repetitions_deg(3, peak_deg=70.0), squat_template(), scale).reps
    assert len(stretched) == len(usual) == 3
    for one, other in zip(usual, stretched, strict=True):
        assert other.reference_score == pytest.approx(one.reference_score, abs=8.0)


def test_three_supervised_repetitions_make_a_reference_that_later_sessions_are_scored_against() -> None:
    profile = load("deep_squat")
    own = own_reference(repetitions_deg(3, peak_deg=70.0), profile)
    assert own.rep_count == 3
    frozen = msgspec.json.decode(msgspec.json.encode(personalised(profile, own)), type=MovementProfile)
    same, shallow = (scored(repetitions_deg(4, peak_deg=peak_deg), frozen) for peak_deg in (70.0, 40.0))
    usual = scored(repetitions_deg(4, peak_deg=70.0), profile)
    assert same.average_form_score is not None
    assert shallow.average_form_score is not None
    assert usual.average_form_score is not None
    assert same.average_form_score > 95.0
    assert usual.average_form_score < 60.0, "too shallow by everybody's measure, but not by this patient's own"
    assert shallow.average_form_score < 70.0
    assert all((rep.reference_score or 0.0) > 95.0 for rep in same.reps)


def test_a_personal_reference_is_stored_as_json() -> None:
    own = own_reference(repetitions_deg(4), load("deep_squat"))
    stored = msgspec.json.encode(own)
    assert msgspec.json.decode(stored, type=PersonalReference) == own
    assert len(stored) < 16_384
    assert own == own_reference(repetitions_deg(4), load("deep_squat"))


def test_a_habit_the_specialist_accepted_is_allowed_and_nothing_is_allowed_less() -> None:
    profile = load("shoulder_abduction")
    body = abducting(repetitions_deg(3, peak_deg=90.0))
    own = reference_from(body, timestamps(len(body)), profile, Prescription())
    personal = personalised(profile, own)
    assert personal.target is not None
    assert personal.target.low_deg == own.low_deg == pytest.approx(85.0, abs=2.0)
    for before, after in zip(profile.compensations, personal.compensations, strict=True):
        if before.direction == "short":
            assert after.allowed_deg <= before.allowed_deg
        else:
            assert after.allowed_deg == max(before.allowed_deg, own.moved_deg[before.name])


def test_a_reference_is_learnt_from_what_the_session_counts_and_from_nothing_else() -> None:
    """Getting up with bent knees is no repetition, nor is what went on while the patient was out of sight."""
    profile = load("squat")
    bend = repetitions_deg(1, peak_deg=60.0, idle_s=0.0)
    done = repetitions_deg(6, idle_s=0.5)
    rising = np.concatenate((np.full(len(bend), 80.0), np.zeros(len(done))))
    body = leaning(squatting(np.concatenate((bend, done))), rising)
    own = reference_from(body, timestamps(len(body)), profile, Prescription())
    told = summarise(body, timestamps(len(body)), profile, Prescription())
    assert own.rep_count == told.rep_count == 6
    assert own.low_deg == pytest.approx(95.0, abs=1.0)

    body = squatting(repetitions_deg(8, idle_s=1.0))
    body[200:350, :, 3] = 0.1
    own = reference_from(body, timestamps(len(body)), profile, Prescription())
    told = summarise(body, timestamps(len(body)), profile, Prescription())
    assert own.rep_count == told.rep_count
    assert own.rep_count < 8


def test_what_cannot_be_a_reference_is_refused() -> None:
    profile = load("deep_squat")
    with pytest.raises(TooFewRepetitionsError, match="2 repetitions"):
        own_reference(repetitions_deg(2), profile)
    with pytest.raises(TooFewRepetitionsError):
        reference_from(np.empty((0, 33, 4), np.float32), np.empty(0, np.int64), profile, Prescription())
    own = own_reference(repetitions_deg(3), profile)
    with pytest.raises(ValueError, match="deep_squat"):
        personalised(load("side_lunge"), own)
    [first, *others] = own.template.channels
    strange = msgspec.structs.replace(first, angle="wing_flexion")
    template = msgspec.structs.replace(own.template, channels=(strange, *others))
    with pytest.raises(ValueError, match="angles"):
        personalised(profile, msgspec.structs.replace(own, template=template))
