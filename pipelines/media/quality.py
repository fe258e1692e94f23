"""What the picture was like while a view played: stalls, bitrate, resolution, switches.

Belongs here: figures of one view taken from its stall and quality events. Does not belong here: what was watched
(``played.py``), the player's own counters (``counters.py``).
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from pipelines.media.model import StallEvent
from pipelines.media.schema import BufferingEnd, BufferingStart, MediaEvent, PlaybackData, QualityChange
from pipelines.media.views import View

MAX_STALLS: Final = 1_000
MAX_STALL_MS: Final = 86_400_000
MAX_LEVELS: Final = 16
OTHER_LEVELS: Final = "other"
_MAX_OPEN_STALLS: Final = 8


@dataclass(frozen=True, slots=True)
class Quality:
    """Bitrate (bits a second) and resolution of one view, over seconds played. The mean bitrate is
    ``bits`` / ``bitrate_seconds``; ``bits`` is None where no bitrate was told.
    """

    bits: float | None
    bitrate_seconds: float | None
    quality_seconds: dict[str, float]
    upswitch_count: int
    downswitch_count: int
    oscillation_count: int


@dataclass(frozen=True, slots=True)
class Stalls:
    """The view's stalls in the order they began: at most ``MAX_STALLS`` rows of ``count``, of which ``ended_count``
    have a known length, together ``ended_ms``.
    """

    rows: list[StallEvent]
    count: int
    ended_count: int
    ended_ms: int


def stalls(view: View, ordinal: int) -> Stalls:
    """Every stall the view's events tell of.

    An end is matched by the duration it tells: to the open stall that began nearest to that long before; without one,
    to the stall begun last. An end whose start was lost is a stall of its own; one that tells no duration either began
    at its end, for all that is known.
    """
    found: list[_Stall] = []
    unended: list[_Stall] = []
    for event in view.events:
        if isinstance(event, BufferingStart):
            stall = _Stall(event.timestamp, event.data.position_seconds)
            found.append(stall)
            unended = [*unended[-_MAX_OPEN_STALLS + 1 :], stall]
        elif isinstance(event, BufferingEnd):
            told_ms = event.data.duration_ms
            if not unended:
                began_at = event.timestamp - dt.timedelta(milliseconds=told_ms or 0)
                found.append(_Stall(began_at, event.data.position_seconds, told_ms, True))
                continue
            stall = _ending(unended, event.timestamp, told_ms)
            unended.remove(stall)
            stall.end_seen = True
            stall.duration_ms = _believed(stall.since_ms(event.timestamp)) if told_ms is None else told_ms
    found.sort(key=lambda stall: stall.began_at)
    rows = [
        StallEvent(
            view_ordinal=ordinal,
            stall_number=number,
            began_at=stall.began_at,
            position_seconds=stall.position_seconds,
            duration_ms=None if stall.duration_ms is None else half_up(stall.duration_ms),
            end_seen=stall.end_seen,
        )
        for number, stall in enumerate(found, start=1)
    ]
    lengths = [row.duration_ms for row in rows if row.duration_ms is not None]
    return Stalls(rows[:MAX_STALLS], len(rows), len(lengths), sum(lengths))


@dataclass(slots=True, eq=False)
class _Stall:
    began_at: dt.datetime
    position_seconds: float | None
    duration_ms: float | None = None
    end_seen: bool = False

    def since_ms(self, at: dt.datetime) -> float:
        return (at - self.began_at) / dt.timedelta(milliseconds=1)


def _believed(duration_ms: float) -> float | None:
    """A length taken from a clock that may have jumped: unknown beyond what a player may tell."""
    return duration_ms if duration_ms <= MAX_STALL_MS else None


def _ending(unended: list[_Stall], at: dt.datetime, told_ms: float | None) -> _Stall:
    if told_ms is None:
        return unended[-1]
    return min(unended, key=lambda stall: abs(stall.since_ms(at) - told_ms))


def half_up(value: float) -> int:
    """The nearest integer, halves upwards."""
    return math.floor(value + 0.5)


def quality(view: View, played_s: Sequence[float]) -> Quality:
    """Bitrate and resolution, weighted by ``played_s``: seconds played between each two neighbouring events.

    A level holds from the report that tells it to the next; before the first report, the level a switch left or the
    first heartbeat tells. An oscillation is a switch whose direction is not that of the switch before.
    """
    levels = _levels(view.events)
    bitrate = next((before[0] for before, _ in levels if before[0] is not None), None)
    resolution = next((before[1] for before, _ in levels if before[1] is not None), None)
    bits: list[float] = []
    weights: list[float] = []
    seconds: dict[str, float] = {}
    ups = downs = reversals = 0
    direction = 0
    for index, event in enumerate(view.events):
        after = levels[index][1]
        if isinstance(event, QualityChange):
            step = _step(event, bitrate, resolution)
            ups, downs = ups + (step > 0), downs + (step < 0)
            if step:
                reversals += direction * step < 0
                direction = 1 if step > 0 else -1
        bitrate = after[0] if after[0] is not None else bitrate
        resolution = after[1] if after[1] is not None else resolution
        if index == len(played_s):
            break
        if bitrate is not None:
            bits.append(bitrate * played_s[index])
            weights.append(played_s[index])
        if resolution is not None and played_s[index] > 0:
            seconds[resolution] = seconds.get(resolution, 0.0) + played_s[index]
    return Quality(
        bits=math.fsum(bits) if weights else None,
        bitrate_seconds=math.fsum(weights) if weights else None,
        quality_seconds=_bounded(seconds),
        upswitch_count=ups,
        downswitch_count=downs,
        oscillation_count=reversals,
    )


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
