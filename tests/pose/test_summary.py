from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pipelines.pose.model import PoseSummary, Prescription
from pipelines.pose.profile import load, names
from pipelines.pose.summary import summarise
from tests.pose.synthetic import abducting, repetitions_deg, squatting, standing, timestamps

NOBODY_ASKED = Prescription()


def summary(body: NDArray[np.float32], name: str | None, fps: float = 30.0) -> PoseSummary:
    return summarise(body, timestamps(len(body), fps), load(name) if name else None, NOBODY_ASKED)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 10, 25])
def test_counts_what_was_done_with_idle_time_around_it(count: int) -> None:
    result = summary(squatting(repetitions_deg(count)), "deep_squat")
    assert result.rep_count == count
    assert [rep.rep_number for rep in result.reps] == list(range(1, count + 1))


@pytest.mark.parametrize("fps", [10.0, 15.0, 24.0, 30.0, 60.0])
def test_the_frame_rate_does_not_change_the_count_or_the_range(fps: float) -> None:
    result = summary(squatting(repetitions_deg(6, fps=fps)), "deep_squat", fps)
    assert result.rep_count == 6
    assert result.rom_mean_deg == pytest.approx(100.0, abs=3.0)


@pytest.mark.parametrize("idle_s", [0.0, 1.0, 60.0])
@pytest.mark.parametrize("noise_m", [0.0, 0.01])
def test_noise_and_long_idling_add_nothing(idle_s: float, noise_m: float) -> None:
    body = squatting(repetitions_deg(5, idle_s=idle_s))
    body[..., :3] += np.random.default_rng(7).normal(0.0, noise_m, body[..., :3].shape).astype(np.float32)
    assert summary(body, "deep_squat").rep_count == 5


@pytest.mark.parametrize("name", names())
def test_a_still_patient_has_done_nothing(name: str) -> None:
    body = standing(1800)
    body[..., :3] += np.random.default_rng(3).normal(0.0, 0.005, body[..., :3].shape).astype(np.float32)
    result = summary(body, name)
    unknown = not load(name).measurable
    assert result.rep_count == (None if unknown else 0)
    assert result.empty_reason == ("not_measurable" if unknown else "no_movement")
    assert not result.partial_rep_count
    assert result.average_form_score is None
    assert result.rom_mean_deg is None
    assert result.active_duration_ms == (None if unknown else 0)


def test_a_half_hearted_movement_is_no_repetition() -> None:
    angle = np.concatenate((repetitions_deg(4), repetitions_deg(3, peak_deg=14.0), repetitions_deg(2)))
    assert summary(squatting(angle), "deep_squat").rep_count == 6


def held_at_the_top(count: int, hold_s: float) -> NDArray[np.float64]:
    """Up within two seconds, held, down again, three seconds of rest."""
    up = 100.0 * 0.5 * (1.0 - np.cos(np.linspace(0.0, np.pi, 60)))
    one = np.concatenate((np.zeros(45), up, np.full(round(hold_s * 30.0), 100.0), up[::-1], np.zeros(45)))
    return np.tile(one, count)


@pytest.mark.parametrize(
    ("hold_s", "asked_ms", "counted", "partial"),
    [(10.0, None, 3, 0), (25.0, None, 0, 3), (25.0, 25_000, 3, 0), (48.0, 25_000, 0, 3), (120.0, None, 0, 3)],
)
def test_a_repetition_held_longer_than_asked_for_is_partial_and_never_gone(
    hold_s: float, asked_ms: int | None, counted: int, partial: int
) -> None:
    body = abducting(held_at_the_top(3, hold_s))
    asked = Prescription(hold_ms=asked_ms)
    result = summarise(body, timestamps(len(body)), load("shoulder_abduction"), asked)
    assert (result.rep_count, result.partial_rep_count) == (counted, partial)
    assert result.empty_reason == (None if counted else "no_repetition")


