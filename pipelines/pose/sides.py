"""One angle of both sides on the time grid: which side can be measured, and in which frames it can be believed.

Belongs here: visibility gating, leaving out jumps, letting one side stand in for the other. Does not belong here: the
filter (``signals``), which side works and what is counted (``motion``).
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.pose.angles import ANGLES, needed_landmarks
from pipelines.pose.body import Body
from pipelines.pose.landmarks import SIDES, VISIBILITY, Landmark
from pipelines.pose.outliers import jumps
from pipelines.pose.signals import Float64s, Timeline

VISIBLE: Final = 0.5  # MediaPipe's own default for a landmark that is in the picture and not hidden
# Where a landmark is hidden most of the time the estimator's guess is all there is, down to where it knows nothing.
GUESSED: Final = 0.1
# A side seen in fewer frames than this is left to the other side; if neither is, the guesses are all there is.
SEEN_SHARE: Final = 0.5

Bools = NDArray[np.bool_]


def visibility(landmarks_m: NDArray[np.floating], needed: frozenset[Landmark]) -> NDArray[np.float32]:
    """[N] visibility of the needed landmark that is seen least."""
    least = np.ones(len(landmarks_m), dtype=np.float32)
    for landmark in sorted(needed):
        np.minimum(least, landmarks_m[:, landmark, VISIBILITY], out=least)
    return least


def in_sight(seen: NDArray[np.float32]) -> Bools:
    """[N] frames whose visibility ``seen`` [N] is enough; where too few are, those that are more than a blind guess."""
    visible = seen >= VISIBLE
    return visible if visible.mean() >= SEEN_SHARE else seen >= GUESSED


def believed(body: Body, angle: str, side: str) -> Bools:
    """[N >= 1] frames in which ``angle`` of ``side`` rests on landmarks that were in sight."""
    least, *others = (body.visibility(landmark) for landmark in sorted(needed_landmarks(angle, side)))
    for each in others:
        least = np.minimum(least, each)
    return in_sight(least)


def _usable_sides(seen: dict[str, Bools]) -> tuple[str, ...]:
    share = {side: float(np.mean(seen[side])) if len(seen[side]) else 0.0 for side in SIDES}
    good = tuple(side for side in SIDES if share[side] >= SEEN_SHARE)
    if good:
        return good
    if share["left"] == share["right"]:
        return SIDES
    return (max(SIDES, key=share.__getitem__),)


class SidesOnGrid(msgspec.Struct, frozen=True, kw_only=True):
    """One angle on the grid [G], per side that can be measured, unfiltered; and in which frames [N] it was measured."""

    raw: dict[str, Float64s]
    seen: dict[str, Bools]  # visible, and no landmark jumping
    usable: dict[str, Bools]  # what ``raw`` rests on: seen, or guessed where too little was seen
    erratic_share: float


def on_grid(
    body: Body, landmarks_m: NDArray[np.floating], line: Timeline, angle: str, *, together: bool = False
) -> SidesOnGrid:
    """``angle`` of N >= 1 frames, resampled over what was seen.

    ``together``: the sides move alike, so where only one is seen the other is taken to have gone with it.
    """
    spec = ANGLES[angle]
    sight = {side: visibility(landmarks_m, needed_landmarks(angle, side)) for side in SIDES}
    seen = {side: sight[side] >= VISIBLE for side in SIDES}
    sides = _usable_sides(seen) if spec.sided else ("left",)
    values: dict[str, NDArray[np.float32]] = {}
    usable: dict[str, Bools] = {}
    erratic_share = 0.0
    for side in sides:
        values[side] = spec.measure(body, side)
        usable[side] = in_sight(sight[side])
        jumped, wild_share = _jumped(values[side], line, usable[side])
        usable[side] &= ~jumped
        seen[side] = seen[side] & ~jumped
        erratic_share = max(erratic_share, wild_share)
    if together and len(sides) == 2:
        _lend(values, usable)
    raw = {side: line.resample(values[side], usable[side]) for side in sides}
    return SidesOnGrid(raw=raw, seen={side: seen[side] for side in sides}, usable=usable, erratic_share=erratic_share)


def _jumped(values: NDArray[np.float32], line: Timeline, visible: Bools) -> tuple[Bools, float]:
    """[N] frames in sight in which the angle jumped, and the share of wild ones; frames that do not count are left."""
    jumped = np.zeros(len(values), dtype=np.bool_)
    order, at = line.frame_order, line.frame_process_ms
    if not visible.all():
        kept = visible[order]
        order, at = order[kept], at[kept]
    found = jumps(values[order], at)
    jumped[order] = found.at
    return jumped, found.wild_share


def _lend(values: dict[str, NDArray[np.float32]], usable: dict[str, Bools]) -> None:
    """Where one side alone is usable the other gets its value, less what the two usually differ by. In place."""
    left, right = usable["left"], usable["right"]
    both = left & right
    if both.all() or not both.any():
        return
    apart = float(np.median(values["left"][both] - values["right"][both]))
    for side, other, shift in (("left", "right", apart), ("right", "left", -apart)):
        lent = usable[other] & ~usable[side]
        values[side] = np.where(lent, values[other] + np.float32(shift), values[side])
    usable["left"] = usable["right"] = left | right
