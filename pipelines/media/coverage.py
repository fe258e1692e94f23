"""Intervals of a video: their union, and what may lie around it where it is not known where somebody jumped.

Belongs here: arithmetic of intervals in seconds of the video. Does not belong here: which intervals were played
(``played.py``).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TypeAlias

Interval: TypeAlias = tuple[float, float]


@dataclass(slots=True)
class Jump:
    """Somewhere inside a jump happened. ``played_s`` is exact where ``counted``, else the most it can be."""

    candidates: list[Interval]
    played_s: float
    at_least_s: float = 0.0
    start_s: float | None = None  # None where more than one pair of reports is spanned
    end_s: float = 0.0

    @classmethod
    def between(cls, start_s: float, end_s: float, played_s: float, counted: bool, total_s: float | None) -> Jump:
        """``played_s`` were played in two pieces: one from ``start_s`` on, one up to ``end_s``."""
        top = math.inf if total_s is None else total_s
        after = (start_s, min(start_s + played_s, top))
        before = (max(0.0, end_s - played_s), end_s)
        # Forward, both pieces are apart and nothing is played twice; backward they may cover each other, at most half.
        at_least = played_s if end_s - start_s > played_s else played_s / 2
        return cls([after, before], played_s, min(at_least, top) if counted else 0.0, start_s, end_s)


@dataclass(slots=True)
class Coverage:
    """What was surely played of a video, what may have been, and for how long it may have gone on unseen."""

    sure: list[Interval] = field(default_factory=list)
    jumps: list[Jump] = field(default_factory=list)
    untold_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Unique:
    """Different seconds of a video; the truth is within ``error_s`` of ``unique_s`` where it played at its own speed
    and with at most one untold jump between two reports (``played.py``).
    """

    unique_s: float
    error_s: float


def unique(coverages: Sequence[Coverage], total_s: float | None) -> Unique:
    """Different seconds played over any number of views of one video ``total_s`` long (None if unknown)."""
    sure = union([interval for coverage in coverages for interval in coverage.sure])
    low, high = _bounds(sure, [jump for coverage in coverages for jump in coverage.jumps])
    untold_s = math.fsum(coverage.untold_s for coverage in coverages)
    if total_s is not None:
        low, high = min(low, total_s), min(high, total_s)
        untold_s = min(untold_s, max(0.0, total_s - low))
    return Unique((low + high) / 2, (high - low) / 2 + untold_s)


def union(intervals: Sequence[Interval]) -> list[Interval]:
    """The same points in disjoint intervals, ascending."""
    merged: list[Interval] = []
    for low, high in sorted(interval for interval in intervals if interval[1] > interval[0]):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def length(intervals: Sequence[Interval]) -> float:
    return math.fsum(high - low for low, high in intervals)


def _bounds(sure: list[Interval], jumps: list[Jump]) -> tuple[float, float]:
    """The least and the most different seconds played; ``sure`` is disjoint and ascending."""
    covered = length(sure)
    if not jumps:
        return covered, covered
    edges = [edge for interval in sure for edge in interval]
    lengths = [0.0, *accumulate(high - low for low, high in sure)]

    def covered_below(x: float) -> float:
        index = bisect_left(edges, x)
        whole = lengths[index // 2]
        return whole + x - edges[index - 1] if index % 2 else whole

    least, most = 0.0, 0.0
    for jump in jumps:
        candidates = union(jump.candidates)
        known = sum(covered_below(high) - covered_below(low) for low, high in candidates)
        least = max(least, jump.at_least_s - known)
        most += min(jump.played_s, max(0.0, length(candidates) - known))
    everything = length(union(sure + [candidate for jump in jumps for candidate in jump.candidates]))
    return covered + least, max(covered + least, min(covered + most, everything))
