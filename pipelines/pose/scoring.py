"""The form score of each repetition and its components. Finds no repetitions, words no reasons.

Each component is ``100 * exp(-penalty)``, where a penalty is 0 as long as the figure is within what is allowed and
``weight`` at what is called severe; the form score is the same of their sum, so it is the product of the components:
100 where all are, and never higher when one of them falls. The exponential keeps every fault visible: a worse
repetition is always scored lower.

Does not belong here: comparing with a template (``template``), the shapes of limits (``profile``, ``reference``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.pose.angles import ANGLES
from pipelines.pose.landmarks import SIDES
from pipelines.pose.motion import Excursions, window_extremes
from pipelines.pose.profile import Compensation, Consistency, MovementProfile, Target, Tempo
from pipelines.pose.segmentation import Repetition
from pipelines.pose.signals import Float64s, Timeline
from pipelines.pose.template import Agreement, Filtered, agreement

WORST: Final = 3.0
# Form is judged from this much before the movement to this much after it: 0.43 s, in which a patient sets off and
# settles. A longer rest says nothing of form, and would squeeze the movement into a part of its curve.
REST_POINTS: Final = 13
FEWEST_FOR_CONSISTENCY: Final = 3
COMPONENTS: Final = ("range", "tempo", "smoothness", "symmetry", "compensation", "reference", "consistency")

# Where no recording taught a limit. In most of the movements that were recorded 95 % of the correct repetitions are
# above this, and a tremor of 3 Hz is below; but so is bad tracking, so it costs little.
LEAST_SPARC: Final = -4.0
SEVERE_SPARC: Final = 3.0
SMOOTHNESS_WEIGHT: Final = 0.25
# Limb symmetry of 90 % and more is what return-to-activity criteria ask for (Grindem et al., Br J Sports Med 2016).
ASYMMETRY_PERCENT: Final = 10.0
SEVERE_ASYMMETRY_PERCENT: Final = 30.0
SYMMETRY_WEIGHT: Final = 0.25

Ints = NDArray[np.intp]


class Windows(msgspec.Struct, frozen=True, kw_only=True):
    """R repetitions on the grid; [R] each. ``duration_ms`` is that of the movement in them."""

    starts: Ints
    peaks: Ints
    ends: Ints
    duration_ms: Float64s


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Per repetition [R]. ``component`` has one row a name in ``COMPONENTS``; nan where nothing was to be judged."""

    form: Float64s  # 0..100
    component: dict[str, Float64s]  # 0..100
    deviation_deg: Float64s | None  # the greatest excess over what is allowed; None where the profile names none
    deviation_name: tuple[str | None, ...]  # None where nothing exceeds what is allowed
    deviation_at: tuple[int | None, ...]  # grid index of that moment
    costliest: Ints | None  # the compensation, of those the profile names, that cost most
    excess_deg: Float64s | None  # [C, R] of every compensation
    asymmetry_percent: Float64s  # nan where the sides are not to be alike
    agreement: Agreement | None


def judged_windows(found: Sequence[Repetition], line: Timeline) -> Windows:
    """Where the form of each repetition is judged: the movement and the beginning of the rest beside it."""
    starts, peaks, ends, onsets, offsets = (
        np.array([getattr(rep, name) for rep in found]) for name in ("start", "peak", "end", "onset", "offset")
    )
    return Windows(
        starts=np.maximum(starts, onsets - REST_POINTS),
        peaks=peaks,
        ends=np.minimum(ends, offsets + REST_POINTS),
        duration_ms=line.grid_ms[offsets] - line.grid_ms[onsets],
    )


def peak_rom(found: Excursions) -> Float64s:
    """[R] the working side's ROM, the mean of both where both work."""
    sides = list(found.extreme)
    if len(sides) == 1:
        return found.extreme[sides[0]]
    left, right = found.extreme["left"], found.extreme["right"]
    side = np.array(found.side)
    return np.where(side == "left", left, np.where(side == "right", right, 0.5 * (left + right)))


