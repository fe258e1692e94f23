from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.pose.signals import GAP_MS, GRID_HZ, LONGEST_STEP_MS, gaps, low_pass, timeline
from tests.pose.synthetic import timestamps


def test_thirty_frames_a_second_stay_as_they_are() -> None:
    line = timeline(timestamps(300))
    values = np.sin(np.arange(300) / 9.0)
    assert line.size == 300
    np.testing.assert_allclose(line.resample(values), values, atol=2e-3)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50))
@settings(deadline=None)
def test_the_grid_is_bounded_by_the_frames_whatever_the_timestamps_say(times: list[int]) -> None:
    line = timeline(np.array(times, dtype=np.uint32))
    assert 1 <= line.size <= len(times) * LONGEST_STEP_MS * GRID_HZ / 1000.0 + 1
    assert (np.diff(line.grid_ms) >= 0).all()
    assert line.grid_ms[0] == min(times)
    assert line.grid_ms[-1] <= max(times)
    assert len(line.frame_order) == len(set(times))


def test_unusable_frames_are_bridged() -> None:
    line = timeline(timestamps(31))
    values = np.arange(31, dtype=np.float64)
    spoilt, usable = values.copy(), np.ones(31, dtype=np.bool_)
    spoilt[10:15], usable[10:15] = 999.0, False
    np.testing.assert_allclose(line.resample(spoilt, usable), values, atol=0.05)
    assert line.resample(spoilt, np.zeros(31, dtype=np.bool_)).max() > 900  # nothing usable: all there is


@pytest.mark.parametrize(
    ("times", "usable", "expected"),
    [
        ([0, 33, 66], [1, 1, 1], (0, 0)),
        ([0, 33, 33 + GAP_MS], [1, 1, 1], (0, 0)),
        ([0, 33, 34 + GAP_MS], [1, 1, 1], (1, GAP_MS + 1)),
        ([0, 400, 800, 1200], [1, 0, 0, 1], (1, 1200)),
        ([0, 400, 800, 1200], [0, 0, 0, 1], (1, 1200)),
        ([0, 400, 800, 1200], [0, 0, 0, 0], (1, 1200)),
        ([], [], (0, 0)),
    ],
)
def test_gaps(times: list[int], usable: list[int], expected: tuple[int, int]) -> None:
    assert gaps(np.array(times, dtype=np.uint32), np.array(usable, dtype=np.bool_)) == expected


@pytest.mark.parametrize(("frequency_hz", "gain"), [(0.2, 0.99), (1.5, 0.7071), (6.0, 0.01)])
def test_the_filter_halves_the_power_at_its_cutoff(frequency_hz: float, gain: float) -> None:
    wave = np.sin(2 * np.pi * frequency_hz * np.arange(600) / GRID_HZ)
    filtered = low_pass(wave, 1.5)[150:450]
    assert np.ptp(filtered) / 2 == pytest.approx(gain, abs=0.012)


def test_the_filter_shifts_nothing_and_keeps_a_constant() -> None:
    pulse = np.exp(-(((np.arange(200) - 80) / 12.0) ** 2))
    assert int(np.argmax(low_pass(pulse, 1.5))) == 80
    np.testing.assert_allclose(low_pass(np.full(40, 12.5), 1.5), 12.5)
    np.testing.assert_array_equal(low_pass(np.array([3.0]), 1.5), [3.0])
