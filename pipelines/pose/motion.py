"""The primary angle of a session: which side moves, the clearest channel, and the one signal that is counted.

Between an angle's two sides on the grid (``sides``) and the segmentation (one signal). Scores nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.pose.angles import ANGLES
from pipelines.pose.body import Body
from pipelines.pose.profile import Candidate, MovementProfile, Primary
from pipelines.pose.segmentation import Rule, repetitions, segment
from pipelines.pose.sides import Bools, SidesOnGrid, on_grid
from pipelines.pose.signals import GRID_HZ, Float64s, Timeline, low_pass

REST_PERCENTILE: Final = 10.0
# How far apart the sides' excursions may be and still count as moving together.
TOGETHER_SHARE: Final = 0.6
# Hand jitter of landmark trackers lies above this; what is left keeps a peak within about a degree.
ROM_CUTOFF_HZ: Final = 4.0
ALIKE_ALONE: Final = 0.5  # a single large excursion has not repeated: it may be the patient turning round
UNSEEN_WORTH: Final = 0.05  # landmarks out of sight are guesses, and the last resort
NOISE_WORTH: Final = 3.0  # noise of a third of the excursion halves a channel's worth
OWN_ADVANTAGE: Final = 1.2  # a candidate must be clearly better than the angle clinicians name


class Motion(msgspec.Struct, frozen=True, kw_only=True):
    """The primary angle over time. All arrays are on the grid [G]; degrees as clinicians read them."""

    sides: tuple[str, ...]  # those that can be measured
    angle: dict[str, Float64s]  # per side, at ROM_CUTOFF_HZ
    noise: dict[str, Float64s]  # per side, what the low-pass at ROM_CUTOFF_HZ took away
    counted: Float64s  # rest is low, the movement is a rise
    counted_by: str  # the angle repetitions are counted by
    falls: bool  # the angle gets smaller on the way out, so ``counted`` is its mirror image
    seen: Bools  # [N] frames, not grid: whether the landmarks of the sides that move were visible
    usable: Bools  # [N] frames, not grid: whether the counted signal rests on that frame, and not on a bridge
    erratic_share: float  # of the frames in sight, those in which a landmark jumped


def _rest_is_high(signal: Float64s) -> bool:
    """Whether the recording begins and ends nearer its top than its bottom: where it begins and ends is rest."""
    edge = max(1, min(len(signal) // 20, 10))
    low, high = np.percentile(signal, (5.0, 95.0))
    ends = 0.5 * (np.median(signal[:edge]) + np.median(signal[-edge:]))
    return bool(ends - low > high - ends)


def _moving_sides(counted: dict[str, Float64s], rule: Rule, prescribed: str | None) -> tuple[str, ...]:
    """One side where the other keeps still or only fidgets; both where they work alike or in turn.

    Work is the sum of a side's excursions; where none counts, of those that do not: a side that was held up too long
    has worked. Where both work, a prescribed side is the one that counts.
    """
    found = {side: segment(signal, rule) for side, signal in counted.items()}
    counts = any(each.repetitions for each in found.values())
    work = {
        side: sum(rep.excursion for rep in (each.repetitions if counts else each.partial))
        for side, each in found.items()
    }
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
        partial_share=profile.primary.partial_share,
        edge_share=profile.primary.edge_share,
        turn_share_most=profile.primary.turn_share_most,
        fidget_share=profile.primary.fidget_share,
    )


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


class _Channel(msgspec.Struct, frozen=True, kw_only=True):
    """One signal that repetitions could be counted in."""

    angle: str
    grid: SidesOnGrid
    signal: Float64s
    falls: bool
    moving: tuple[str, ...]
    profile: MovementProfile


def _channel(grid: SidesOnGrid, profile: MovementProfile, prescribed: str | None) -> _Channel:
    primary = profile.primary
    angle = primary.counted_angle or primary.angle
    filtered = {side: low_pass(raw, primary.cutoff_hz) for side, raw in grid.raw.items()}
    signal, falls, moving = counted_signal(filtered, profile, prescribed)
    return _Channel(angle=angle, grid=grid, signal=signal, falls=falls, moving=moving, profile=profile)


def _as_candidate(profile: MovementProfile, candidate: Candidate) -> MovementProfile:
    primary = msgspec.structs.replace(
        profile.primary,
        counted_angle=candidate.angle,
        direction=candidate.direction,
        minimum_excursion_deg=candidate.minimum_excursion_deg,
    )
    return msgspec.structs.replace(profile, primary=primary)


def _clarity(channel: _Channel) -> float:
    """How clearly a channel shows repetitions: seen, alike, and far above its own noise. 0 where it shows none."""
    found = repetitions(channel.signal, counting_rule(channel.profile))
    if not found:
        return 0.0
    arcs = np.array([rep.excursion for rep in found])
    alike = 1.0 / (1.0 + float(arcs.std() / arcs.mean())) if len(arcs) > 1 else ALIKE_ALONE
    seen = float(np.mean([channel.grid.seen[side].mean() for side in channel.moving]))
    raw = np.mean([channel.grid.raw[side] for side in channel.moving], axis=0)
    typical = float(np.median(arcs))
    noise = float(np.std(raw - low_pass(raw, channel.profile.primary.cutoff_hz)))
    return alike * (seen + UNSEEN_WORTH) * typical / (typical + NOISE_WORTH * noise)


def _clearest(
    body: Body, landmarks_m: NDArray[np.floating], line: Timeline, own: _Channel, prescribed: str | None
) -> _Channel:
    """The profile's own channel, unless one of its candidates shows the repetitions clearly better."""
    best, best_clarity = own, OWN_ADVANTAGE * _clarity(own)
    for candidate in own.profile.primary.candidates:
        together = own.profile.primary.sides == "bilateral"
        grid = on_grid(body, landmarks_m, line, candidate.angle, together=together)
        other = _channel(grid, _as_candidate(own.profile, candidate), prescribed)
        clarity = _clarity(other)
        if clarity > best_clarity:
            best, best_clarity = other, clarity
    return best


