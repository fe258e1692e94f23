"""What the picture was like while a view played: stalls, bitrate, resolution, frames.

Belongs here: figures of one view taken from its stall and quality events and its cumulative counters. Does not belong
here: what was watched (``played.py``).
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from pipelines.media.model import StallEvent
from pipelines.media.schema import BufferingEnd, BufferingStart, MediaEvent, PlaybackData, QualityChange
from pipelines.media.views import View

MAX_STALLS: Final = 1_000
MAX_LEVELS: Final = 16
OTHER_LEVELS: Final = "other"
_MAX_OPEN_STALLS: Final = 8


@dataclass(frozen=True, slots=True)
class Quality:
    """Bitrate (bits a second) and resolution of one view, weighted by seconds played."""

    mean_bitrate: float | None
    quality_seconds: dict[str, float]
    upswitch_count: int
    downswitch_count: int


def stalls(view: View, ordinal: int) -> list[StallEvent]:
    """The view's stalls in the order they began, at most ``MAX_STALLS``.

    An end is matched by the duration it tells: to the open stall that began nearest to that long before; without one,
    to the stall begun last. An end whose start was lost is a stall of its own, if it tells its duration.
    """
    rows: list[_Stall] = []
    unended: list[_Stall] = []
    for event in view.events:
        if isinstance(event, BufferingStart):
            stall = _Stall(event.timestamp, event.data.position_seconds)
            rows.append(stall)
            unended = [*unended[-_MAX_OPEN_STALLS + 1 :], stall]
        elif isinstance(event, BufferingEnd):
            told_ms = event.data.duration_ms
            if not unended:
                if told_ms is not None:
                    began_at = event.timestamp - dt.timedelta(milliseconds=told_ms)
                    rows.append(_Stall(began_at, event.data.position_seconds, told_ms))
                continue
            stall = _ending(unended, event.timestamp, told_ms)
            unended.remove(stall)
            stall.duration_ms = stall.since_ms(event.timestamp) if told_ms is None else told_ms
    rows.sort(key=lambda stall: stall.began_at)
    return [
        StallEvent(
            view_ordinal=ordinal,
            stall_number=number,
            began_at=stall.began_at,
            position_seconds=stall.position_seconds,
            duration_ms=None if stall.duration_ms is None else half_up(stall.duration_ms),
        )
        for number, stall in enumerate(rows[:MAX_STALLS], start=1)
    ]


@dataclass(slots=True, eq=False)
class _Stall:
    began_at: dt.datetime
    position_seconds: float | None
    duration_ms: float | None = None

    def since_ms(self, at: dt.datetime) -> float:
        return (at - self.began_at) / dt.timedelta(milliseconds=1)


def _ending(unended: list[_Stall], at: dt.datetime, told_ms: float | None) -> _Stall:
    if told_ms is None:
        return unended[-1]
    return min(unended, key=lambda stall: abs(stall.since_ms(at) - told_ms))


def half_up(value: float) -> int:
    """The nearest integer, halves upwards."""
    return math.floor(value + 0.5)


def cumulative(values: Iterable[tuple[int | None, ...]]) -> tuple[int | None, ...]:
    """Totals of counters that grow over a view but may start again from 0 (the player reloaded).

    ``values``: the counters at each report, in order. A report where any counter fell is a new beginning for all of
    them, as they restart together. A counter never told is None.
    """
    totals: list[int | None] = []
    last: list[int] = []
    for row in values:
        if not totals:
            totals, last = [None] * len(row), [0] * len(row)
        told = [(index, value) for index, value in enumerate(row) if value is not None]
        if any(value < last[index] for index, value in told):
            last = [0] * len(row)
        for index, value in told:
            totals[index] = (totals[index] or 0) + value - last[index]
            last[index] = value
    return tuple(totals)


def quality(view: View, played_s: Sequence[float]) -> Quality:
    """Bitrate and resolution, weighted by ``played_s``: seconds played between each two neighbouring events.

    A level holds from the report that tells it to the next; before the first report, the level a switch left or the
    first heartbeat tells.
    """
    levels = _levels(view.events)
    bitrate = next((before[0] for before, _ in levels if before[0] is not None), None)
    resolution = next((before[1] for before, _ in levels if before[1] is not None), None)
    bits: list[float] = []
    weights: list[float] = []
    seconds: dict[str, float] = {}
    ups = downs = 0
    for index, event in enumerate(view.events):
        after = levels[index][1]
        if isinstance(event, QualityChange):
            step = _step(event, bitrate, resolution)
            ups, downs = ups + (step > 0), downs + (step < 0)
        bitrate = after[0] if after[0] is not None else bitrate
        resolution = after[1] if after[1] is not None else resolution
        if index == len(played_s):
            break
        if bitrate is not None:
            bits.append(bitrate * played_s[index])
            weights.append(played_s[index])
        if resolution is not None and played_s[index] > 0:
            seconds[resolution] = seconds.get(resolution, 0.0) + played_s[index]
    total = math.fsum(weights)
    return Quality(math.fsum(bits) / total if total > 0 else None, _bounded(seconds), ups, downs)


_Level = tuple[float | None, str | None]
_UNTOLD: Final[_Level] = (None, None)


def _levels(events: Sequence[MediaEvent]) -> list[tuple[_Level, _Level]]:
    """``_level`` of each event. Switches told of one instant (players may tell whole seconds) chain up by themselves:
    from the level only left to the level only reached.
    """
    levels: list[tuple[_Level, _Level]] = []
    for (_, switches), group in groupby(events, key=lambda event: (event.timestamp, isinstance(event, QualityChange))):
        run = [_level(event) for event in group]
        if switches and len(run) > 1:
            net = Counter(after for _, after in run)
            net.subtract(before for before, _ in run)
            left = [level for level, count in net.items() if count < 0]
            reached = [level for level, count in net.items() if count > 0]
            if len(left) == len(reached) == 1:
                run = [(left[0], reached[0])] * len(run)
            elif not left:
                run = [(_UNTOLD, _UNTOLD)] * len(run)  # round and back: the level stays what it was
        levels += run
    return levels


def _level(event: MediaEvent) -> tuple[_Level, _Level]:
    """(bitrate, resolution) before and after an event, as far as it tells."""
    if isinstance(event, QualityChange):
        data = event.data
        return (data.from_bitrate, data.from_resolution or None), (data.to_bitrate, data.to_resolution or None)
    if isinstance(event.data, PlaybackData):
        level = event.data.current_bitrate, event.data.current_resolution or None
        return level, level
    return _UNTOLD, _UNTOLD


def _step(event: QualityChange, bitrate: float | None, resolution: str | None) -> float:
    """Above 0 for a better level, below for a worse one; by bitrate, else by lines; 0 where it cannot be told."""
    old = event.data.from_bitrate if event.data.from_bitrate is not None else bitrate
    if old is not None and event.data.to_bitrate is not None:
        return event.data.to_bitrate - old
    before, after = _lines(event.data.from_resolution or resolution), _lines(event.data.to_resolution)
    return 0 if before is None or after is None else after - before


def _lines(resolution: str | None) -> int | None:
    """``720p`` and ``1280x720`` have 720 lines."""
    found = re.search(r"(?:^|x)(\d{1,5})p?\d*$", resolution or "")
    return int(found[1]) if found else None


def _bounded(seconds: dict[str, float]) -> dict[str, float]:
    """The ``MAX_LEVELS`` longest levels by name; what is left of a player that invents names goes to one more."""
    ranked = sorted(seconds.items(), key=lambda item: (-item[1], item[0]))
    kept = {name: round(length, 3) for name, length in sorted(ranked[:MAX_LEVELS]) if round(length, 3) > 0}
    rest = math.fsum(length for _, length in ranked[MAX_LEVELS:])
    if ranked[MAX_LEVELS:]:
        kept[OTHER_LEVELS] = round(kept.get(OTHER_LEVELS, 0.0) + rest, 3)
    return kept