def bounded(excess: Float64s, severe: float, weight: float) -> Float64s:
    """One fault's penalty; beyond ``WORST`` times severe it grows no more, so a lost landmark cannot decide alone."""
    return weight * np.clip(excess / severe, 0.0, WORST)


def range_penalty(rom: Float64s, target: Target) -> Float64s:
    outside = target.low_deg - rom
    if target.high_deg is not None:
        outside = np.maximum(outside, rom - target.high_deg)
    return bounded(outside, target.tolerance_deg, target.weight)


def tempo_penalty(duration_ms: Float64s, tempo: Tempo) -> Float64s:
    return bounded(tempo.brisk_ms / np.maximum(duration_ms, 1.0) - 1.0, 1.0, tempo.weight)


def consistency_penalty(rom: Float64s, consistency: Consistency) -> Float64s:
    """nan where there are too few repetitions to tell."""
    if len(rom) < FEWEST_FOR_CONSISTENCY:
        return np.full(len(rom), np.nan)
    excess = np.full(len(rom), float(rom.std(ddof=1)) - consistency.allowed_deg)
    return bounded(excess, consistency.severe_deg, consistency.weight)


def smoothness_penalty(sparc: Float64s, profile: MovementProfile) -> Float64s:
    """nan where nothing moved."""
    learnt = profile.reference.least_sparc if profile.reference else None
    return bounded((LEAST_SPARC if learnt is None else learnt) - sparc, SEVERE_SPARC, SMOOTHNESS_WEIGHT)


def asymmetry_percent(found: Excursions, profile: MovementProfile) -> Float64s:
    """[R] how far the smaller side's arc falls short of the larger's; nan where the sides are not to be alike."""
    if profile.primary.sides != "bilateral" or len(found.arc) < 2:
        return np.full(len(found.side), np.nan)
    left, right = found.arc["left"], found.arc["right"]
    return 100.0 * np.abs(left - right) / np.maximum(np.maximum(left, right), 1.0)


def symmetry_penalty(asymmetry: Float64s, profile: MovementProfile) -> Float64s:
    learnt = profile.reference.asymmetry_percent if profile.reference else None
    allowed = ASYMMETRY_PERCENT if learnt is None else learnt
    return bounded(asymmetry - allowed, SEVERE_ASYMMETRY_PERCENT, SYMMETRY_WEIGHT)


def _moved(signal: Float64s, windows: Windows, direction: str) -> Float64s:
    """[R] how far the signal went during each repetition, in the direction that is asked about; never below 0."""
    low, high = window_extremes(signal, windows.starts, windows.ends)
    rest = signal[windows.starts]
    if direction == "over":
        return high - rest
    if direction == "under":
        return rest - low
    return high - low


def _by_side(left: Float64s, right: Float64s, worked: NDArray[np.str_], compensation: Compensation) -> Float64s:
    """Picks, per repetition, the side that a compensation is about; the worse one where that is both."""
    worse = (np.minimum if compensation.direction == "short" else np.maximum)(left, right)
    if compensation.side == "each":
        return worse
    first, second = (left, right) if compensation.side == "working" else (right, left)
    return np.where(worked == "left", first, np.where(worked == "right", second, worse))


def movements(
    signals: Filtered, compensations: Sequence[Compensation], windows: Windows, worked: NDArray[np.str_]
) -> Float64s:
    """[C, R] what each compensation's angle did in each repetition, degrees."""
    table = np.empty((len(compensations), len(worked)))
    for row, compensation in zip(table, compensations, strict=True):
        left, right = (
            _moved(signals.signal(compensation.angle, side), windows, compensation.direction) for side in SIDES
        )
        row[:] = _by_side(left, right, worked, compensation)
    return table


def excesses(compensations: Sequence[Compensation], moved: Float64s) -> Float64s:
    """[C, R] how far each movement is beyond what is allowed; 0 where it is not."""
    allowed = np.array([[compensation.allowed_deg] for compensation in compensations])
    sign = np.array([[-1.0 if compensation.direction == "short" else 1.0] for compensation in compensations])
    excess: Float64s = np.maximum(sign * (moved - allowed), 0.0)
    return excess


