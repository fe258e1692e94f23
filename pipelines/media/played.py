"""Which parts of a video were played, from positions reported now and then.

Belongs here: the played intervals of one view. Does not belong here: their union and its bounds (``coverage.py``),
stalls, quality.

Between two reports at positions p0 and p1 the player played d seconds (its own counter; without one, at most the time
that passed). If p1 - p0 = d it played straight on. If d is exactly what remained plus p1, the video looped. Otherwise
there was a jump somewhere between: some a seconds after p0 were played and d - a seconds before p1, with a unknown.
What is certain is taken as played; the rest is bounded from below and above. Where the counter began again, the page
was reloaded: what it has counted since was played up to p1, and up to a heartbeat may have been played after p0 before.
Assumed: at most one untold jump, or reload, between two reports, ten seconds apart; and that the video plays at its own
speed, as no event tells another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from pipelines.media.counters import MAX_SECONDS, Counters
from pipelines.media.coverage import Coverage, Interval, Jump, length
from pipelines.media.schema import Heartbeat, MediaEvent, Milestone, Pause, Play, PlaybackData, Seek, SessionStart
from pipelines.media.views import View

# Players may report whole seconds, in position, counter and time alike.
TOLERANCE_S: Final = 1.5
# No video of ours is longer, and no position: the schema's bound.
LONGEST_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Played:
    """What one view played. ``watched_s``: repeats counted; None where nothing told. ``coverage``: which parts of the
    video; None where no position was told.
    """

    watched_s: float | None
    coverage: Coverage | None


@dataclass(slots=True)
class _Track:
    """The reports of a view so far. ``anchor_*`` is the last; ``group_*`` what came since the counter last told."""

    total_s: float | None
    anchor_at_s: float
    anchor_s: float = 0.0
    anchor_counter_s: float | None = 0.0
    sure: list[Interval] = field(default_factory=list)
    jumps: list[Jump] = field(default_factory=list)
    moved_s: float = 0.0
    group_counter_s: float = 0.0
    group_sure: list[Interval] = field(default_factory=list)
    group_jumps: list[Jump] = field(default_factory=list)

    def report(self, at_s: float, position: float, counter_s: float | None) -> None:
        """The player is at ``position``; enter what was played since the last report."""
        ahead, passed = position - self.anchor_s, at_s - self.anchor_at_s
        if not math.isinf(passed):
            passed = min(passed, LONGEST_S)
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
            self.group_jumps.append(Jump([(0.0, position)], position))
            straight = False
        else:
            self.group_jumps.append(Jump.between(self.anchor_s, position, limit, counted, self.total_s))
            straight = False
        if counter_s is None and straight and self.anchor_counter_s is not None:
            counter_s, told = self.anchor_counter_s + ahead, False
        else:
            told = counter_s is not None
        self.anchor_at_s, self.anchor_s, self.anchor_counter_s = at_s, position, counter_s
        if told and counter_s is not None:
            self._counted(counter_s)

    def restart(self, at_s: float, position: float, counter_s: float | None, since_s: float | None) -> None:
        """The page was reloaded since the last report; ``since_s``: seconds the new counter has counted."""
        self.settle()
        passed = at_s - self.anchor_at_s
        before_s = min(max(0.0, passed - (since_s or 0.0)), Heartbeat.interval_seconds)
        top = math.inf if self.total_s is None else self.total_s
        self.jumps.append(Jump([(self.anchor_s, min(self.anchor_s + before_s, top))], before_s))
        if since_s is None:
            self.jumps.append(Jump([(0.0, position)], position))
        elif since_s <= position + TOLERANCE_S:
            self.sure.append((max(0.0, position - since_s), position))
        else:
            self.jumps.append(Jump([(0.0, position if math.isinf(top) else top)], since_s))
        self.anchor_at_s, self.anchor_s, self.anchor_counter_s = at_s, position, counter_s
        self.group_counter_s = counter_s if counter_s is not None else self.group_counter_s

    def _counted(self, counter_s: float) -> None:
        """The counter tells what was played since it last told: settle what the reports between left open."""
        played = max(0.0, counter_s - self.group_counter_s)
        moved = length(self.group_sure)
        if moved > played + TOLERANCE_S:
            # Straight on by the clock, but not by the counter: a pause hid a jump.
            candidates = [c for jump in self.group_jumps for c in jump.candidates]
            self.group_jumps = [Jump(self.group_sure + candidates, played)]
            self.group_sure = []
        elif len(self.group_jumps) == 1 and (start_s := self.group_jumps[0].start_s) is not None:
            left = max(0.0, played - moved)
            self.group_jumps = [Jump.between(start_s, self.group_jumps[0].end_s, left, True, self.total_s)]
        self.group_counter_s = counter_s
        self.settle()

    def settle(self) -> None:
        self.moved_s += length(self.group_sure)
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


def played(view: View, total_s: float | None) -> Played:
    """What one view played of a video ``total_s`` long (None if unknown)."""
    # Where session_start was lost, any time may have passed before the first report.
    track = _Track(total_s, 0.0 if view.start is not None else -math.inf)
    counters = Counters()
    restarted, before_restart_s = False, 0.0
    reported, stopped = False, True
    for event in view.events:
        at_s = (event.timestamp - view.began_at).total_seconds()
        total_before_s = counters.watched_s or 0.0
        if counters.read(event):
            restarted, before_restart_s = True, total_before_s
        position = position_s(event, total_s)
        if position is None:
            continue
        reported = True
        counter = counters.watched_s if _tells_watched(event) else None
        if isinstance(event, Play) and stopped:
            track.anchor_at_s, track.anchor_s = at_s, position  # nothing plays until now, wherever it went
        elif restarted:
            track.restart(at_s, position, counter, None if counter is None else counter - before_restart_s)
            restarted = False
        else:
            track.report(at_s, position, counter)
        stopped = isinstance(event, Pause)
        if isinstance(event, Seek):
            track.anchor_s = event.data.to_seconds
    track.settle()
    if not reported:
        return Played(counters.watched_s, None)
    untold_s = _untold_s(track.anchor_s, total_s) if view.end is None else 0.0
    watched_s = min(track.moved_s, MAX_SECONDS) if counters.watched_s is None else counters.watched_s
    return Played(watched_s, Coverage(track.sure, track.jumps, untold_s))


def _tells_watched(event: MediaEvent) -> bool:
    return isinstance(event.data, PlaybackData) and event.data.watched_duration_seconds is not None


def _untold_s(last_s: float, total_s: float | None) -> float:
    """What may have been played after the last report of a view that never ended."""
    left = math.inf if total_s is None else max(0.0, total_s - last_s)
    return min(Heartbeat.interval_seconds, left)


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
        # Clocks jump: between two events no more is played than the video once through.
        result.append(max(0.0, min(passed, _longest_s(total_s))))
    return result


def _longest_s(total_s: float | None) -> float:
    return LONGEST_S if total_s is None else total_s


def has_started(view: View, result: Played) -> bool:
    """Whether anything shows that a frame was played."""
    if result.watched_s is not None and result.watched_s > 0:
        return True
    return any(
        isinstance(event, Play | Milestone) or (isinstance(event.data, PlaybackData) and event.data.total_frames)
        for event in view.events
    )
