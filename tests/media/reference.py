"""What a session's events come to, worked out slowly and in plain sight: the figures' definitions read off
``docs/media-metrics.md``, over events as plain JSON.

Belongs here: figures that are exact. Does not belong here: unique seconds, which ``test_coverage.py`` holds to an
enumeration of everything that may have been played, and ``test_aggregate.py`` to a player whose truth is known.
Nothing of ``pipelines.media`` is used but an event's canonical JSON.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pipelines.media.events import ReceivedEvent, encode

COUNTERS = {
    "watched_duration_seconds": 0.001,
    "buffering_count": 0,
    "buffering_duration_ms": 1,
    "dropped_frames": 0,
    "total_frames": 0,
}
OPTIONAL = ("play", "pause", "seek", "error")

Json = dict[str, Any]


@dataclass
class Event:
    """One event: its JSON, its place on the clock in use, its receipt."""

    json: Json
    canonical: bytes
    at: dt.datetime
    received_at: dt.datetime

    @property
    def kind(self) -> str:
        return str(self.json["event"])

    @property
    def media(self) -> str | None:
        return self.json.get("media_id")

    @property
    def data(self) -> Json:
        data: Json = self.json.get("data", {})
        return data

    def tell(self, name: str) -> Any:  # noqa: ANN401  as JSON has it
        return self.data.get(name)


@dataclass
class View:
    media: str | None
    events: list[Event] = field(default_factory=list)

    def first(self, kind: str) -> Event | None:
        return next((event for event in self.events if event.kind == kind), None)

    def told(self) -> list[Event]:
        return [event for event in self.events if event.kind in ("heartbeat", "session_end")]


def read(received: list[ReceivedEvent]) -> list[Event]:
    return [
        Event(json.loads(encode(one.event)), encode(one.event), one.event.timestamp, one.received_at)
        for one in received
    ]


def same(one: Event, other: Event) -> bool:
    """(session, media, event, timestamp, position), and what tells apart several of a kind at one instant."""
    if (one.kind, one.media, one.at) != (other.kind, other.media, other.at):
        return False
    if one.kind == "session_start":
        return True
    if one.kind in ("seek", "quality_change"):
        return one.data == other.data
    if one.kind == "milestone" and one.tell("percent") != other.tell("percent"):
        return False
    if one.tell("position_seconds") is None and one.kind != "milestone":
        return one.data == other.data
    return bool(one.tell("position_seconds") == other.tell("position_seconds"))


def once(events: list[Event]) -> list[Event]:
    kept: list[Event] = []
    for event in sorted(events, key=lambda event: (event.received_at, event.canonical)):
        if not any(same(event, other) for other in kept):
            kept.append(event)
    return kept


def player_key(event: Event) -> tuple[dt.datetime, int, bytes]:
    rank = {"session_start": 0, "buffering_start": 2, "buffering_end": 3, "session_end": 4}.get(event.kind, 1)
    return event.at, rank, event.canonical


def restarts(view: View) -> list[list[Event]]:
    """The view's reports, cut wherever any counter is below what it was since the cut before."""
    pieces: list[list[Event]] = [[]]
    for event in view.told():
        for name, noise in COUNTERS.items():
            value, before = event.tell(name), [e.tell(name) for e in pieces[-1] if e.tell(name) is not None]
            if value is not None and before and value < max(before) - noise:
                pieces.append([])
                break
        pieces[-1].append(event)
    return pieces


def total(view: View, name: str) -> float | None:
    tops = [[e.tell(name) for e in piece if e.tell(name) is not None] for piece in restarts(view)]
    return sum(max(values) for values in tops if values) if any(tops) else None


def is_another_playing(event: Event, ended: View) -> bool:
    """A heartbeat after a view's end: any counter below its last; without a watched time in both, the position."""
    if event.kind != "heartbeat":
        return False
    latest = restarts(ended)[-1]
    for name, noise in COUNTERS.items():
        told = [e.tell(name) for e in latest if e.tell(name) is not None]
        if event.tell(name) is not None and told and event.tell(name) < max(told) - noise:
            return True
    watched = [e.tell("watched_duration_seconds") for e in ended.told()]
    if event.tell("watched_duration_seconds") is not None and any(value is not None for value in watched):
        return False
    positions = [e.tell("position_seconds") for e in ended.told() if e.tell("position_seconds") is not None]
    position = event.tell("position_seconds")
    return position is not None and bool(positions) and position < positions[-1] - 1.5


def split(events: list[Event]) -> tuple[list[View], int]:
    views: list[View] = []
    left_out = 0
    videos = {event.media for event in events} - {None}
    for event in events:
        mine: View | None = None
        if event.kind != "session_start":
            begun = views if event.media is None else [view for view in views if view.media == event.media]
            mine = begun[-1] if begun else None
        if mine is None:
            views.append(View(event.media, [event]))
        elif mine.first("session_end") is not None:
            if (event.media is not None or len(videos) < 2) and is_another_playing(event, mine):
                views.append(View(mine.media, [event]))
            else:
                left_out += 1
        else:
            mine.events.append(event)
    named = {view.media for view in views} - {None}
    for view in views:
        if view.media is None and len(named) == 1:
            view.media = next(iter(named))
    return views, left_out


