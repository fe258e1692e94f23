"""The form score of each repetition: range, tempo and named compensations against the profile. Finds no repetitions.

``score = 100 * exp(-sum(weight_i * penalty_i))``, where a penalty is 0 as long as the figure is within what the profile
allows and 1 at what it calls severe. The exponential keeps every score between 0 and 100 and every fault visible: it
never saturates, so a worse repetition is always scored lower.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.pose.angles import ANGLES, Body
from pipelines.pose.motion import Excursions, window_extremes
from pipelines.pose.profile import Compensation, MovementProfile, Target, Tempo
from pipelines.pose.signals import Float64s, Timeline, low_pass

COMPENSATION_CUTOFF_HZ: Final = 2.0
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


def _range_penalty(rom: Float64s, target: Target) -> Float64s:
    short = np.maximum(target.low_deg - rom, 0.0)
    beyond = np.maximum(rom - target.high_deg, 0.0) if target.high_deg is not None else np.zeros_like(rom)
    return target.weight * (short + beyond) / target.tolerance_deg


def _tempo_penalty(duration_ms: Float64s, tempo: Tempo) -> Float64s:
    return tempo.weight * np.maximum(tempo.brisk_ms / np.maximum(duration_ms, 1.0) - 1.0, 0.0)


def _deviation(signal: Float64s, windows: Windows, compensation: Compensation) -> Float64s:
    """[R] how far the signal went from its reference, in the direction the compensation names; never below 0."""
    low, high = window_extremes(signal, windows.starts, windows.ends)
    reference = signal[windows.starts] if compensation.reference == "rest" else np.zeros(len(low))
    over, under = high - reference, reference - low
    if compensation.direction == "over":
        return np.maximum(over, 0.0)
    if compensation.direction == "under":
        return np.maximum(under, 0.0)
    return np.maximum(np.maximum(over, under), 0.0)


def _by_side(deviation: dict[str, Float64s], worked: NDArray[np.str_], which: str) -> Float64s:
    """Picks, per repetition, the side that a compensation is about; the worse one where that is both."""
    left, right = deviation["left"], deviation["right"]
    worse = np.maximum(left, right)
    if which == "each":
        return worse
    first, second = (left, right) if which == "working" else (right, left)
    return np.where(worked == "left", first, np.where(worked == "right", second, worse))


def score(body: Body, line: Timeline, profile: MovementProfile, windows: Windows, found: Excursions) -> Scores:
    """Scores R >= 1 repetitions. Each angle a compensation names is measured, resampled and filtered once."""
    penalty = _tempo_penalty(windows.duration_ms, profile.tempo)
    if profile.target is not None:
        penalty = penalty + _range_penalty(peak_rom(found), profile.target)
    worked = np.array(found.side)
    signals: dict[tuple[str, str], Float64s] = {}
    excesses: list[Float64s] = []
    for compensation in profile.compensations:
        deviation: dict[str, Float64s] = {}
        for side in ("left", "right"):
            key = (compensation.angle, side if ANGLES[compensation.angle].sided else "left")
            if key not in signals:
                raw = line.resample(ANGLES[compensation.angle].measure(body, key[1]))
                signals[key] = low_pass(raw, COMPENSATION_CUTOFF_HZ)
            deviation[side] = _deviation(signals[key], windows, compensation)
        excess = np.maximum(_by_side(deviation, worked, compensation.side) - compensation.allowed_deg, 0.0)
        penalty = penalty + compensation.weight * excess / compensation.severe_deg
        excesses.append(excess)
    form = 100.0 * np.exp(-penalty)
    if not excesses:
        return Scores(form=form, deviation_deg=None, deviation_name=(None,) * len(form))
    table = np.array(excesses)
    worst = table.argmax(axis=0)
    greatest = table.max(axis=0)
    names = tuple(
        profile.compensations[int(i)].name if excess > 0 else None for i, excess in zip(worst, greatest, strict=True)
    )
    return Scores(form=form, deviation_deg=greatest, deviation_name=names)
