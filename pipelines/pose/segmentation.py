"""Repetitions in one signal: which excursions count, where each begins and ends. No angles, no scores.

A repetition is a rise from rest to a peak and the way back. Turning points (``turns``) are found with hysteresis (the
"rainflow" or zigzag rule: a turn counts once the signal has come back by the threshold), so noise below the threshold
never counts, however long it lasts, and the threshold adapts to the patient's own range above a floor that the profile
gives.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.pose.fidgets import repeated
from pipelines.pose.turns import clear_threshold, turning_points, typical_excursion

Float64s = NDArray[np.float64]

# A repetition begins and ends where this share of its excursion has been left behind / is reached again.
ONSET_SHARE: Final = 0.10
# Human raters cut between repetitions, in the rest; so a repetition takes in up to this much of it on either side.
REST_POINTS: Final = 13
# Of the typical excursion: what is seen of a repetition cut by the recording's edge must be this much of one.
EDGE_FLANK_SHARE: Final = 0.6
# Of the least excursion that counts: less is a fidget, and no partial repetition either.
PARTIAL_FLOOR: Final = 0.8


class Repetition(NamedTuple):
    """Grid indices, ``start <= onset < peak < offset <= end``; the excursion is in the signal's unit.

    ``onset .. offset`` is the movement, ``start .. end`` its cycle: with the share of the rest that belongs to it.
    """

    start: int
    peak: int
    end: int
    excursion: float
    onset: int
    offset: int
    side: str | None = None  # where it is known which side did it


class Rule(NamedTuple):
    """What counts as one repetition; from the profile, where each is explained."""

    minimum_excursion: float
    shortest: int  # grid points
    longest: int
    return_share: float
    turn_share: float
    partial_share: float = 0.15
    edge_share: float | None = None
    turn_share_most: float = 0.0  # up to here the threshold goes where the session's excursions leave a gap
    fidget_share: float = 0.0


class Found(NamedTuple):
    """``repetitions`` in order; ``partial``, in order, are movements that do not count, and are said all the same.

    Those are too small, broken off, brief and small beside the others (``fidgets``), or longer than one repetition is.
    """

    repetitions: list[Repetition]
    partial: list[Repetition]


class _Excursion(NamedTuple):
    """A way up and down again between two turns that are valleys."""

    before: int
    peak: int
    after: int


def _leaves_rest(signal: Float64s, valley: int, peak: int, level: float) -> int:
    """The last index from ``valley`` to ``peak`` that is still at or below ``level``."""
    below = (signal[valley : peak + 1] <= level).nonzero()[0]
    return valley + (int(below[-1]) if len(below) else 0)


def _reaches_rest(signal: Float64s, peak: int, valley: int, level: float) -> int:
    """The first index from ``peak`` to ``valley`` that is at or below ``level`` again."""
    below = (signal[peak : valley + 1] <= level).nonzero()[0]
    return peak + int(below[0]) if len(below) else valley


def _with_rest(found: list[Repetition], size: int) -> list[Repetition]:
    """Lets each cycle take in the rest beside it: half of it where two follow closely, else ``REST_POINTS``."""
    starts = np.array([rep.onset for rep in found])
    ends = np.array([rep.offset for rep in found])
    before = np.concatenate(([2 * starts[0]], starts[1:] - ends[:-1]))
    after = np.append(before[1:], 2 * (size - 1 - ends[-1]))
    new_starts = starts - np.clip(before // 2, 0, REST_POINTS)
    new_ends = ends + np.clip((after + 1) // 2, 0, REST_POINTS)
    new_ends[:-1] = np.minimum(new_ends[:-1], new_starts[1:])
    return [
        rep._replace(start=int(start), end=int(end))
        for rep, start, end in zip(found, new_starts, new_ends, strict=True)
    ]


def _merged(signal: Float64s, turns: list[int], rule: Rule) -> tuple[list[_Excursion], list[_Excursion]]:
    """Excursions that come back, and those that do not.

    A dip at the top that does not come back by ``return_share`` belongs to the repetition it interrupts, so a pause
    with a wobble in it is one repetition, from where it left rest to where it reached it.
    """
    whole: list[_Excursion] = []
    broken: list[_Excursion] = []
    first = 0 if len(turns) > 1 and signal[turns[1]] > signal[turns[0]] else 1
    before = peak = -1
    for i in range(first, len(turns) - 1, 2):
        top = turns[i + 1]
        if before < 0:
            before, peak = turns[i], top
        elif signal[top] > signal[peak]:
            peak = top
        if i + 2 >= len(turns):
            # The recording ends on the way: nobody saw it come back.
            broken.append(_Excursion(before, peak, len(signal) - 1))
            break
        after = turns[i + 2]
        if signal[peak] - signal[after] >= rule.return_share * (signal[peak] - signal[before]):
            whole.append(_Excursion(before, peak, after))
            before = -1
        elif i + 3 >= len(turns):
            broken.append(_Excursion(before, peak, after))
    return whole, broken


def _bounded(signal: Float64s, excursion: _Excursion) -> Repetition | None:
    before, peak, after = excursion
    rise, fall = float(signal[peak] - signal[before]), float(signal[peak] - signal[after])
    onset = _leaves_rest(signal, before, peak, signal[before] + ONSET_SHARE * rise)
    offset = _reaches_rest(signal, peak, after, signal[after] + ONSET_SHARE * fall)
    return Repetition(onset, peak, offset, max(rise, fall), onset, offset) if onset < peak < offset else None


def _at_edges(
    signal: Float64s, turns: list[int], broken: list[_Excursion], rule: Rule, typical: float
) -> list[_Excursion]:
    """Excursions of which the recording's edge cut one flank, and the other is that of a repetition."""
    if rule.edge_share is None or len(turns) < 2:
        return []
    found: list[_Excursion] = []
    least = max(rule.minimum_excursion, EDGE_FLANK_SHARE * typical)
    first, second = turns[0], turns[1]
    fall = signal[first] - signal[second]
    if first > 0 and fall >= least and signal[first] - signal[0] >= rule.edge_share * fall:
        found.append(_Excursion(0, first, second))
    for each in broken:
        rise = signal[each.peak] - signal[each.before]
        if rise >= least and signal[each.peak] - signal[each.after] >= rule.edge_share * rise:
            found.append(each)
    return found


