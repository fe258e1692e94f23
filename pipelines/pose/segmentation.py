"""Repetitions in one signal: turning points, which excursions count, where each begins and ends. No angles, no scores.

A repetition is a rise from rest to a peak and the way back. Turning points are found with hysteresis (the "rainflow" or
zigzag rule: a turn counts once the signal has come back by the threshold), so noise below the threshold never counts,
however long it lasts, and the threshold adapts to the patient's own range above a floor that the profile gives.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Float64s = NDArray[np.float64]

# A repetition begins and ends where this share of its excursion has been left behind / is reached again.
ONSET_SHARE: Final = 0.10
# Human raters cut between repetitions, in the rest; so a repetition takes in up to this much of it on either side.
REST_POINTS: Final = 13


class Repetition(NamedTuple):
    """Grid indices. ``start < peak < end``; the excursion is in the signal's unit."""

    start: int
    peak: int
    end: int
    excursion: float


class Rule(NamedTuple):
    """What counts as one repetition; from the profile."""

    minimum_excursion: float
    shortest: int  # grid points
    longest: int
    return_share: float  # of the rise, that the way back must cover
    turn_share: float  # of the typical excursion: a turn by less than this is none


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


def _typical_excursion(signal: Float64s, turns: list[int]) -> float:
    """Median of the larger half of the steps between turns: fidgets are small, repetitions are the large ones."""
    steps = np.sort(np.abs(np.diff(signal[turns])))
    return float(np.median(steps[len(steps) // 2 :])) if len(steps) else 0.0


def _leaves_rest(signal: Float64s, valley: int, peak: int, level: float) -> int:
    """The last index from ``valley`` to ``peak`` that is still at or below ``level``."""
    below = (signal[valley : peak + 1] <= level).nonzero()[0]
    return valley + (int(below[-1]) if len(below) else 0)


def _reaches_rest(signal: Float64s, peak: int, valley: int, level: float) -> int:
    """The first index from ``peak`` to ``valley`` that is at or below ``level`` again."""
    below = (signal[peak : valley + 1] <= level).nonzero()[0]
    return peak + int(below[0]) if len(below) else valley


def _with_rest(found: list[Repetition], size: int) -> list[Repetition]:
    """Lets each repetition take in the rest beside it: half of it where two follow closely, else ``REST_POINTS``."""
    starts = np.array([rep.start for rep in found])
    ends = np.array([rep.end for rep in found])
    before = np.concatenate(([2 * starts[0]], starts[1:] - ends[:-1]))
    after = np.append(before[1:], 2 * (size - 1 - ends[-1]))
    new_starts = starts - np.clip(before // 2, 0, REST_POINTS)
    new_ends = ends + np.clip((after + 1) // 2, 0, REST_POINTS)
    new_ends[:-1] = np.minimum(new_ends[:-1], new_starts[1:])
    return [
        rep._replace(start=int(start), end=int(end))
        for rep, start, end in zip(found, new_starts, new_ends, strict=True)
    ]


def repetitions(signal: Float64s, rule: Rule) -> list[Repetition]:
    """Every repetition in ``signal`` [G], in order; rest is low, the movement is a rise.

    Two passes over the turning points, which are few after the low-pass filter: the first finds the patient's own
    excursion, the second counts with a threshold taken from it.
    """
    turns = turning_points(signal, rule.minimum_excursion)
    threshold = max(rule.minimum_excursion, rule.turn_share * _typical_excursion(signal, turns))
    if threshold > rule.minimum_excursion:
        turns = turning_points(signal, threshold)
    found: list[Repetition] = []
    for before, peak, after in zip(turns, turns[1:], turns[2:], strict=False):
        rise, fall = float(signal[peak] - signal[before]), float(signal[peak] - signal[after])
        if rise < threshold or fall < rule.return_share * rise:
            continue
        start = _leaves_rest(signal, before, peak, signal[before] + ONSET_SHARE * rise)
        end = _reaches_rest(signal, peak, after, signal[after] + ONSET_SHARE * fall)
        if start < peak < end and rule.shortest <= end - start <= rule.longest:
            found.append(Repetition(start, peak, end, rise))
    return _with_rest(found, len(signal)) if found else found
