from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.pose.landmarks import sided
from pipelines.pose.model import PoseSummary, Prescription, RepMetrics
from pipelines.pose.profile import Compensation, Consistency, MovementProfile, Primary, Target, Tempo, load
from pipelines.pose.reference import Reference
from pipelines.pose.scoring import (
    COMPONENTS,
    WORST,
    bounded,
    consistency_penalty,
    range_penalty,
    smoothness_penalty,
    symmetry_penalty,
    tempo_penalty,
)
from pipelines.pose.signals import Float64s
from pipelines.pose.summary import summarise
from tests.pose.synthetic import abducting, leaning, repetitions_deg, squatting, timestamps

LEAN = Compensation(name="trunk_forward_lean", angle="trunk_flexion", allowed_deg=10.0, severe_deg=20.0)
SQUAT = MovementProfile(
    name="bare_squat",
    title="A squat with one fault",
    primary=Primary(angle="knee_flexion", sides="bilateral", outward="eccentric"),
    target=Target(low_deg=90.0),
    compensations=(LEAN,),
)


def scored(body: NDArray[np.float32], profile: MovementProfile = SQUAT) -> PoseSummary:
    return summarise(body, timestamps(len(body)), profile, Prescription())


def component(rep: RepMetrics, name: str) -> float | None:
    value: float | None = getattr(rep, f"{name}_score")
    return value


def test_the_form_score_is_the_product_of_its_components() -> None:
    angle = repetitions_deg(4, peak_deg=70.0, period_s=1.2)
    result = scored(leaning(squatting(angle), 0.4 * angle))
    assert result.rep_count == 4
    for rep in result.reps:
        parts = [value for name in COMPONENTS if (value := component(rep, name)) is not None]
        assert len(parts) >= 5
        assert rep.form_score == pytest.approx(100.0 * math.prod(part / 100.0 for part in parts), abs=0.5)
        assert rep.form_score <= min(parts) + 0.05


def test_what_the_estimator_guessed_of_a_hidden_landmark_is_no_fault() -> None:
    """The shoulders are out of sight for half a second of each movement, and thrown far forward there."""
    angle = repetitions_deg(4)
    guessed = ((np.arange(len(angle)) - 60) % 90) // 15 == 2
    thrown = leaning(squatting(angle), np.where(guessed, 60.0, 0.0))
    seen = scored(thrown)
    assert all((rep.deviation_max_deg or 0.0) > 20.0 for rep in seen.reps), "in sight it is a fault"
    for side in ("left", "right"):
        thrown[guessed, sided("shoulder", side), 3] = 0.2
    hidden = scored(thrown)
    assert hidden.rep_count == seen.rep_count == 4
    assert [rep.deviation_max_deg for rep in hidden.reps] == [0.0] * 4
    assert [rep.form_score for rep in hidden.reps] == [rep.form_score for rep in scored(squatting(angle)).reps]


def test_a_faultless_repetition_scores_100_and_has_no_reason() -> None:
    result = scored(squatting(repetitions_deg(4)))
    assert result.rep_count == 4
    for rep in result.reps:
        assert (rep.form_score, rep.reason, rep.deviation_name, rep.deviation_at_ms) == (100.0, None, None, None)
        assert rep.deviation_max_deg == 0.0


def test_what_was_not_to_be_judged_has_no_component() -> None:
    unjudged = msgspec.structs.replace(SQUAT, target=None, compensations=())
    (rep,) = scored(squatting(repetitions_deg(1)), unjudged).reps
    for name in ("range", "compensation", "reference", "consistency"):
        assert component(rep, name) is None, name
    for name in ("tempo", "smoothness", "symmetry"):
        assert component(rep, name) == 100.0, name
    one_sided = MovementProfile(
        name="raise", title="One arm", primary=Primary(angle="shoulder_elevation", sides="unilateral")
    )
    result = scored(abducting(repetitions_deg(3)), one_sided)
    assert result.rep_count == 3
    for rep in result.reps:
        assert rep.symmetry_score is None


@pytest.mark.parametrize(
    ("name", "words"),
    [("range", "fell 26° short of 90°"), ("tempo", "it took"), ("compensation", "trunk forward lean was")],
)
def test_the_reason_names_what_was_wrong(name: str, words: str) -> None:
    peak_deg = 64.0 if name == "range" else 100.0
    angle = repetitions_deg(3, peak_deg=peak_deg, period_s=0.9 if name == "tempo" else 3.0)
    body = squatting(angle)
    if name == "compensation":
        body = leaning(body, 0.4 * angle)
    result = scored(body)
    assert result.rep_count == 3
    for rep in result.reps:
        assert rep.reason is not None
        assert words in rep.reason
        assert rep.reason.startswith(f"Lost {100.0 - rep.form_score:.0f} points: ")
        assert rep.reason.count(".") - rep.reason.count(" s ") <= 2, "one sentence"
        judged = {each: part for each in COMPONENTS if (part := component(rep, each)) is not None}
        assert min(judged, key=judged.__getitem__) == name


def test_a_deviation_has_its_name_its_size_and_its_moment() -> None:
    angle = repetitions_deg(3, period_s=4.0, idle_s=2.0)
    lean = np.zeros(len(angle))
    at_ms = 2000 + 4000 + 1500  # in the second repetition, before its peak
    width = np.arange(len(angle)) / 30.0 * 1000.0 - at_ms
    lean += 35.0 * np.exp(-0.5 * (width / 300.0) ** 2)
    first, second, third = scored(leaning(squatting(angle), lean)).reps
    assert (first.deviation_name, third.deviation_name) == (None, None)
    assert second.deviation_name == "trunk_forward_lean"
    assert second.deviation_max_deg == pytest.approx(25.0, abs=3.0)  # beyond the 10 degrees that are allowed
    assert second.deviation_at_ms == pytest.approx(at_ms, abs=120)
    assert second.form_score < min(first.form_score, third.form_score)