def fault_penalties(compensations: Sequence[Compensation], excess: Float64s) -> Float64s:
    """[C, R] what each fault costs; ``excess`` [C, R]."""
    return np.array(
        [
            bounded(row, compensation.severe_deg, compensation.weight)
            for compensation, row in zip(compensations, excess, strict=True)
        ]
    )


def _moment(signals: Filtered, compensation: Compensation, windows: Windows, rep: int, worked: str) -> int:
    """Grid index at which one repetition deviated most: the farthest from where it began, on the side that did."""
    first, last = int(windows.starts[rep]), int(windows.ends[rep])
    sides = SIDES
    if compensation.side != "each" and worked in SIDES and ANGLES[compensation.angle].sided:
        other = SIDES[1 - SIDES.index(worked)]
        sides = (worked, worked) if compensation.side == "working" else (other, other)
    best, moment = -np.inf, first
    for side in sides:
        away = signals.signal(compensation.angle, side)[first : last + 1]
        away = away - away[0]
        away = -away if compensation.direction == "under" else away if compensation.direction == "over" else abs(away)
        reach = float(away.max())
        # Where a movement falls short, the side that is told of is the one that went less far, at its farthest.
        reach = -reach if compensation.direction == "short" else reach
        if reach > best:
            best, moment = reach, first + int(away.argmax())
    return moment


def _deviations(
    signals: Filtered, named: Sequence[Compensation], excess: Float64s, windows: Windows, worked: NDArray[np.str_]
) -> tuple[tuple[str | None, ...], tuple[int | None, ...]]:
    worst, greatest = excess.argmax(axis=0), excess.max(axis=0)
    names: list[str | None] = []
    moments: list[int | None] = []
    for rep, most in enumerate(greatest.tolist()):
        deviation = named[int(worst[rep])] if most > 0.0 else None
        names.append(deviation.name if deviation else None)
        moments.append(_moment(signals, deviation, windows, rep, str(worked[rep])) if deviation else None)
    return tuple(names), tuple(moments)


def score(signals: Filtered, profile: MovementProfile, windows: Windows, found: Excursions, sparc: Float64s) -> Scores:
    """Scores R >= 1 repetitions against the profile.

    Args:
        signals: the session's angles.
        found: what the primary angle did in each repetition.
        sparc: [R] smoothness; nan where it could not be told.
    """
    rom = peak_rom(found)
    worked = np.array(found.side)
    unknown = np.full(len(rom), np.nan)
    asymmetry = asymmetry_percent(found, profile)
    named, template = profile.compensations, profile.reference.template if profile.reference else None
    excess = excesses(named, movements(signals, named, windows, worked)) if named else None
    faults = None if excess is None else fault_penalties(named, excess)
    agreed = agreement(signals, template, windows.starts, windows.ends, worked) if template else None
    penalty = {
        "range": range_penalty(rom, profile.target) if profile.target else unknown,
        "tempo": tempo_penalty(windows.duration_ms, profile.tempo),
        "smoothness": smoothness_penalty(sparc, profile),
        "symmetry": symmetry_penalty(asymmetry, profile),
        "compensation": unknown if faults is None else faults.sum(axis=0),
        "reference": unknown
        if agreed is None or template is None
        else bounded(agreed.distance - template.allowed, template.severe, template.weight),
        "consistency": consistency_penalty(rom, profile.consistency),
    }
    nothing: tuple[None, ...] = (None,) * len(rom)
    names, moments = (nothing, nothing) if excess is None else _deviations(signals, named, excess, windows, worked)
    return Scores(
        form=100.0 * np.exp(-np.nansum([penalty[name] for name in COMPONENTS], axis=0)),
        component={name: 100.0 * np.exp(-penalty[name]) for name in COMPONENTS},
        deviation_deg=None if excess is None else excess.max(axis=0),
        deviation_name=names,
        deviation_at=moments,
        costliest=None if faults is None else faults.argmax(axis=0),
        excess_deg=excess,
        asymmetry_percent=asymmetry,
        agreement=agreed,
    )
