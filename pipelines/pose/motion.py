"""The primary angle of a session: both sides on the time grid, which side moves, and the one signal that is counted.

Between the angles (per frame, per side) and the segmentation (one signal). Scores nothing.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.pose.angles import ANGLES, Body, needed_landmarks
from pipelines.pose.landmarks import SIDES, VISIBILITY, Landmark
from pipelines.pose.profile import MovementProfile, Primary
from pipelines.pose.segmentation import Rule, repetitions
from pipelines.pose.signals import GRID_HZ, Float64s, Timeline, low_pass

VISIBLE: Final = 0.5  # MediaPipe's own default for a landmark that is in the picture and not hidden
# A side seen in fewer frames than this is left to the other side; if neither is, the guesses are all there is.
SEEN_SHARE: Final = 0.5
REST_PERCENTILE: Final = 10.0
# How far apart the sides' excursions may be and still count as moving together.
TOGETHER_SHARE: Final = 0.6
# Hand jitter of landmark trackers lies above this; what is left keeps a peak within about a degree.
ROM_CUTOFF_HZ: Final = 4.0

Bools = NDArray[np.bool_]


def visible(landmarks_m: NDArray[np.floating], needed: frozenset[Landmark]) -> Bools:
    """[N] whether every needed landmark is visible."""
    seen = np.ones(len(landmarks_m), dtype=np.bool_)
    for landmark in sorted(needed):
        seen &= landmarks_m[:, landmark, VISIBILITY] >= VISIBLE
    return seen


class Motion(msgspec.Struct, frozen=True, kw_only=True):
    """The primary angle over time. All arrays are on the grid [G]; degrees as clinicians read them."""

    sides: tuple[str, ...]  # those that can be measured
    angle: dict[str, Float64s]  # per side, at ROM_CUTOFF_HZ
    counted: Float64s  # rest is low, the movement is a rise
    falls: bool  # the angle gets smaller on the way out, so ``counted`` is its mirror image
    seen: Bools  # [N] frames, not grid: whether the landmarks of the sides that move were visible


def _usable_sides(seen: dict[str, Bools]) -> tuple[str, ...]:
    share = {side: float(np.mean(seen[side])) if len(seen[side]) else 0.0 for side in SIDES}
    good = tuple(side for side in SIDES if share[side] >= SEEN_SHARE)
    if good:
        return good
    if share["left"] == share["right"]:
        return SIDES
    return (max(SIDES, key=share.__getitem__),)


def _rest_is_high(signal: Float64s) -> bool:
    """Whether the recording begins and ends nearer its top than its bottom: where it begins and ends is rest."""
    edge = max(1, min(len(signal) // 20, 10))
    low, high = np.percentile(signal, (5.0, 95.0))
    ends = 0.5 * (np.median(signal[:edge]) + np.median(signal[-edge:]))
    return bool(ends - low > high - ends)


def _moving_sides(counted: dict[str, Float64s], rule: Rule, prescribed: str | None) -> tuple[str, ...]:
    """One side where the other keeps still or only fidgets; both where they work alike or in turn.

    Work is the sum of a side's excursions. Where both work, a prescribed side is the one that counts.
    """
    work = {side: sum(rep.excursion for rep in repetitions(signal, rule)) for side, signal in counted.items()}
    most = max(work.values())
    moving = tuple(side for side in counted if work[side] >= TOGETHER_SHARE * most)
    return (prescribed,) if prescribed in moving else moving


def counting_rule(profile: MovementProfile) -> Rule:
    """The profile's bounds on the grid."""
    return Rule(
        minimum_excursion=profile.primary.minimum_excursion_deg,
        shortest=max(2, round(profile.tempo.shortest_ms * GRID_HZ / 1000.0)),
        longest=round(profile.tempo.longest_ms * GRID_HZ / 1000.0),
        return_share=profile.primary.return_share,
        turn_share=profile.primary.turn_share,
    )


class SidesOnGrid(msgspec.Struct, frozen=True, kw_only=True):
    """One angle on the grid [G], per side that can be measured, unfiltered; and where its landmarks were seen [N]."""

    raw: dict[str, Float64s]
    seen: dict[str, Bools]


def on_grid(body: Body, landmarks_m: NDArray[np.floating], line: Timeline, angle: str) -> SidesOnGrid:
    """``angle`` of N >= 1 frames, resampled over what was seen."""
    spec = ANGLES[angle]
    seen = {side: visible(landmarks_m, needed_landmarks(angle, side)) for side in SIDES}
    sides = _usable_sides(seen) if spec.sided else ("left",)
    raw = {side: line.resample(spec.measure(body, side), seen[side]) for side in sides}
    return SidesOnGrid(raw=raw, seen={side: seen[side] for side in sides})


