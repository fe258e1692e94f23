from __future__ import annotations

import numpy as np
import pytest

from pipelines.pose.smoothness import sparc


def minimum_jerk_speed(points: int) -> np.ndarray:
    """Speed of a minimum-jerk reach (Flash and Hogan, 1985)."""
    t = np.linspace(0.0, 1.0, points)
    return 30 * t**2 - 60 * t**3 + 30 * t**4


def reference(speed: np.ndarray, sample_hz: float) -> float:
    """The published procedure (Balasubramanian et al., 2015), step by step, for one movement."""
    size = int(2 ** (np.ceil(np.log2(len(speed))) + 4))
    frequency = np.arange(0, sample_hz, sample_hz / size)
    spectrum = abs(np.fft.fft(speed, size))
    spectrum = spectrum / spectrum.max()
    low = np.nonzero(frequency <= 10.0)[0]
    f, m = frequency[low], spectrum[low]
    strong = np.nonzero(m >= 0.05)[0]
    kept = range(strong[0], strong[-1] + 1)
    f, m = f[kept], m[kept]
    return float(-np.sum(np.sqrt((np.diff(f) / (f[-1] - f[0])) ** 2 + np.diff(m) ** 2)))


@pytest.mark.parametrize("points", [64, 100, 128])
def test_it_is_the_published_measure(points: int) -> None:
    rng = np.random.default_rng(points)
    speed = minimum_jerk_speed(points) + 0.2 * np.abs(rng.normal(size=points))
    assert sparc([speed], 100.0)[0] == pytest.approx(reference(speed, 100.0), abs=1e-9)


def test_a_minimum_jerk_movement_is_smoother_than_one_with_stops() -> None:
    smooth = minimum_jerk_speed(100)
    stopping = np.concatenate([minimum_jerk_speed(25)] * 4)
    values = sparc([smooth, stopping], 100.0)
    assert values[0] == pytest.approx(-1.4, abs=0.1)
    assert values[1] < values[0] - 1.0


def test_how_fast_or_large_the_movement_is_does_not_matter() -> None:
    speed = minimum_jerk_speed(128)
    np.testing.assert_allclose(sparc([speed, 50.0 * speed], 100.0), sparc([speed], 100.0)[0])


def test_stillness_has_no_smoothness() -> None:
    assert np.isnan(sparc([np.zeros(40), np.zeros(0)], 30.0)).all()
    assert sparc([], 30.0).size == 0
    assert not np.isnan(sparc([np.zeros(40), minimum_jerk_speed(40)], 30.0)[1])


def test_no_movement_depends_on_the_others() -> None:
    rng = np.random.default_rng(2)
    speeds = [np.abs(rng.normal(size=points)) for points in (5, 64, 65, 64, 900, 1, 64)]
    together = sparc(speeds, 30.0)
    alone = np.array([sparc([speed], 30.0)[0] for speed in speeds])
    np.testing.assert_array_equal(together, alone)
