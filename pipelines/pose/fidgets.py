"""Which of a session's excursions are fidgets: too brief and too small beside the rest to be a repetition of them.

Belongs here: comparing excursions with each other. Does not belong here: finding them (``segmentation``), set-up
movements in another posture (``setup``).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Float64s = NDArray[np.float64]

FEWEST: Final = 4  # of fewer nobody can say what is usual
# At the beginning and the end, where people walk up and away, nearly the usual size is still a fidget, by this factor,
# if what it borders on is a good deal slower.
EDGE_FACTOR: Final = 1.2
EDGE_JUMP: Final = 1.5


def _usual(values: Float64s, excursion: Float64s) -> float:
    """Median of ``values``, each weighing its excursion's square: large ones decide, however many small ones."""
    order = np.argsort(values)
    weight = np.cumsum(excursion[order] ** 2)
    return float(values[order][np.searchsorted(weight, 0.5 * weight[-1])])


def repeated(duration: Float64s, excursion: Float64s, share: float) -> NDArray[np.bool_]:
    """[R] which excursions, in order of time, are no fidgets: not under ``share`` of what is usual in both values.

    A small repetition takes its time, and a fast one goes all its way; only what is brief *and* small is neither. At
    both ends a run of such excursions goes too if they are just a little larger, as steps are.
    """
    kept = np.ones(len(duration), dtype=np.bool_)
    if len(duration) < FEWEST or share <= 0.0:
        return kept
    length, size = duration / _usual(duration, excursion), excursion / _usual(excursion, excursion)
    kept = (length >= share) | (size >= share)
    near = min(1.0, EDGE_FACTOR * share)
    core = np.flatnonzero((length >= near) | (size >= near))
    first, last = int(core[0]), int(core[-1])  # the usual ones are among them
    if first > 0 and length[first] >= EDGE_JUMP * length[first - 1]:
        kept[:first] = False
    if last < len(kept) - 1 and length[last] >= EDGE_JUMP * length[last + 1]:
        kept[last + 1 :] = False
    return kept
