"""Exercises that are held: stretches of time in a position, in place of excursions. Scores nothing.

A hold begins where every posture the profile names is taken and the primary angle is at rest, and ends where that has
not been so for longer than a lapse; passing through the position on the way is none.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.pose.angles import ANGLES
from pipelines.pose.body import Body
from pipelines.pose.landmarks import SIDES
from pipelines.pose.profile import Hold, MovementProfile
from pipelines.pose.segmentation import Repetition
from pipelines.pose.sides import on_grid
from pipelines.pose.signals import GRID_HZ, LONGEST_STEP_MS, Float64s, Timeline, low_pass

CUTOFF_HZ: Final = 1.0  # a position is slow; sway and tracker noise are not part of it

Bools = NDArray[np.bool_]


class Positions:
    """Angles of one session on the grid, slow enough to hold; each worked out once.

    ``together``: the sides hold as one, and their mean counts.
    """

    def __init__(self, body: Body, landmarks_m: NDArray[np.floating], line: Timeline, *, together: bool) -> None:
        self.line = line
        self.together = together
        self._body, self._landmarks_m = body, landmarks_m
        self._known: dict[str, dict[str, Float64s]] = {}

    def of(self, angle: str, side: str) -> Float64s:
        if angle not in self._known:
            grid = on_grid(self._body, self._landmarks_m, self.line, angle, together=self.together)
            self._known[angle] = {each: low_pass(raw, CUTOFF_HZ) for each, raw in grid.raw.items()}
        by_side = self._known[angle]
        if self.together or not ANGLES[angle].sided:
            mean: Float64s = np.mean(list(by_side.values()), axis=0)
            return mean
        return by_side[side] if side in by_side else next(iter(by_side.values()))


def holds(
    signals: Positions, profile: MovementProfile, hold: Hold, usable: NDArray[np.bool_], prescribed: str | None
) -> list[Repetition]:
    """Every hold of N >= 1 frames, in order; ``peak`` is its middle, and the excursion the angle it was held at.

    ``usable`` [K], frames in time order: where nothing was seen nobody knows what was held. In a unilateral exercise
    each side holds on its own; where both do at once, the longer hold counts.
    """
    sides: tuple[str, ...] = SIDES
    if signals.together:
        sides = ("left",)
    elif prescribed in SIDES:
        sides = (prescribed,)
    blind = _unseen(signals.line, usable)
    angle = profile.primary.angle
    found = [rep for side in sides for rep in _of_side(signals, hold, angle, side, blind)]
    found.sort(key=lambda rep: rep.end - rep.start, reverse=True)
    kept: list[Repetition] = []
    for rep in found:
        if all(rep.end <= other.start or rep.start >= other.end for other in kept):
            kept.append(rep)
    return sorted(kept, key=lambda rep: rep.start)


def _of_side(signals: Positions, hold: Hold, primary: str, side: str, blind: Bools) -> list[Repetition]:
    line = signals.line
    other = "right" if side == "left" else "left"
    angle = signals.of(primary, side)
    speed = np.abs(np.gradient(angle)) * GRID_HZ if len(angle) > 1 else np.zeros(1)
    held = speed <= hold.still_deg_s
    for posture in hold.postures:
        values = signals.of(posture.angle, side if posture.side == "working" else other)
        held &= (values >= posture.low_deg) & (values <= posture.high_deg)
    held &= ~blind
    whose = None if signals.together else side
    return [
        Repetition(start, (start + end) // 2, end, float(angle[start : end + 1].mean()), start, end, whose)
        for start, end in _stretches(held, round(hold.lapse_ms * GRID_HZ / 1000.0))
        if (line.grid_ms[end] - line.grid_ms[start]) >= hold.shortest_ms and end - start >= 2
    ]


def _unseen(line: Timeline, usable: Bools) -> Bools:
    """[G] grid points more than a gap away from the usable frames on either side of them."""
    at = line.frame_process_ms[usable]
    if not len(at):
        return np.ones(line.size, dtype=np.bool_)
    following = np.searchsorted(at, line.grid_process_ms, side="left")
    before = at[np.maximum(following - 1, 0)]
    after = at[np.minimum(following, len(at) - 1)]
    outside = (line.grid_process_ms < at[0]) | (line.grid_process_ms > at[-1])
    on_frame = after == line.grid_process_ms
    blind: Bools = outside | (~on_frame & (after - before >= LONGEST_STEP_MS))
    return blind


def _stretches(held: Bools, lapse: int) -> list[tuple[int, int]]:
    """First and last grid index of each unbroken stretch, where lapses of up to ``lapse`` points break none."""
    at = np.flatnonzero(held)
    if not len(at):
        return []
    cuts = np.flatnonzero(np.diff(at) > lapse + 1)
    firsts = np.concatenate((at[:1], at[cuts + 1]))
    lasts = np.concatenate((at[cuts], at[-1:]))
    return [(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)]