def accidents(views: list[View], left_out: int) -> tuple[int, int]:
    lost, returns = left_out, 0
    for view in views:
        lost += view.first("session_start") is None
        lost += len(restarts(view)) - 1
        running, before = 0, 0.0
        for event in view.events:
            told = event.tell("to_seconds") if event.kind == "seek" else event.tell("position_seconds")
            if told is not None:
                returns += event.kind != "seek" and told < before
                before = told
            if event.kind == "buffering_start":
                running += 1
            if event.kind == "buffering_end" and running:
                running -= 1
            elif event.kind == "buffering_end":
                lost += 1
    return lost, returns


def ordered(events: list[Event]) -> list[View]:
    by_player, player_left_out = split(sorted(events, key=player_key))
    received = sorted(events, key=lambda event: (event.received_at, *player_key(event)))
    on = [Event(event.json, event.canonical, event.at, event.received_at) for event in received]
    for before, after, original, original_before in zip(on, on[1:], received[1:], received, strict=False):
        passed = original.at - original_before.at
        if passed < dt.timedelta(0):
            passed = original.received_at - original_before.received_at
        after.at = before.at + passed
    by_receipt, receipt_left_out = split(on)
    if accidents(by_receipt, receipt_left_out) < accidents(by_player, player_left_out):
        return by_receipt
    return by_player


def half_up(value: float) -> int:
    return math.floor(value + 0.5)


def length_s(view: View) -> float | None:
    start = view.first("session_start")
    if start is not None and start.tell("total_duration_seconds"):
        return float(start.tell("total_duration_seconds"))
    told = [
        (event.tell("completion_percent"), event.tell("position_seconds"))
        for event in view.told()
        if (event.tell("completion_percent") or 0) >= 1 and event.tell("position_seconds")
    ]
    return 100 * max(told)[1] / max(told)[0] if told else None


def stalls(view: View) -> list[Json]:
    found: list[Json] = []
    still_open: list[Json] = []
    for event in view.events:
        if event.kind == "buffering_start":
            stall = {"at": event.at, "position": event.tell("position_seconds"), "ms": None, "end_seen": False}
            found.append(stall)
            still_open.append(stall)
            del still_open[:-8]
        if event.kind != "buffering_end":
            continue
        told = event.tell("duration_ms")
        if not still_open:
            at = event.at - dt.timedelta(milliseconds=told or 0)
            found.append({"at": at, "position": event.tell("position_seconds"), "ms": told, "end_seen": True})
            continue
        gaps = [(event.at - stall["at"]) / dt.timedelta(milliseconds=1) for stall in still_open]
        nearest = len(gaps) - 1
        if told is not None:
            nearest = min(range(len(gaps)), key=lambda index: abs(gaps[index] - told))
        stall = still_open.pop(nearest)
        stall["end_seen"] = True
        stall["ms"] = told if told is not None else (gaps[nearest] if gaps[nearest] <= 86_400_000 else None)
    found.sort(key=lambda stall: stall["at"])
    for stall in found:
        stall["ms"] = None if stall["ms"] is None else half_up(stall["ms"])
    return found


def position(event: Event, total_s: float | None) -> float | None:
    if event.kind == "seek":
        return float(event.tell("from_seconds"))
    if event.kind == "session_start":
        return None
    told = event.tell("position_seconds")
    percent = event.tell("completion_percent")
    if told is None and percent is not None and total_s is not None:
        told = total_s * percent / 100
    if told is None or total_s is None:
        return None if told is None else float(told)
    return float(min(told, total_s))


def seconds_between(view: View, index: int, total_s: float | None) -> float:
    """Seconds played between an event and the next: by position where that is believable, else by the clock."""
    left, right = view.events[index], view.events[index + 1]
    until = view.events[: index + 1]
    last = {
        kind: max((i for i, e in enumerate(until) if e.kind == kind), default=-1)
        for kind in ("buffering_start", "buffering_end", "pause", "play")
    }
    halted = last["buffering_start"] > last["buffering_end"] or last["pause"] > last["play"]
    passed = (right.at - left.at).total_seconds()
    start = left.tell("to_seconds") if left.kind == "seek" else position(left, total_s)
    start = 0.0 if left.kind == "session_start" else start
    end = position(right, total_s)
    if start is not None and end is not None and 0 <= end - start <= passed + 1.5:
        played = end - start
    else:
        played = 0.0 if halted else passed
    return max(0.0, min(played, 86_400 if total_s is None else total_s))


def level(view: View, index: int, kind: str) -> Any:  # noqa: ANN401  a number or a word
    """The bitrate or resolution after an event: told by the latest that tells one; before any, by the first that tells
    what was before it."""
    for event in reversed(view.events[: index + 1]):
        told = event.tell(f"to_{kind}") if event.kind == "quality_change" else event.tell(f"current_{kind}")
        if told is not None and told != "":
            return told
    for event in view.events:
        told = event.tell(f"from_{kind}") if event.kind == "quality_change" else event.tell(f"current_{kind}")
        if told is not None and told != "":
            return told
    return None