@pytest.mark.parametrize(
    ("asked", "done_deg"), [(Prescription(target_low_deg=120.0), 120.0), (Prescription(target_high_deg=50.0), 50.0)]
)
def test_a_patient_who_does_what_the_plan_asks_for_loses_nothing_by_the_profile(
    asked: Prescription, done_deg: float
) -> None:
    """The profile of lateral raises has two bounds; the plan asks for more than the upper, or less than the lower."""
    body = abducting(repetitions_deg(4, peak_deg=done_deg))
    other = abducting(repetitions_deg(4, peak_deg=done_deg), "left")
    for joint in ("elbow", "wrist"):
        body[:, sided(joint, "left")] = other[:, sided(joint, "left")]
    result = summarise(body, timestamps(len(body)), load("lateral_raise"), asked)
    assert [rep.range_score for rep in result.reps] == pytest.approx([100.0] * 4, abs=5.0)


@given(st.floats(0.0, 0.9), st.floats(0.0, 0.9))
@settings(max_examples=15, deadline=None)
def test_more_of_a_fault_never_scores_higher(one: float, other: float) -> None:
    angle = repetitions_deg(3)
    less, more = (scored(leaning(squatting(angle), lean * angle)).reps for lean in sorted((one, other)))
    assert len(less) == len(more) == 3
    for better, worse in zip(less, more, strict=True):
        assert worse.form_score <= better.form_score + 1e-9
        assert (worse.compensation_score or 0.0) <= (better.compensation_score or 0.0) + 1e-9


rising = st.lists(st.floats(0.0, 500.0), min_size=2, max_size=2).map(sorted)


@given(rising)
def test_each_penalty_is_monotone_and_bounded(values: list[float]) -> None:
    near, far = np.array([values[0]]), np.array([values[1]])
    target, tempo = Target(low_deg=90.0, high_deg=120.0), Tempo()
    plain = msgspec.structs.replace(SQUAT, reference=None)
    penalties: tuple[Callable[[Float64s], Float64s], ...] = (
        lambda x: bounded(x, 10.0, 0.7) / 0.7,
        lambda x: range_penalty(90.0 - x, target),
        lambda x: range_penalty(120.0 + x, target),
        lambda x: tempo_penalty(1000.0 - x, tempo) / tempo.weight,
        lambda x: smoothness_penalty(-x, plain) / 0.25,
        lambda x: symmetry_penalty(x, plain) / 0.25,
    )
    for penalty in penalties:
        small, large = float(penalty(near)[0]), float(penalty(far)[0])
        assert 0.0 <= small <= large <= WORST + 1e-9


def test_consistency_needs_three_repetitions_and_falls_on_all_of_them() -> None:
    rule = Consistency(allowed_deg=5.0, severe_deg=10.0, weight=0.5)
    assert np.isnan(consistency_penalty(np.array([60.0, 100.0]), rule)).all()
    assert (consistency_penalty(np.array([99.0, 100.0, 101.0]), rule) == 0.0).all()
    uneven = consistency_penalty(np.array([60.0, 80.0, 100.0]), rule)
    assert uneven == pytest.approx(0.5 * (20.0 - 5.0) / 10.0)


def test_a_tremor_costs_smoothness_and_nothing_else_is_blamed_for_it() -> None:
    angle = repetitions_deg(3, period_s=4.0)
    shaking = angle + 9.0 * np.sin(2.0 * np.pi * 3.0 * np.arange(len(angle)) / 30.0) * (angle > 20.0)
    calm, shaky = scored(squatting(angle)).reps, scored(squatting(shaking)).reps
    assert len(calm) == len(shaky) == 3
    for smooth, jerky in zip(calm, shaky, strict=True):
        assert smooth.smoothness_sparc is not None
        assert jerky.smoothness_sparc is not None
        assert jerky.smoothness_sparc < smooth.smoothness_sparc
        assert smooth.smoothness_score == 100.0
        assert jerky.smoothness_score is not None
        assert jerky.smoothness_score < 100.0
        assert jerky.reason is not None
        assert "jerky" in jerky.reason


def test_sides_that_differ_cost_symmetry_where_they_should_be_alike() -> None:
    body = squatting(repetitions_deg(3, peak_deg=120.0))
    other = squatting(repetitions_deg(3, peak_deg=72.0))
    for joint in ("knee", "ankle", "heel", "foot_index"):
        body[:, sided(joint, "left")] = other[:, sided(joint, "left")]
    result = scored(body, msgspec.structs.replace(SQUAT, target=None))
    assert result.rep_count == 3
    for rep in result.reps:
        assert rep.symmetry_score is not None
        assert rep.symmetry_score == pytest.approx(100.0 * math.exp(-0.25 * (40.0 - 10.0) / 30.0), abs=2.0)
        assert rep.reason is not None
        assert "left and right differed by 40 %, 10 % is allowed" in rep.reason
    lenient = msgspec.structs.replace(SQUAT, target=None, reference=Reference(asymmetry_percent=45.0))
    assert all(rep.symmetry_score == 100.0 for rep in scored(body, lenient).reps)


def test_a_rest_beside_a_repetition_does_not_change_its_score() -> None:
    angle = repetitions_deg(3, peak_deg=80.0, idle_s=1.0)
    rested = np.concatenate([np.concatenate((repetitions_deg(1, peak_deg=80.0, idle_s=3.0),)) for _ in range(3)])
    close, apart = scored(squatting(angle)).reps, scored(squatting(rested)).reps
    assert len(close) == len(apart) == 3
    assert [rep.form_score for rep in close] == pytest.approx([rep.form_score for rep in apart], abs=1.0)