def measure(
    body: Body,
    landmarks_m: NDArray[np.floating],
    line: Timeline,
    profile: MovementProfile,
    prescribed: str | None = None,
) -> Motion:
    """The primary angle of N >= 1 frames, resampled, filtered and oriented."""
    primary = profile.primary
    together = primary.sides == "bilateral"
    reported = on_grid(body, landmarks_m, line, primary.angle, together=together)
    counting = reported
    if primary.counted_angle:
        counting = on_grid(body, landmarks_m, line, primary.counted_angle, together=together)
    own = _channel(counting, profile, prescribed)
    used = _clearest(body, landmarks_m, line, own, prescribed) if primary.candidates else own
    # Where another angle is counted by, which way the reported one goes is its own affair.
    seen = [each.seen[side] for each in (reported, used.grid) for side in used.moving if side in each.seen]
    usable = [used.grid.usable[side] for side in used.moving]
    angle = {side: low_pass(raw, ROM_CUTOFF_HZ) for side, raw in reported.raw.items()}
    return Motion(
        sides=tuple(reported.raw),
        angle=angle,
        noise={side: raw - angle[side] for side, raw in reported.raw.items()},
        counted=used.signal,
        counted_by=used.angle,
        falls=own.falls,
        seen=np.logical_and.reduce(seen),
        usable=np.logical_or.reduce(usable),
        erratic_share=max(reported.erratic_share, used.grid.erratic_share),
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


def _window_means(signal: Float64s, starts: NDArray[np.intp], ends: NDArray[np.intp]) -> Float64s:
    total = np.concatenate(([0.0], np.cumsum(signal)))
    means: Float64s = (total[ends + 1] - total[starts]) / (ends + 1 - starts)
    return means


def excursions(
    motion: Motion,
    primary: Primary,
    starts: NDArray[np.intp],
    ends: NDArray[np.intp],
    known: Sequence[str | None] = (),
) -> Excursions:
    """What each side did in each of R >= 1 repetitions; ``known``, where given, the side of those it is known of."""
    arc: dict[str, Float64s] = {}
    extreme: dict[str, Float64s] = {}
    for side in motion.sides:
        low, high = window_extremes(motion.angle[side], starts, ends)
        arc[side] = high - low
        if primary.rom == "mean":
            extreme[side] = _window_means(motion.angle[side], starts, ends)
        else:
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
    if any(known):
        worked = tuple(told or side for told, side in zip(known, worked, strict=True))
    return Excursions(arc=arc, extreme=extreme, side=worked)
