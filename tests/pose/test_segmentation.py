from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipelines.pose.phases import phases
from pipelines.pose.segmentation import REST_POINTS, Rule, repetitions
from pipelines.pose.signals import timeline
from pipelines.pose.turns import turning_points
from tests.pose.synthetic import repetitions_deg, timestamps

RULE = Rule(minimum_excursion=15.0, shortest=10, longest=600, return_share=0.4, turn_share=0.2)


def test_turning_points_alternate_and_ignore_what_is_below_the_threshold() -> None:
    signal = np.array([0.0, 5.0, 2.0, 30.0, 26.0, 33.0, 1.0, 8.0, 0.0, 40.0])
    assert turning_points(signal, 20.0) == [0, 5, 8, 9]
    assert turning_points(signal, 50.0) == []
    assert turning_points(np.full(5, 7.0), 1.0) == []
    assert turning_points(np.zeros(1), 1.0) == []


@given(hnp.arrays(np.float64, st.integers(0, 200), elements=st.floats(-200, 200)), st.floats(0.5, 100))
@settings(deadline=None)
def test_turning_points_are_ordered_and_at_least_the_threshold_apart(signal: np.ndarray, threshold: float) -> None:
    turns = turning_points(signal, threshold)
    assert turns == sorted(set(turns))
    steps = np.diff(signal[turns])
    assert (np.abs(steps) >= threshold).all()
    assert (np.sign(steps[1:]) == -np.sign(steps[:-1])).all()


@given(st.integers(0, 25), st.floats(0.8, 6.0), st.floats(20.0, 170.0), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_any_number_at_any_tempo_and_range_is_counted(count: int, period_s: float, peak: float, seed: int) -> None:
    signal = repetitions_deg(count, peak_deg=peak, period_s=period_s)
    signal = signal + np.random.default_rng(seed).uniform(-1.5, 1.5, len(signal))
    found = repetitions(signal, RULE)
    assert len(found) == count


def test_the_patients_own_range_sets_what_is_too_little() -> None:
    large, small = repetitions_deg(5, peak_deg=150.0), repetitions_deg(3, peak_deg=25.0)
    assert len(repetitions(np.concatenate((large, small)), RULE)) == 5
    assert len(repetitions(small, RULE)) == 3


def test_a_dip_at_the_top_is_one_repetition() -> None:
    one = 0.5 * (1 - np.cos(np.linspace(0, 2 * np.pi, 90))) * 100
    one[40:50] -= np.hanning(10) * 12
    assert len(repetitions(np.tile(one, 4), RULE)) == 4


@pytest.mark.parametrize(("period_s", "count"), [(0.2, 0), (30.0, 0), (3.0, 4)])
def test_what_is_too_fast_or_too_slow_for_a_repetition_is_none(period_s: float, count: int) -> None:
    assert len(repetitions(repetitions_deg(4, period_s=period_s), RULE)) == count


@given(st.integers(1, 12), st.floats(0.0, 4.0))
@settings(deadline=None)
def test_repetitions_do_not_overlap_and_take_in_little_rest(count: int, rest_s: float) -> None:
    pieces = [repetitions_deg(1, idle_s=rest_s / 2)] * count
    found = repetitions(np.concatenate(pieces), RULE)
    assert len(found) == count
    for before, after in itertools.pairwise(found):
        assert before.end <= after.start
    for rep in found:
        assert rep.start < rep.peak < rep.end
        assert rep.end - rep.start <= 90 + 2 * REST_POINTS


def test_a_hold_at_the_top_is_measured_and_the_phases_add_up() -> None:
    up = np.linspace(0.0, 90.0, 31)
    signal = np.concatenate((np.zeros(60), up, np.full(60, 90.0), up[::-1], np.zeros(60)))
    line = timeline(timestamps(len(signal)))
    (rep,) = repetitions(signal, RULE)
    (phase,) = phases(signal, [rep], line)
    assert phase.hold_ms == pytest.approx(2000, abs=150)
    assert phase.out_ms + phase.hold_ms + phase.back_ms == phase.end_ms - phase.start_ms
    assert phase.out_ms == pytest.approx(phase.back_ms, abs=100)


@pytest.mark.parametrize(
    ("edge_share", "seen_share", "at_start", "at_end"),
    [
        # Without a word of the profile: enough of the rise to be a movement, enough of the way back to come back.
        (None, 0.10, 0, 0),
        (None, 0.30, 1, 0),
        (None, 0.50, 1, 1),
        (None, 1.00, 1, 1),
        (0.08, 0.04, 0, 0),
        (0.08, 0.13, 1, 1),
        (0.08, 0.30, 1, 1),
    ],
)
def test_a_repetition_that_the_edge_cuts_counts_where_enough_of_it_is_there(
    edge_share: float | None, seen_share: float, at_start: int, at_end: int
) -> None:
    """Four whole ones, and one of which so much of the rise (or of the way back) was filmed."""
    whole = repetitions_deg(6, idle_s=0.0)
    each = len(whole) // 6
    seen = round(each / np.pi * np.arccos(1.0 - 2.0 * seen_share) / 2.0)
    rule = RULE._replace(edge_share=edge_share)
    assert len(repetitions(whole[each // 2 - seen : 5 * each], rule)) == 4 + at_start
    assert len(repetitions(whole[each : 5 * each + each // 2 + seen], rule)) == 4 + at_end


def test_the_edge_makes_no_repetition_of_a_fidget() -> None:
    rule = RULE._replace(edge_share=0.1)
    whole = repetitions_deg(4, idle_s=0.5)
    fidget = 0.5 * repetitions_deg(1, idle_s=0.0)
    assert len(repetitions(np.concatenate((fidget[len(fidget) // 2 - 8 :], whole)), rule)) == 4
