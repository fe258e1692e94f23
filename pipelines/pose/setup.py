"""Set-up movements: what a patient does before and after the repetitions, in another posture. Counts nothing itself.

Getting down to the floor, up again, or off the chair bends the same joints as the exercise. What tells it apart without
knowing the exercise, or how the camera is tilted, is that the trunk stands otherwise than in the other repetitions.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipelines.pose.angles import trunk_lean
from pipelines.pose.body import Body
from pipelines.pose.segmentation import Repetition
from pipelines.pose.signals import Timeline

OTHERWISE_DEG: Final = 40.0  # a repetition's mean trunk lean differs this much from the median of all
FEWEST: Final = 4  # of fewer nobody can say which is the odd one
MOST_SHARE: Final = 0.34  # were it more, it is no set-up: two exercises, or a tracker that turns bodies round


def without_setup(found: list[Repetition], body: Body, line: Timeline) -> list[Repetition]:
    """``found`` without repetitions done in another posture than the rest of them."""
    if len(found) < FEWEST:
        return found
    total = np.concatenate(([0.0], np.cumsum(line.resample(trunk_lean(body, "left")))))
    first = np.array([rep.onset for rep in found])
    past = np.array([rep.offset for rep in found]) + 1
    lean = (total[past] - total[first]) / (past - first)
    alike = np.abs(lean - np.median(lean)) <= OTHERWISE_DEG
    if alike.all() or (~alike).mean() > MOST_SHARE:
        return found
    return [rep for rep, same in zip(found, alike.tolist(), strict=True) if same]
