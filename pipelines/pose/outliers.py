"""Frames in which a landmark has jumped somewhere else and back: which values of an angle are not to be believed.

Belongs here: telling a teleporting landmark from a fast limb. Does not belong here: visibility (``motion``), bridging
what was left out (``signals``).
"""

from __future__ import annotations

import itertools
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

# A value this far from the median of those around it in time is a spike: a limb that swings as fast as in a jumping
# jack is 20 degrees off the median of five at its turning points at ten frames a second, and 16 off that of seven at
# thirty.
# (A Hampel filter with a bound of its own, so that a recording that is nothing but jumps cannot raise it.)
SPIKE_DEG: Final = 20.0
SPIKE_STEP_MS: Final = 50.0  # at longer steps between frames the bound grows with them
DENSE_STEP_MS: Final = 40.0  # up to here seven frames are looked at, so that three wrong ones are outvoted; else five
WILD_DEG: Final = 40.0  # no limb at any frame rate
# Faster than this no joint moves in an exercise: the knee in a kick reaches about 1,500 degrees a second.
LEAP_DEG: Final = 45.0
LEAP_DEG_S: Final = 1500.0
# Away for longer than this it is no jump of a landmark; the patient may have turned round.
AWAY_MS: Final = 1000.0
FEWEST: Final = 7

Bools = NDArray[np.bool_]


class Jumps(NamedTuple):
    """[N] values that belong to a jump: single spikes, and short stays away; and the share of them no limb could do."""

    at: Bools
    wild_share: float


def jumps(values: NDArray[np.floating], time_ms: NDArray[np.floating]) -> Jumps:
    """Which of an angle's values (degrees, in time order) a landmark had jumped in."""
    if len(values) < FEWEST:
        return Jumps(np.zeros(len(values), dtype=np.bool_), 0.0)
    step_ms = (float(time_ms[-1]) - float(time_ms[0])) / (len(values) - 1)
    size = 7 if step_ms <= DENSE_STEP_MS else 5
    off = np.abs(values - median_filter(values, size=size, mode="mirror"))
    bad: Bools = off > SPIKE_DEG * min(max(step_ms / SPIKE_STEP_MS, 1.0), WILD_DEG / SPIKE_DEG)
    _mark_stays_away(bad, values, time_ms)
    return Jumps(bad, float(np.mean(off > WILD_DEG)))


def _mark_stays_away(bad: Bools, values: NDArray[np.floating], time_ms: NDArray[np.floating]) -> None:
    """Adds to ``bad`` what lies between a leap away and the leap back soon after."""
    kept = np.flatnonzero(~bad)
    if len(kept) < 2:
        return
    steps = np.diff(values[kept])
    took_ms = np.maximum(np.diff(time_ms[kept]), 1.0)
    leaps = np.flatnonzero((np.abs(steps) > LEAP_DEG) & (np.abs(steps) * 1000.0 > LEAP_DEG_S * took_ms))
    for away, back in itertools.pairwise(leaps):
        left, returned = kept[away], kept[back + 1]
        if time_ms[kept[back]] - time_ms[left] <= AWAY_MS and abs(values[returned] - values[left]) < LEAP_DEG:
            bad[kept[away + 1] : kept[back] + 1] = True
