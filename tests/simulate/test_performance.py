"""The simulated body: it has a body's proportions, does what it is told, and the pose package sees what it did."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.pose import profile
from pipelines.pose.angles import ANGLES
from pipelines.pose.body import Body, Signal
from pipelines.pose.landmarks import VISIBILITY, Landmark
from pipelines.pose.model import PoseSummary, Prescription
from pipelines.pose.summary import summarise
from pipelines.simulate.exercises import EXERCISES, FAULTS
from pipelines.simulate.performance import Performance, perform
from pipelines.simulate.recording import Recording

PRESCRIBED = ["deep_squat", "sit_to_stand", "shoulder_abduction", "straight_leg_raise"]
PRIMARY = {
    "deep_squat": ("knee_flexion", 4),
    "sit_to_stand": ("knee_flexion", 93),
    "shoulder_abduction": ("shoulder_elevation", 9),
    "straight_leg_raise": ("thigh_elevation", 3),
    "shoulder_flexion": ("shoulder_elevation", 9),
    "hip_abduction": ("hip_abduction", 7),
    "seated_knee_extension": ("knee_flexion", 90),
    "push_up": ("elbow_flexion", 10),
    "pull_up": ("elbow_flexion", 10),
    "sit_up": ("hip_flexion", 53),
    "bridge": ("hip_flexion", 82),
    "heel_slide": ("knee_flexion", 7),
    "bench_press": ("elbow_flexion", 10),
    "biceps_curl": ("elbow_flexion", 12),
    "lateral_raise": ("shoulder_elevation", 9),
    "front_raise": ("shoulder_elevation", 9),
    "jumping_jack": ("shoulder_elevation", 9),
    "calf_raise": ("heel_lift", 0),
    "plank": ("knee_flexion", 64),
    "wall_sit": ("knee_flexion", 6),
    "single_leg_stance": ("knee_flexion", 6),
}


def measured(recording: Recording, exercise: str, side: str = "right") -> Signal:
    return ANGLES[PRIMARY[exercise][0]].measure(Body(recording.landmarks), side)


def summary(performance: Performance) -> PoseSummary:
    recording = perform(performance)
    used = profile.load(performance.exercise)
    return summarise(recording.landmarks, recording.timestamp_ms, used, Prescription())


@pytest.mark.parametrize("exercise", EXERCISES)
def test_segments_keep_their_length(exercise: str) -> None:
    points = perform(Performance(exercise=exercise, reps=2, noise_m=0)).landmarks[:, :, :3]
    for near, far, share in [
        (Landmark.LEFT_HIP, Landmark.LEFT_KNEE, 0.245),
        (Landmark.RIGHT_KNEE, Landmark.RIGHT_ANKLE, 0.246),
        (Landmark.RIGHT_SHOULDER, Landmark.RIGHT_ELBOW, 0.186),
        (Landmark.LEFT_ELBOW, Landmark.LEFT_WRIST, 0.146),
    ]:
        lengths = np.linalg.norm(points[:, near] - points[:, far], axis=1)
        np.testing.assert_allclose(lengths, share * 1.70, atol=1e-5)


def test_axes_are_the_cameras() -> None:
    """Facing it, the patient's left is at the image's right, the head is up (y down) and the toes point to it."""
    points = perform(Performance(exercise="deep_squat", reps=0, noise_m=0, facing_deg=0)).landmarks[0, :, :3]
    assert points[Landmark.LEFT_HIP, 0] > 0 > points[Landmark.RIGHT_HIP, 0]
    assert points[Landmark.NOSE, 1] < points[Landmark.LEFT_SHOULDER, 1] < 0 < points[Landmark.LEFT_ANKLE, 1]
    assert points[Landmark.LEFT_FOOT_INDEX, 2] < points[Landmark.LEFT_HEEL, 2]
    assert points[Landmark.NOSE, 2] < points[Landmark.LEFT_EAR, 2]
    np.testing.assert_allclose(points[Landmark.LEFT_HIP] + points[Landmark.RIGHT_HIP], 0, atol=1e-6)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_primary_angle_reaches_what_was_asked(exercise: str) -> None:
    recording = perform(Performance(exercise=exercise, reps=3, noise_m=0, range_deg=60))
    # The leg that is lifted is the one that is not stood on.
    angle = measured(recording, exercise, "left" if exercise == "single_leg_stance" else "right")
    rest = PRIMARY[exercise][1]
    if exercise == "sit_to_stand":
        rest = 65  # seated as deep as the range says
    moved = np.abs(angle - rest).max()
    assert moved == pytest.approx(60, abs=8)
    assert np.abs(angle[:30] - rest).max() < 6


@pytest.mark.parametrize("tempo_s", [2.0, 4.0, 8.0])
@pytest.mark.parametrize("exercise", PRESCRIBED)
def test_every_repetition_performed_is_counted(exercise: str, tempo_s: float) -> None:
    for reps, seed, noise_m in [(1, 1, 0.004), (6, 2, 0.008), (12, 3, 0.004)]:
        performed = Performance(exercise=exercise, reps=reps, tempo_s=tempo_s, seed=seed, noise_m=noise_m)
        assert summary(performed).rep_count == reps


@pytest.mark.parametrize("exercise", PRESCRIBED)
def test_counted_repetitions_are_where_they_were_performed(exercise: str) -> None:
    performed = Performance(exercise=exercise, reps=8, seed=5)
    bounds = perform(performed).rep_bounds_ms
    assert bounds is not None
    for rep, (start_ms, end_ms) in zip(summary(performed).reps, bounds.tolist(), strict=True):
        assert rep.cycle_start_ms is not None and rep.cycle_end_ms is not None
        assert abs(rep.cycle_start_ms - start_ms) < 500
        assert abs(rep.cycle_end_ms - end_ms) < 500
        assert start_ms - 250 < rep.start_ms < rep.end_ms < end_ms + 250


TRAINED = [
    "push_up",
    "pull_up",
    "sit_up",
    "bridge",
    "heel_slide",
    "bench_press",
    "biceps_curl",
    "lateral_raise",
    "front_raise",
    "jumping_jack",
    "calf_raise",
    "hip_abduction",
    "seated_knee_extension",
    "shoulder_flexion",
]


@pytest.mark.parametrize("facing_deg", [20.0, 80.0])
@pytest.mark.parametrize("exercise", TRAINED)
def test_training_is_counted_from_the_front_and_from_the_side(exercise: str, facing_deg: float) -> None:
    tempo_s = 1.5 if exercise == "jumping_jack" else 3.0
    for seed, noise_m in [(1, 0.003), (2, 0.01)]:
        performed = Performance(
            exercise=exercise, reps=7, tempo_s=tempo_s, seed=seed, noise_m=noise_m, facing_deg=facing_deg
        )
        assert summary(performed).rep_count == 7


@pytest.mark.parametrize("exercise", ["plank", "wall_sit", "single_leg_stance"])
def test_holds_are_counted_and_their_seconds_and_a_swing_is_none(exercise: str) -> None:
    result = summary(Performance(exercise=exercise, reps=4, tempo_s=12.0, seed=2))
    assert result.rep_count == 4
    assert result.held_ms == pytest.approx(4 * 9_500, abs=4 * 1_000)
    assert result.active_duration_ms == result.held_ms == sum(rep.hold_ms for rep in result.reps)
    assert {rep.concentric_ms + rep.eccentric_ms for rep in result.reps} == {0}
    swings = summary(Performance(exercise=exercise, reps=8, tempo_s=2.5, seed=2))
    assert (swings.rep_count, swings.held_ms) == (0, 0)
    assert swings.empty_reason == "no_repetition"


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_stance_is_told_by_the_leg_that_is_stood_on(side: str) -> None:
    result = summary(Performance(exercise="single_leg_stance", reps=3, tempo_s=10.0, seed=2, side=side))
    assert [rep.side for rep in result.reps] == [side] * 3


@pytest.mark.parametrize("exercise", PRESCRIBED)
def test_an_idle_body_does_no_repetition(exercise: str) -> None:
    assert summary(Performance(exercise=exercise, reps=0, idle_before_s=30)).rep_count == 0


@pytest.mark.parametrize(
    ("exercise", "fault"),
    [
        ("deep_squat", "knee_valgus"),
        ("deep_squat", "trunk_lean"),
        ("deep_squat", "side_lean"),
        ("deep_squat", "shallow"),
        ("deep_squat", "asymmetry"),
        ("sit_to_stand", "knee_valgus"),
        ("sit_to_stand", "trunk_lean"),
        ("sit_to_stand", "side_lean"),
        ("shoulder_abduction", "shallow"),
        ("shoulder_abduction", "trunk_lean"),
        ("straight_leg_raise", "bent_knee"),
        ("straight_leg_raise", "side_lean"),
        ("straight_leg_raise", "shallow"),
    ],
)
def test_a_fault_lowers_the_form_score(exercise: str, fault: str) -> None:
    well = Performance(exercise=exercise, reps=5, seed=4)
    good, bad = summary(well), summary(replace(well, faults={fault: 1.0}))
    assert bad.rep_count == good.rep_count == 5
    assert good.average_form_score is not None
    assert bad.average_form_score is not None
    assert bad.average_form_score < good.average_form_score - 5


def test_done_well_scores_high() -> None:
    for exercise in PRESCRIBED:
        score = summary(Performance(exercise=exercise, reps=5, seed=4)).average_form_score
        assert score is not None
        assert score > 85, exercise


def test_jerks_tremor_and_asymmetry_show() -> None:
    well = Performance(exercise="deep_squat", reps=5, seed=4)
    smooth = summary(well)
    for fault in ("jerky", "tremor"):
        shaken = summary(replace(well, faults={fault: 1.0}))
        assert smooth.smoothness_sparc is not None
        assert shaken.smoothness_sparc is not None
        assert shaken.smoothness_sparc < smooth.smoothness_sparc
        assert shaken.rep_count == 5
    uneven = summary(replace(well, faults={"asymmetry": 1.0}))
    assert uneven.symmetry_percent is not None
    assert uneven.symmetry_percent < 75


def test_the_same_seed_gives_the_same_recording() -> None:
    performed = Performance(exercise="deep_squat", reps=2, seed=9, dropouts=1)
    one, two = perform(performed), perform(performed)
    np.testing.assert_array_equal(one.landmarks, two.landmarks)
    np.testing.assert_array_equal(one.timestamp_ms, two.timestamp_ms)
    other = perform(replace(performed, seed=10))
    assert other.landmarks.shape != one.landmarks.shape or not np.array_equal(other.landmarks, one.landmarks)


def test_dropouts_are_gaps_in_time() -> None:
    recording = perform(Performance(exercise="deep_squat", reps=5, dropouts=2, dropout_s=1.0, seed=1))
    gaps_ms = np.diff(recording.timestamp_ms.astype(int))
    assert 1 <= (gaps_ms > 900).sum() <= 2


def test_sides_take_turns_where_both_cannot_move_at_once() -> None:
    performed = Performance(exercise="straight_leg_raise", reps=4, side="both", noise_m=0)
    recording = perform(performed)
    left, right = (measured(recording, "straight_leg_raise", side) for side in ("left", "right"))
    assert left.max() > 60
    assert right.max() > 60
    assert np.minimum(left, right).max() < 20


PERFORMANCES = st.builds(
    Performance,
    exercise=st.sampled_from(sorted(EXERCISES)),
    reps=st.integers(0, 5),
    tempo_s=st.floats(0.5, 8),
    faults=st.dictionaries(st.sampled_from(sorted(FAULTS)), st.floats(0, 2), max_size=3),
    side=st.sampled_from([None, "left", "right", "both"]),
    fps=st.sampled_from([1, 15, 30, 120]),
    dropouts=st.integers(0, 2),
    visibility=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)


@settings(max_examples=25, deadline=None)
@given(PERFORMANCES)
def test_whatever_is_performed_may_be_sent(performance: Performance) -> None:
    recording = perform(performance)
    assert recording.landmarks.dtype == np.float32
    assert recording.landmarks.flags.c_contiguous
    assert recording.landmarks.shape == (len(recording.timestamp_ms), 33, 4)
    assert recording.timestamp_ms.dtype == np.uint32
    assert np.isfinite(recording.landmarks).all()
    assert np.all((recording.landmarks[..., VISIBILITY] >= 0) & (recording.landmarks[..., VISIBILITY] <= 1))
    assert np.all(np.diff(recording.timestamp_ms.astype(int)) > 0)
    assert recording.true_reps == performance.reps
    cuts = recording.batches()
    assert [frame for cut in cuts for frame in range(cut.start, cut.stop)] == list(range(len(recording.timestamp_ms)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"exercise": "moonwalk"}, "unknown exercise"),
        ({"faults": {"sneeze": 1.0}}, "unknown fault"),
        ({"side": "up"}, "side"),
        ({"reps": -1}, "reps"),
        ({"tempo_s": 0}, "tempo_s"),
        ({"range_deg": 181}, "range_deg"),
        ({"noise_m": 1}, "noise_m"),
        ({"fps": 0}, "fps"),
        ({"reps": 1000, "tempo_s": 60}, "three hours"),
    ],
)
def test_what_cannot_be_performed_is_said(change: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        perform(replace(Performance(exercise="deep_squat"), **change))  # type: ignore[arg-type]
