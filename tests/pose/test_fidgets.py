"""What tells repetitions from fidgets: the gap between a session's excursions, and being brief and small at once."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.pose.fidgets import repeated
from pipelines.pose.segmentation import Rule, repetitions
from pipelines.pose.turns import clear_threshold, turning_points
from tests.pose.synthetic import repetitions_deg

RULE = Rule(minimum_excursion=5.0, shortest=5, longest=600, return_share=0.4, turn_share=0.2)


def zigzag(*heights: float) -> np.ndarray:
    """Straight up to each height and down to 0 again, ten points each way."""
    up = np.linspace(0.0, 1.0, 11)[:-1]
    return np.concatenate([*(height * np.concatenate((up, 1.0 - up)) for height in heights), [0.0]])


def found_at(signal: np.ndarray, threshold: float) -> int:
    return len(turning_points(signal, threshold))


def test_a_tracker_that_wanders_raises_the_threshold_into_the_gap() -> None:
    signal = zigzag(100, 20.5, 23, 100, 25, 27, 29, 100, 32, 21, 26, 100)
    least = clear_threshold(signal, turning_points(signal, 5.0), 20.0, 50.0)
    assert 32.0 < least < 50.0
    assert found_at(signal, least) == found_at(signal, 99.0)


def test_a_small_repetition_among_large_ones_is_kept() -> None:
    signal = zigzag(100, 100, 30, 100, 100)
    assert clear_threshold(signal, turning_points(signal, 5.0), 20.0, 50.0) == 20.0


@pytest.mark.parametrize(("least", "most"), [(20.0, 20.0), (45.0, 46.0), (30.0, 0.0)])
def test_there_is_nothing_to_choose_between_two_that_are_one(least: float, most: float) -> None:
    signal = zigzag(100, 22, 25, 100, 28, 31, 34, 100)
    assert clear_threshold(signal, turning_points(signal, 5.0), least, most) == least


def test_the_threshold_keeps_to_its_bounds_whatever_the_signal() -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        signal = np.cumsum(random.normal(0.0, 5.0, 400))
        assert 20.0 <= clear_threshold(signal, turning_points(signal, 5.0), 20.0, 50.0) <= 50.0


def test_only_what_is_brief_and_small_is_a_fidget() -> None:
    duration = np.array([30.0, 12.0, 30.0, 30.0, 12.0, 30.0])
    excursion = np.array([90.0, 30.0, 30.0, 90.0, 90.0, 90.0])
    assert repeated(duration, excursion, 0.5).tolist() == [True, False, True, True, True, True]
    assert repeated(duration, excursion, 0.0).all()


def test_steps_at_either_end_go_though_they_are_larger_than_a_fidget() -> None:
    duration = np.array([16.0, 17.0, 60.0, 60.0, 60.0, 60.0, 17.0])
    excursion = np.array([50.0, 52.0, 90.0, 90.0, 90.0, 90.0, 52.0])
    assert repeated(duration, excursion, 0.5).tolist() == [False, False, True, True, True, True, False]


def test_a_last_repetition_that_is_small_and_hurried_like_its_neighbour_is_kept() -> None:
    duration = np.array([60.0, 60.0, 60.0, 45.0, 34.0])
    excursion = np.array([90.0, 90.0, 90.0, 70.0, 52.0])
    assert repeated(duration, excursion, 0.5).all()


def test_of_three_nobody_can_say_what_is_usual() -> None:
    assert repeated(np.array([60.0, 10.0, 60.0]), np.array([90.0, 10.0, 90.0]), 0.5).all()


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_something_is_always_left(share: float) -> None:
    random = np.random.default_rng(5)
    for _ in range(50):
        size = int(random.integers(1, 9))
        assert repeated(random.uniform(5, 90, size), random.uniform(5, 90, size), share).any()


def test_a_wandering_tracker_makes_no_repetitions_and_costs_none() -> None:
    random = np.random.default_rng(1)
    signal = repetitions_deg(8, peak_deg=80.0, idle_s=6.0)
    wander = np.convolve(random.normal(0.0, 1.0, len(signal) + 24), np.hanning(25), mode="valid")
    signal = signal + 9.0 * wander / wander.std()
    assert len(repetitions(signal, RULE)) > 8
    assert len(repetitions(signal, RULE._replace(turn_share_most=0.5, fidget_share=0.5))) == 8
