"""Turning points of one signal, with hysteresis, and how much hysteresis its own excursions ask for.

Belongs here: valleys and peaks, the typical excursion, the threshold that tells repetitions from fidgets. Does not
belong here: what a repetition is (``segmentation``).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Float64s = NDArray[np.float64]

# Thresholds tried between the least and the most, evenly in their logarithm: steps of about 6 % between 0.2 and 0.5.
TRIED: Final = 16
# The least threshold is kept unless another leaves a gap this many times as wide: a small repetition is no fidget.
LEAST_ADVANTAGE: Final = 3.0
SAME_SHARE: Final = 1.05  # thresholds closer than this are one


def turning_points(signal: Float64s, threshold: float) -> list[int]:
    """Indices of alternating valleys and peaks that differ by at least ``threshold``; the two ends close the list.

    The first and last entries are the extremes before the first and after the last confirmed turn. Empty where the
    whole signal stays within ``threshold``.
    """
    step = np.diff(signal)
    moving = np.flatnonzero(step)
    if not len(moving):
        return []
    sign = np.signbit(step[moving])
    at = np.concatenate(([0], moving[1:][sign[1:] != sign[:-1]], [len(signal) - 1]))
    values = signal[at].tolist()
    turns: list[int] = []
    low = high = 0
    rising: bool | None = None
    for i, value in enumerate(values):
        if rising is None:
            low = i if value < values[low] else low
            high = i if value > values[high] else high
            if value - values[low] >= threshold:
                turns.append(low)
                rising, high = True, i
            elif values[high] - value >= threshold:
                turns.append(high)
                rising, low = False, i
        elif rising:
            if value > values[high]:
                high = i
            elif values[high] - value >= threshold:
                turns.append(high)
                rising, low = False, i
        elif value < values[low]:
            low = i
        elif value - values[low] >= threshold:
            turns.append(low)
            rising, high = True, i
    if rising is not None:
        turns.append(high if rising else low)
    return [int(at[turn]) for turn in turns]


def typical_excursion(signal: Float64s, turns: list[int]) -> float:
    """Weighted median of the steps between turns, each weighing what it covers: half of all movement is in larger ones.

    So many fidgets do not make a fidget typical, and a set-up movement larger than the repetitions does not either.
    """
    steps = np.sort(np.abs(np.diff(signal[turns])))
    if not len(steps):
        return 0.0
    covered = np.cumsum(steps)
    return float(steps[np.searchsorted(covered, 0.5 * covered[-1])])


def clear_threshold(signal: Float64s, turns: list[int], least: float, most: float) -> float:
    """The threshold from ``least`` to ``most`` that is farthest, in proportion, from changing what is found.

    Repetitions and fidgets leave a gap between their excursions; where a tracker wanders, that gap lies higher than
    where a body is seen clearly. The widest stretch of thresholds that all find as many turns is that gap (the most
    persistent count; Edelsbrunner, Letscher and Zomorodian, "Topological persistence and simplification", 2002). Its
    lower end is taken, so whatever reaches above the gap counts.

    Args:
        turns: ``turning_points`` of ``signal`` at ``least`` or below.
    """
    if most <= least * SAME_SHARE or len(turns) < 3:
        return least
    tried = np.geomspace(least, most, TRIED)
    left = signal[turns]
    counts: list[int] = []
    for threshold in tried.tolist():
        left = left[turning_points(left, threshold)]
        counts.append(len(left))
    steps = np.flatnonzero(np.diff(counts)) + 1
    edges = np.concatenate(([0], steps, [TRIED]))
    width = np.diff(edges).astype(np.float64)
    width[0] *= LEAST_ADVANTAGE
    return float(tried[edges[int(np.argmax(width))]])