def segment(signal: Float64s, rule: Rule) -> Found:
    """Every repetition in ``signal`` [G], whole and partial; rest is low, the movement is a rise.

    Two passes over the turning points, which are few after the low-pass filter: the first finds the patient's own
    excursion, the second counts with a threshold taken from it.
    """
    floor = rule.minimum_excursion
    turns = turning_points(signal, floor)
    typical = typical_excursion(signal, turns)
    threshold = max(floor, rule.turn_share * typical)
    threshold = clear_threshold(signal, turns, threshold, rule.turn_share_most * typical)
    if threshold > floor:
        turns = turning_points(signal, threshold)
    whole, broken = _merged(signal, turns, rule)
    edges = _at_edges(signal, turns, broken, rule, typical)
    found: list[Repetition] = []
    uncounted: list[Repetition] = []
    for excursion in sorted((*whole, *edges), key=lambda each: each.peak):
        rep = _bounded(signal, excursion)
        if rep is not None and rule.shortest <= rep.offset - rep.onset:
            (found if rep.offset - rep.onset <= rule.longest else uncounted).append(rep)
    if found:
        lasts = np.array([rep.offset - rep.onset for rep in found], dtype=np.float64)
        kept = repeated(lasts, np.array([rep.excursion for rep in found]), rule.fidget_share)
        uncounted += [rep for rep, keep in zip(found, kept.tolist(), strict=True) if not keep]
        found = [rep for rep, keep in zip(found, kept.tolist(), strict=True) if keep]
    counted = {rep.peak for rep in (*found, *uncounted)}
    unfinished = [
        Repetition(each.before, each.peak, each.after, float(signal[each.peak] - signal[each.before]), *each[::2])
        for each in broken
        if each.peak not in counted and each.before < each.peak < each.after
    ]
    least = max(PARTIAL_FLOOR * floor, rule.partial_share * typical)
    unfinished += [rep for rep in uncounted if rep.excursion >= least]
    small = _small(signal, rule, [*found, *unfinished], (least, threshold)) if least < threshold else []
    partial = sorted((*unfinished, *small), key=lambda rep: rep.peak)
    return Found(_with_rest(found, len(signal)) if found else found, partial)


def _small(signal: Float64s, rule: Rule, found: list[Repetition], between: tuple[float, float]) -> list[Repetition]:
    """Movements there and back that are too small to count, outside everything in ``found``."""
    taken = np.zeros(len(signal) + 1, dtype=np.int64)
    for rep in found:
        taken[rep.onset] += 1
        taken[rep.offset + 1] -= 1
    free = np.cumsum(taken) == 0
    least, threshold = between
    small: list[Repetition] = []
    for excursion in _merged(signal, turning_points(signal, least), rule)[0]:
        each = _bounded(signal, excursion)
        if each is None or each.excursion >= threshold:
            continue
        if rule.shortest <= each.offset - each.onset <= rule.longest and free[each.onset : each.offset + 1].all():
            small.append(each)
    return small


def repetitions(signal: Float64s, rule: Rule) -> list[Repetition]:
    """The whole repetitions in ``signal`` [G], in order; see ``segment``."""
    return segment(signal, rule).repetitions
