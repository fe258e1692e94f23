"""Which parts of a video were played, from positions reported now and then.

Belongs here: the played intervals of one view, their union, and how far the truth may lie from it. Does not belong
here: stalls, quality, counters.

Between two reports at positions p0 and p1 the player played d seconds (its own counter; without one, at most the time
that passed). If p1 - p0 = d it played straight on. If d is exactly what remained plus p1, the video looped. Otherwise
there was a jump somewhere between: some a seconds after p0 were played and d - a seconds before p1, with a unknown.
What is certain is taken as played; the rest is bounded from below and above, and the middle is reported with half the
width as the error. Assumed: at most one untold jump between two reports, ten seconds apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Final

import numpy as np

from pipelines.media.schema import Heartbeat, MediaEvent, Milestone, Pause, Play, PlaybackData, Seek, SessionStart
from pipelines.media.views import View

# Players may report whole seconds, in position, counter and time alike.
TOLERANCE_S: Final = 1.5


@dataclass(frozen=True, slots=True)
class Played:
    """Seconds of one view; ``unique_s`` within ``error_s`` of the truth. None where nothing was reported."""

    watched_s: float | None
    unique_s: float | None
    error_s: float | None


@dataclass(slots=True)
class _Jump:
    """Somewhere inside a jump happened. ``played_s`` is exact where ``counted``, else the most it can be."""

    candidates: list[tuple[float, float]]
    played_s: float
    at_least_s: float = 0.0
    start_s: float | None = None  # None where more than one pair of reports is spanned
    end_s: float = 0.0

    @classmethod
    def between(cls, start_s: float, end_s: float, played_s: float, counted: bool, total_s: float | None) -> _Jump:
        top = math.inf if total_s is None else total_s
        after = (start_s, min(start_s + played_s, top))
        before = (max(0.0, end_s - played_s), end_s)
        # Forward, both pieces are apart and nothing is played twice; backward they may cover each other, at most half.
        at_least = played_s if end_s - start_s > played_s else played_s / 2
        return cls([after, before], played_s, min(at_least, top) if counted else 0.0, start_s, end_s)


@dataclass(slots=True)
class _Track:
    """The reports of a view so far. ``anchor_*`` is the last; ``group_*`` what came since the counter last told."""

    total_s: float | None
    anchor_at_s: float
    anchor_s: float = 0.0
    anchor_counter_s: float | None = 0.0
    sure: list[tuple[float, float]] = field(default_factory=list)
    jumps: list[_Jump] = field(default_factory=list)
    moved_s: float = 0.0
    group_counter_s: float = 0.0
    group_sure: list[tuple[float, float]] = field(default_factory=list)
    group_jumps: list[_Jump] = field(default_factory=list)

    def report(self, at_s: float, position: float, counter_s: float | None) -> None:
        """The player is at ``position``; enter what was played since the last report."""
        ahead, passed = position - self.anchor_s, at_s - self.anchor_at_s
        counted = counter_s is not None and self.anchor_counter_s is not None
        limit = passed
        if counter_s is not None and self.anchor_counter_s is not None:
            limit = max(0.0, counter_s - self.anchor_counter_s)
        looped = None if self.total_s is None else ahead + self.total_s
        straight = ahead >= 0 and (abs(ahead - limit) if counted else ahead - limit) <= TOLERANCE_S
        if straight and not math.isinf(limit):
            self.group_sure.append((self.anchor_s, position))
        elif ahead < 0 and looped is not None and self.total_s is not None and abs(looped - limit) <= TOLERANCE_S:
            self.group_sure += [(self.anchor_s, self.total_s), (0.0, position)]
        elif math.isinf(limit):
            self.group_jumps.append(_Jump([(0.0, position)], position))
            straight = False
        else:
            self.group_jumps.append(_Jump.between(self.anchor_s, position, limit, counted, self.total_s))
            straight = False
        if counter_s is None and straight and self.anchor_counter_s is not None:
            counter_s, told = self.anchor_counter_s + ahead, False
        else:
            told = counter_s is not None
        self.anchor_at_s, self.anchor_s, self.anchor_counter_s = at_s, position, counter_s
        if told and counter_s is not None:
            self._counted(counter_s)

    def _counted(self, counter_s: float) -> None:
        """The counter tells what was played since it last told: settle what the reports between left open."""
        played = max(0.0, counter_s - self.group_counter_s)
        moved = _length(self.group_sure)
        if moved > played + TOLERANCE_S:
            # Straight on by the clock, but not by the counter: a pause hid a jump.
            candidates = [c for jump in self.group_jumps for c in jump.candidates]
            self.group_jumps = [_Jump(self.group_sure + candidates, played)]
            self.group_sure = []
        elif len(self.group_jumps) == 1 and (start_s := self.group_jumps[0].start_s) is not None:
            left = max(0.0, played - moved)
            self.group_jumps = [_Jump.between(start_s, self.group_jumps[0].end_s, left, True, self.total_s)]
        self.group_counter_s = counter_s
        self.settle()

    def settle(self) -> None:
        self.moved_s += _length(self.group_sure)
        self.sure += self.group_sure
        self.jumps += self.group_jumps
        self.group_sure, self.group_jumps = [], []


def position_s(event: MediaEvent, total_s: float | None) -> float | None:
    """Where in the video the event was, if it tells."""
    if isinstance(event, Seek):
        return event.data.from_seconds
    if isinstance(event, SessionStart):
        return None
    position = event.data.position_seconds
    if position is None and total_s is not None and isinstance(event.data, PlaybackData):
        percent = event.data.completion_percent
        position = None if percent is None else total_s * percent / 100
    if position is not None and total_s is not None:
        return min(position, total_s)
    return position


def watched_s(event: MediaEvent) -> float | None:
    """The player's cumulative counter of seconds played, if the event tells."""
    return event.data.watched_duration_seconds if isinstance(event.data, PlaybackData) else None