def counted_signal(
    filtered: dict[str, Float64s], profile: MovementProfile, prescribed: str | None = None
) -> tuple[Float64s, bool, tuple[str, ...]]:
    """The signal that repetitions are counted in: rest is low, the movement is a rise.

    Returns:
        The signal [G], whether the angle gets smaller on the way out, and the sides the signal is made of.
    """
    primary = profile.primary
    both: Float64s = np.mean(list(filtered.values()), axis=0)
    falls = primary.direction == "decrease" or (primary.direction == "either" and _rest_is_high(both))
    sign = -1.0 if falls else 1.0
    if primary.sides == "bilateral" or len(filtered) == 1:
        return sign * both, falls, tuple(filtered)
    rising = {side: sign * signal for side, signal in filtered.items()}
    moving = _moving_sides(rising, counting_rule(profile), prescribed)
    # Each side above its own rest, so that a hand kept on the hip does not hide the other arm's low part.
    signal: Float64s = np.max([rising[side] - np.percentile(rising[side], REST_PERCENTILE) for side in moving], axis=0)
    return signal, falls, moving


def measure(
    body: Body,
    landmarks_m: NDArray[np.floating],
    line: Timeline,
    profile: MovementProfile,
    prescribed: str | None = None,
) -> Motion:
    """The primary angle of N >= 1 frames, resampled, filtered and oriented."""
    primary = profile.primary
    reported = on_grid(body, landmarks_m, line, primary.angle)
    counting = on_grid(body, landmarks_m, line, primary.counted_angle) if primary.counted_angle else reported
    filtered = {side: low_pass(raw, primary.cutoff_hz) for side, raw in counting.raw.items()}
    signal, falls, moving = counted_signal(filtered, profile, prescribed)
    seen = [each.seen[side] for each in (reported, counting) for side in moving if side in each.seen]
    return Motion(
        sides=tuple(reported.raw),
        angle={side: low_pass(raw, ROM_CUTOFF_HZ) for side, raw in reported.raw.items()},
        counted=signal,
        falls=falls,
        seen=np.logical_and.reduce(seen),
    )


class Excursions(msgspec.Struct, frozen=True, kw_only=True):
    """Per repetition [R]: each side's arc and extreme value, and which side did the work."""

    arc: dict[str, Float64s]
    extreme: dict[str, Float64s]
    side: tuple[str, ...]  # "left", "right" or "both"


def window_extremes(signal: Float64s, starts: NDArray[np.intp], ends: NDArray[np.intp]) -> tuple[Float64s, Float64s]:
    """Lowest and highest value in each ``[start, end]``; windows are in order and overlap by at most their ends."""
    edges = np.empty(2 * len(starts), dtype=np.intp)
    edges[0::2], edges[1::2] = starts, ends + 1
    longer = np.append(signal, signal[-1])
    return np.minimum.reduceat(longer, edges)[0::2], np.maximum.reduceat(longer, edges)[0::2]


def excursions(motion: Motion, primary: Primary, starts: NDArray[np.intp], ends: NDArray[np.intp]) -> Excursions:
    """What each side did in each of R >= 1 repetitions."""
    arc: dict[str, Float64s] = {}
    extreme: dict[str, Float64s] = {}
    for side in motion.sides:
        low, high = window_extremes(motion.angle[side], starts, ends)
        arc[side] = high - low
        extreme[side] = arc[side] if primary.rom == "range" else (low if motion.falls else high)
    if not ANGLES[primary.angle].sided:
        return Excursions(arc=arc, extreme=extreme, side=("both",) * len(starts))
    if len(motion.sides) == 1:
        # Only one side could be seen; in a bilateral movement both work.
        only = "both" if primary.sides == "bilateral" else motion.sides[0]
        return Excursions(arc=arc, extreme=extreme, side=(only,) * len(starts))
    left, right = arc["left"], arc["right"]
    if primary.sides == "bilateral":
        return Excursions(arc=arc, extreme=extreme, side=("both",) * len(starts))
    alike = np.minimum(left, right) >= TOGETHER_SHARE * np.maximum(left, right)
    worked = tuple(
        "both" if same else ("left" if more else "right") for same, more in zip(alike, left > right, strict=True)
    )
    return Excursions(arc=arc, extreme=extreme, side=worked)