@pytest.mark.parametrize("peak_deg", [18.0, 49.0])
def test_hasty_half_repetitions_are_partial_and_never_gone(peak_deg: float) -> None:
    hasty = repetitions_deg(3, peak_deg=peak_deg, period_s=1.8)
    result = summary(squatting(np.concatenate((repetitions_deg(4, period_s=4.0), hasty))), "deep_squat")
    assert (result.rep_count, result.partial_rep_count) == (4, 3)


def test_a_repetition_broken_off_at_the_end_is_not_counted() -> None:
    angle = repetitions_deg(4, idle_s=0.0)
    assert summary(squatting(angle[: len(angle) - 60]), "deep_squat").rep_count == 3


def test_the_side_that_moves_is_named_and_has_no_symmetry() -> None:
    for side in ("left", "right"):
        result = summary(abducting(repetitions_deg(4, peak_deg=150.0), side), "shoulder_abduction")
        assert {rep.side for rep in result.reps} == {side}
        assert result.symmetry_percent is None
        assert result.rom_max_deg == pytest.approx(150.0, abs=3.0)


def test_both_sides_alike_are_symmetrical() -> None:
    result = summary(squatting(repetitions_deg(4)), "deep_squat")
    assert {rep.side for rep in result.reps} == {"both"}
    assert result.symmetry_percent == pytest.approx(100.0, abs=0.5)


def test_boundaries_and_phases_are_where_the_movement_is() -> None:
    result = summary(squatting(repetitions_deg(3, period_s=4.0, idle_s=3.0)), "deep_squat")
    assert result.rep_count == 3
    for i, rep in enumerate(result.reps):
        assert rep.cycle_start_ms == pytest.approx(3000 + 4000 * i, abs=350)
        assert rep.cycle_end_ms == pytest.approx(7000 + 4000 * i, abs=350)
        # The movement leaves out what is within a tenth of rest: a raised cosine spends a fifth of its time there.
        assert rep.start_ms == pytest.approx(3000 + 4000 * i + 400, abs=100)
        assert rep.end_ms == pytest.approx(7000 + 4000 * i - 400, abs=100)
        assert rep.concentric_ms + rep.hold_ms + rep.eccentric_ms == rep.end_ms - rep.start_ms
        assert rep.eccentric_ms == pytest.approx(rep.concentric_ms, abs=200)
        assert rep.confidence == 1.0


def test_less_range_scores_less() -> None:
    scores = []
    for peak_deg in (60.0, 80.0, 100.0):
        score = summary(squatting(repetitions_deg(4, peak_deg=peak_deg)), "deep_squat").average_form_score
        assert score is not None
        scores.append(score)
    assert scores == sorted(scores)
    assert scores[0] < scores[-1]


def test_an_unknown_exercise_is_counted_from_the_motion_itself() -> None:
    for body, angle in (
        (squatting(repetitions_deg(7)), ("knee_flexion", "thigh_elevation", "hip_flexion")),
        (abducting(repetitions_deg(7, peak_deg=150.0)), ("shoulder_elevation", "forearm_elevation")),
    ):
        result = summary(body, None)
        assert result.rep_count == 7
        assert result.movement_profile in {f"found_{name}" for name in angle}


def test_a_gap_is_counted_once_and_lowers_confidence_there() -> None:
    body, times = squatting(repetitions_deg(6, idle_s=0.0)), timestamps(540)
    keep = np.ones(540, dtype=np.bool_)
    keep[200:230] = False
    result = summarise(body[keep], times[keep], load("deep_squat"), NOBODY_ASKED)
    assert (result.gap_count, result.gap_ms) == (1, 1034)
    assert result.rep_count == 6
    assert [rep.rep_number for rep in result.reps if rep.confidence < 0.9] == [3]


