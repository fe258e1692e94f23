"""The form score of each repetition: range, tempo, consistency and named compensations. Finds no repetitions.

``score = 100 * exp(-sum(weight_i * penalty_i))``, where a penalty is 0 as long as the figure is within what the profile
allows and 1 at what it calls severe. The exponential keeps every score between 0 and 100 and every fault visible: it
never saturates, so a worse repetition is always scored lower.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.pose.angles import ANGLES, Body
from pipelines.pose.landmarks import SIDES
from pipelines.pose.motion import Excursions, window_extremes
from pipelines.pose.profile import Compensation, Consistency, MovementProfile, Target, Tempo
from pipelines.pose.signals import Float64s, Timeline, low_pass

COMPENSATION_CUTOFF_HZ: Final = 2.0
WORST: Final = 3.0
FEWEST_FOR_CONSISTENCY: Final = 3
Ints = NDArray[np.intp]


class Windows(msgspec.Struct, frozen=True, kw_only=True):
    """R repetitions on the grid; [R] each."""

    starts: Ints
    peaks: Ints
    ends: Ints
    duration_ms: Float64s


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Per repetition [R]."""

    form: Float64s  # 0..100
    deviation_deg: Float64s | None  # the greatest excess over what is allowed; None where the profile names none
    deviation_name: tuple[str | None, ...]  # None where nothing exceeds what is allowed


def peak_rom(found: Excursions) -> Float64s:
    """[R] the working side's ROM, the mean of both where both work."""
    sides = list(found.extreme)
    if len(sides) == 1:
        return found.extreme[sides[0]]
    left, right = found.extreme["left"], found.extreme["right"]
    side = np.array(found.side)
    return np.where(side == "left", left, np.where(side == "right", right, 0.5 * (left + right)))


def _bounded(excess: Float64s, severe: float, weight: float) -> Float64s:
    """One fault's penalty; beyond ``WORST`` times severe it grows no more, so a lost landmark cannot decide alone."""
    return weight * np.clip(excess / severe, 0.0, WORST)


def _range_penalty(rom: Float64s, target: Target) -> Float64s:
    outside = target.low_deg - rom
    if target.high_deg is not None:
        outside = np.maximum(outside, rom - target.high_deg)
    return _bounded(outside, target.tolerance_deg, target.weight)


def _tempo_penalty(duration_ms: Float64s, tempo: Tempo) -> Float64s:
    return _bounded(tempo.brisk_ms / np.maximum(duration_ms, 1.0) - 1.0, 1.0, tempo.weight)


def _consistency_penalty(rom: Float64s, consistency: Consistency) -> Float64s:
    if len(rom) < FEWEST_FOR_CONSISTENCY:
        return np.zeros(len(rom))
    excess = np.full(len(rom), float(rom.std(ddof=1)) - consistency.allowed_deg)
    return _bounded(excess, consistency.severe_deg, consistency.weight)


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
    body: Body, line: Timeline, compensations: Sequence[Compensation], windows: Windows, side: Sequence[str]
) -> Float64s:
    """[C, R] what each compensation's angle did in each repetition, degrees; each angle is filtered once."""
    worked = np.array(side)
    signals: dict[tuple[str, str], Float64s] = {}
    table = np.empty((len(compensations), len(worked)))
    for row, compensation in zip(table, compensations, strict=True):
        spec = ANGLES[compensation.angle]
        moved: dict[str, Float64s] = {}
        for each in SIDES:
            key = (compensation.angle, each if spec.sided else "left")
            if key not in signals:
                signals[key] = low_pass(line.resample(spec.measure(body, key[1])), COMPENSATION_CUTOFF_HZ)
            moved[each] = _moved(signals[key], windows, compensation.direction)
        row[:] = _by_side(moved["left"], moved["right"], worked, compensation)
    return table


def excesses(compensations: Sequence[Compensation], moved: Float64s) -> Float64s:
    """[C, R] how far each movement is beyond what is allowed; 0 where it is not."""
    allowed = np.array([[compensation.allowed_deg] for compensation in compensations])
    sign = np.array([[-1.0 if compensation.direction == "short" else 1.0] for compensation in compensations])
    excess: Float64s = np.maximum(sign * (moved - allowed), 0.0)
    return excess


def fault_penalty(compensations: Sequence[Compensation], excess: Float64s) -> Float64s:
    """[R] what the faults cost together; ``excess`` [C, R]."""
    penalty = np.zeros(excess.shape[1])
    for compensation, row in zip(compensations, excess, strict=True):
        penalty += _bounded(row, compensation.severe_deg, compensation.weight)
    return penalty


def unfitted_penalty(rom: Float64s, windows: Windows, profile: MovementProfile) -> Float64s:
    """[R] what tempo and consistency cost: the part of the score that no recording was used to set."""
    return _tempo_penalty(windows.duration_ms, profile.tempo) + _consistency_penalty(rom, profile.consistency)


def score(body: Body, line: Timeline, profile: MovementProfile, windows: Windows, found: Excursions) -> Scores:
    """Scores R >= 1 repetitions against the profile."""
    rom = peak_rom(found)
    penalty = unfitted_penalty(rom, windows, profile)
    if profile.target is not None:
        penalty = penalty + _range_penalty(rom, profile.target)
    named = profile.compensations
    if not named:
        return Scores(form=100.0 * np.exp(-penalty), deviation_deg=None, deviation_name=(None,) * len(rom))
    excess = excesses(named, movements(body, line, named, windows, found.side))
    penalty = penalty + fault_penalty(named, excess)
    worst, greatest = excess.argmax(axis=0), excess.max(axis=0)
    names = tuple(named[int(i)].name if most > 0 else None for i, most in zip(worst, greatest, strict=True))
    return Scores(form=100.0 * np.exp(-penalty), deviation_deg=greatest, deviation_name=names)
