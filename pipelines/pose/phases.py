"""The phases of a repetition: out, hold, back. Which of them is concentric is the profile's to say."""

from __future__ import annotations

from typing import Final, NamedTuple

from pipelines.pose.segmentation import Repetition
from pipelines.pose.signals import Float64s, Timeline

# Within this share of the excursion below its peak, the limb is held there.
HOLD_SHARE: Final = 0.05


class Phases(NamedTuple):
    """Whole milliseconds since the session's start; ``out_ms + hold_ms + back_ms == end_ms - start_ms``."""

    start_ms: int
    end_ms: int
    out_ms: int
    hold_ms: int
    back_ms: int


def phases(signal: Float64s, found: list[Repetition], line: Timeline) -> list[Phases]:
    """The phases of each repetition; hold is the unbroken stretch around the peak that stays within 5 % of it."""
    result: list[Phases] = []
    for rep in found:
        level = signal[rep.peak] - HOLD_SHARE * rep.excursion
        before = (signal[rep.onset : rep.peak + 1] < level).nonzero()[0]
        after = (signal[rep.peak : rep.offset + 1] < level).nonzero()[0]
        hold_from = rep.onset + int(before[-1]) + 1 if len(before) else rep.onset
        hold_to = rep.peak + int(after[0]) - 1 if len(after) else rep.offset
        at = [round(float(line.grid_ms[i])) for i in (rep.onset, hold_from, hold_to, rep.offset)]
        result.append(Phases(at[0], at[3], at[1] - at[0], at[2] - at[1], at[3] - at[2]))
    return result


def held(found: list[Repetition], line: Timeline) -> list[Phases]:
    """The phases of holds, which are nothing but held."""
    result: list[Phases] = []
    for rep in found:
        start_ms, end_ms = round(float(line.grid_ms[rep.onset])), round(float(line.grid_ms[rep.offset]))
        result.append(Phases(start_ms, end_ms, 0, end_ms - start_ms, 0))
    return result