@pytest.mark.parametrize("gap_ms", [4_000, 20_000, 7_200_000])
def test_no_repetition_is_told_across_a_break_in_which_one_could_have_happened(gap_ms: int) -> None:
    body, times = squatting(repetitions_deg(6, idle_s=0.0)), timestamps(540).astype(np.int64)
    middle_of_the_third = 225
    times[middle_of_the_third:] += gap_ms
    result = summarise(body, times, load("deep_squat"), NOBODY_ASKED)
    assert result.rep_count == 5
    assert max(rep.end_ms - rep.start_ms for rep in result.reps) < 5_000
    assert result.active_duration_ms is not None and result.active_duration_ms < 5 * 5_000


@pytest.mark.parametrize("gap_ms", [1_000, 20_000, 7_200_000])
def test_a_break_between_repetitions_costs_none_and_belongs_to_none(gap_ms: int) -> None:
    body, times = squatting(repetitions_deg(6, idle_s=0.0)), timestamps(540).astype(np.int64)
    between_the_third_and_the_fourth = 270
    times[between_the_third_and_the_fourth:] += gap_ms
    result = summarise(body, times, load("deep_squat"), NOBODY_ASKED)
    assert result.rep_count == 6
    assert max(rep.end_ms - rep.start_ms for rep in result.reps) < 5_000


def test_landmarks_out_of_sight_lower_tracking_quality() -> None:
    body = squatting(repetitions_deg(4))
    body[: len(body) // 4, 27, 3] = 0.1
    result = summary(body, "deep_squat")
    assert result.tracking_quality == pytest.approx(0.75, abs=0.01)
    assert result.gap_count == 1


def test_frames_in_another_order_or_twice_change_nothing() -> None:
    body = squatting(repetitions_deg(5))
    times = timestamps(len(body))
    order = np.random.default_rng(1).permutation(np.concatenate((np.arange(len(body)), np.arange(100))))
    shuffled = summarise(body[order], times[order], load("deep_squat"), NOBODY_ASKED)
    assert shuffled == summarise(body, times, load("deep_squat"), NOBODY_ASKED)


def test_nothing_received_is_unknown_and_not_zero() -> None:
    result = summarise(np.zeros((0, 33, 4), np.float32), np.zeros(0, np.int64), None, NOBODY_ASKED)
    assert (result.frame_count, result.rep_count) == (0, 0)
    assert result.tracking_quality is None
    assert result.smoothness_sparc is None


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        summarise(np.zeros((3, 33, 3), np.float32), np.zeros(3, np.int64), None, NOBODY_ASKED)


finite = st.one_of(
    st.just(0.0),
    st.floats(-3.0, 3.0, width=32),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
)


@st.composite
def sessions(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    frames = draw(st.integers(0, 40))
    body = draw(hnp.arrays(np.float32, (frames, 33, 4), elements=finite, fill=finite))
    steps = draw(st.lists(st.integers(0, 100_000), min_size=frames, max_size=frames))
    return body, np.cumsum(np.array(steps, dtype=np.int64)).astype(np.uint32)


@given(sessions(), st.sampled_from([None, *names()]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_finite_input_has_a_summary_that_holds_together(
    session: tuple[NDArray[np.float32], NDArray[np.uint32]], name: str | None
) -> None:
    body, times = session
    profile = load(name) if name else None
    result = summarise(body, times, profile, NOBODY_ASKED)
    assert result == summarise(body, times, profile, NOBODY_ASKED)
    assert msgspec.json.decode(msgspec.json.encode(result), type=PoseSummary) == result
    measurable = profile is None or profile.measurable
    assert result.rep_count == (len(result.reps) if measurable else None)
    assert (result.empty_reason is None) == bool(result.reps)
    last_end = 0
    for rep in result.reps:
        assert last_end <= rep.start_ms < rep.end_ms
        assert rep.concentric_ms + rep.hold_ms + rep.eccentric_ms == rep.end_ms - rep.start_ms
        assert min(rep.concentric_ms, rep.hold_ms, rep.eccentric_ms) >= 0
        assert 0.0 <= rep.form_score <= 100.0
        assert 0.0 <= rep.confidence <= 1.0
        last_end = rep.end_ms