def played(view: View, total_s: float | None) -> Played:
    """Seconds played and different seconds played of one view of a video ``total_s`` long (None if unknown)."""
    # Where session_start was lost, any time may have passed before the first report.
    track = _Track(total_s, 0.0 if view.start is not None else -math.inf)
    counted: float | None = None
    reported, stopped = False, True
    for event in view.events:
        at_s = (event.timestamp - view.began_at).total_seconds()
        position, counter = position_s(event, total_s), watched_s(event)
        if counter is not None:
            counted = max(counted or 0.0, counter)
        if position is None:
            continue
        reported = True
        if isinstance(event, Play) and stopped:
            track.anchor_at_s, track.anchor_s = at_s, position  # nothing plays until now, wherever it went
        else:
            track.report(at_s, position, counter)
        stopped = isinstance(event, Pause)
        if isinstance(event, Seek):
            track.anchor_s = event.data.to_seconds
    track.settle()
    if not reported:
        return Played(counted, None, None)
    low, high = _bounds(_union(track.sure), track.jumps)
    if total_s is not None:
        low, high = min(low, total_s), min(high, total_s)
    error = (high - low) / 2 + (_untold_s(track.anchor_s, total_s) if view.end is None else 0.0)
    return Played(track.moved_s if counted is None else counted, (low + high) / 2, error)


def _untold_s(last_s: float, total_s: float | None) -> float:
    """What may have been played after the last report of a view that never ended."""
    left = math.inf if total_s is None else max(0.0, total_s - last_s)
    return min(Heartbeat.interval_seconds, left)


def _union(intervals: list[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for low, high in sorted(interval for interval in intervals if interval[1] > interval[0]):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def _length(intervals: list[tuple[float, float]]) -> float:
    return math.fsum(high - low for low, high in intervals)


def _bounds(sure: list[tuple[float, float]], jumps: list[_Jump]) -> tuple[float, float]:
    """The least and the most different seconds played."""
    covered = _length(sure)
    if not jumps:
        return covered, covered
    edges = np.array([edge for interval in sure for edge in interval])
    lengths = np.array([0.0, *accumulate(high - low for low, high in sure)])

    def covered_below(x: float) -> float:
        index = int(np.searchsorted(edges, x))
        whole = float(lengths[index // 2])
        return whole + x - float(edges[index - 1]) if index % 2 else whole

    least, most = 0.0, 0.0
    for jump in jumps:
        candidates = _union(jump.candidates)
        known = sum(covered_below(high) - covered_below(low) for low, high in candidates)
        least = max(least, jump.at_least_s - known)
        most += min(jump.played_s, max(0.0, _length(candidates) - known))
    everything = _length(_union(sure + [candidate for jump in jumps for candidate in jump.candidates]))
    return covered + least, max(covered + least, min(covered + most, everything))


def playing_s(view: View, total_s: float | None) -> list[float]:
    """Seconds played between each two neighbouring events of the view; stalls and pauses count as none."""
    result = []
    stalled = paused = False
    for left, right in pairwise(view.events):
        kind = type(left).__name__
        stalled = kind == "BufferingStart" or (stalled and kind != "BufferingEnd")
        paused = kind == "Pause" or (paused and kind != "Play")
        passed = (right.timestamp - left.timestamp).total_seconds()
        start = left.data.to_seconds if isinstance(left, Seek) else position_s(left, total_s)
        end = position_s(right, total_s)
        if isinstance(left, SessionStart):
            start = 0.0
        if start is not None and end is not None and 0 <= end - start <= passed + TOLERANCE_S:
            passed = end - start
        elif stalled or paused:
            passed = 0.0
        result.append(passed)
    return result


def has_started(view: View, result: Played) -> bool:
    """Whether anything shows that a frame was played."""
    if result.watched_s is not None and result.watched_s > 0:
        return True
    return any(isinstance(event, Play | Milestone) for event in view.events)