def lines(resolution: str | None) -> int | None:
    digits = (resolution or "").removesuffix("p").split("x")[-1]
    return int(digits) if digits.isdigit() else None


def directions(view: View) -> list[int]:
    found = []
    for index, event in enumerate(view.events):
        if event.kind != "quality_change":
            continue
        earlier = index - 1  # the event before; -1 reads as "none yet"
        old, new = event.tell("from_bitrate"), event.tell("to_bitrate")
        old = level(view, earlier, "bitrate") if old is None else old
        if old is None or new is None:
            old = lines(event.tell("from_resolution") or level(view, earlier, "resolution"))
            new = lines(event.tell("to_resolution"))
        if old is not None and new is not None and old != new:
            found.append(1 if new > old else -1)
    return found


def figures(view: View, *, optional: bool) -> Json:
    """Every exact figure of a view; figures that need the played intervals are left out where nothing counted told."""
    start, end = view.first("session_start"), view.first("session_end")
    alone = start is not None and len(view.events) == 1
    rows = stalls(view)
    watched = total(view, "watched_duration_seconds")
    counted, counted_ms = total(view, "buffering_count"), total(view, "buffering_duration_ms")
    stall_count = max(len(rows), int(counted or 0))
    lengths = [row["ms"] for row in rows if row["ms"] is not None]
    stall_ms: int | None = sum(lengths)
    if counted_ms is not None:
        stall_ms = max(sum(lengths), half_up(counted_ms))
    elif len(lengths) != stall_count:
        stall_ms = None
    told_end = None if end is None else end.tell("completed")
    reached = [e.tell("percent") for e in view.events if e.kind == "milestone"]
    percents = [e.tell("completion_percent") for e in view.told() if e.tell("completion_percent") is not None]
    completed = told_end
    if completed is None:
        completed = True if max([0, *reached, *percents]) >= 95 else (None if end is None else False)
    errors = [event for event in view.events if event.kind == "error"]
    found: Json = {
        "media_id": view.media or "unknown",
        "media_type": next((e.json["media_type"] for e in view.events if "media_type" in e.json), None),
        "began_at": view.events[0].at,
        "ended_at": None if end is None else end.at,
        "startup_ms": None
        if start is None or start.tell("video_load_time_ms") is None
        else half_up(start.tell("video_load_time_ms")),
        "completed": completed,
        "milestone_percent": max(reached, default=None),
        "stall_count": None if alone else stall_count,
        "stall_ms": None if alone else stall_ms,
        "dropped_frames": total(view, "dropped_frames"),
        "total_frames": total(view, "total_frames"),
        "restart_count": None if alone else len(restarts(view)) - 1,
        "error_count": len(errors) if optional else None,
    }
    started = any(event.kind in ("play", "milestone") or event.tell("total_frames") for event in view.events)
    if watched is not None:
        found["watched_seconds"] = round(watched, 3)
        found["played_ms"] = None if alone or stall_ms is None else half_up(watched * 1000) + stall_ms
    if watched is not None or started:
        chosen = None if end is None or not optional else not any(e.tell("fatal") is not False for e in errors)
        found["exit_before_start"] = False if started or watched else chosen
    at_once = any(
        one.kind == other.kind == "quality_change" and one.at == other.at
        for one, other in zip(view.events, view.events[1:], strict=False)
    )
    return found if at_once else found | _picture(view, alone)


def _picture(view: View, alone: bool) -> Json:
    total_s = length_s(view)
    seconds: dict[str, float] = {}
    bits, bitrate_s, known = 0.0, 0.0, False
    for index in range(len(view.events) - 1):
        played = seconds_between(view, index, total_s)
        bitrate, resolution = level(view, index, "bitrate"), level(view, index, "resolution")
        if bitrate is not None:
            known, bits, bitrate_s = True, bits + bitrate * played, bitrate_s + played
        if resolution is not None:
            seconds[resolution] = seconds.get(resolution, 0) + played
    ways = directions(view)
    return {
        "quality_seconds": {name: round(length, 3) for name, length in seconds.items() if round(length, 3) > 0},
        "bitrate_bits": half_up(bits) if known else None,
        "bitrate_seconds": round(bitrate_s, 3) if known else None,
        "mean_bitrate": half_up(bits / bitrate_s) if known and bitrate_s > 0 else None,
        "upswitch_count": None if alone else ways.count(1),
        "downswitch_count": None if alone else ways.count(-1),
        "oscillation_count": None if alone else sum(one != other for one, other in pairwise(ways)),
    }


def reference(received: list[ReceivedEvent]) -> tuple[list[Json], list[Json], int]:
    """(figures of each view, every stall with its view, distinct events)."""
    events = once(read(received))
    optional = any(event.kind in OPTIONAL for event in events)
    views = ordered(events)
    rows = [
        {"view_ordinal": ordinal, "stall_number": number, **stall}
        for ordinal, view in enumerate(views, start=1)
        for number, stall in enumerate(stalls(view), start=1)
    ]
    return [figures(view, optional=optional) for view in views], rows, len(events)
