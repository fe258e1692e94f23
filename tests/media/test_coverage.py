"""Unique seconds against an enumeration of everything that may have been played, second by second."""

from __future__ import annotations

import datetime as dt
import itertools
from uuid import UUID

import hypothesis.strategies as st
import msgspec
from hypothesis import assume, given, settings

from pipelines.media import schema
from pipelines.media.aggregate import aggregate
from pipelines.media.coverage import Coverage, Interval, Jump, unique
from pipelines.media.events import ReceivedEvent
from tests.media.test_reference import STREAM_COUNT

TOTAL_S = 42
_SECOND = st.integers(0, TOTAL_S)
_INTERVALS = st.lists(st.tuples(_SECOND, _SECOND).map(lambda pair: (min(pair), max(pair))), max_size=6)
SESSION = UUID("550e8400-e29b-41d4-a716-446655440000")
BEGAN = dt.datetime(2026, 2, 16, 9, 3, tzinfo=dt.UTC)


def seconds_of(intervals: list[tuple[int, int]]) -> set[int]:
    return {second for low, high in intervals for second in range(low, high)}


@settings(max_examples=STREAM_COUNT, deadline=None)
@given(_INTERVALS, _INTERVALS)
def test_without_jumps_it_is_the_union(one: list[tuple[int, int]], two: list[tuple[int, int]]) -> None:
    coverages = [Coverage(sure=[(float(low), float(high)) for low, high in half]) for half in (one, two)]
    found = unique(coverages, float(TOTAL_S))
    assert (found.unique_s, found.error_s) == (len(seconds_of(one + two)), 0)


_JUMPS = st.lists(st.tuples(_SECOND, _SECOND, st.integers(0, 15)), min_size=1, max_size=3)


@settings(max_examples=STREAM_COUNT, deadline=None)
@given(_INTERVALS, _JUMPS)
def test_wherever_the_jumps_were_the_truth_is_within_the_bound(
    sure: list[tuple[int, int]], jumps: list[tuple[int, int, int]]
) -> None:
    """A jump from after ``start`` to before ``end``: some seconds of those played came before it, the rest after."""
    ways = []
    for start, end, played in jumps:
        pieces = [
            seconds_of([(start, start + before), (end - (played - before), end)])
            for before in range(played + 1)
            if start + before <= TOTAL_S and end - (played - before) >= 0
        ]
        assume(pieces)  # a counter that fits no video tells nothing
        ways.append(pieces)
    truths = [len(seconds_of(sure).union(*choice)) for choice in itertools.product(*ways)]
    covered: list[Interval] = [(float(low), float(high)) for low, high in sure]
    between = [Jump.between(float(a), float(b), float(d), True, float(TOTAL_S)) for a, b, d in jumps]
    found = unique([Coverage(covered, between)], float(TOTAL_S))
    assert found.unique_s - found.error_s <= min(truths)
    assert max(truths) <= found.unique_s + found.error_s
    assert found.unique_s + found.error_s <= TOTAL_S


_REPORTS = st.lists(st.tuples(_SECOND, st.integers(0, 12)), min_size=1, max_size=4)


@settings(max_examples=STREAM_COUNT, deadline=None)
@given(_REPORTS)
def test_positions_and_counters_bound_what_was_watched(reports: list[tuple[int, int]]) -> None:
    """Heartbeats alone, each with where the player is and how much it has played: everything it may have shown."""
    position, watched = 0, 0
    ways: list[list[set[int]]] = []
    received = [_told(schema.SessionStart, 0, schema.SessionStartData(total_duration_seconds=TOTAL_S))]
    for number, (target, played) in enumerate(reports, start=1):
        watched += played
        pieces = [
            seconds_of([(position, position + before), (target - (played - before), target)])
            for before in range(played + 1)
            if position + before <= TOTAL_S and target - (played - before) >= 0
        ]
        assume(pieces)
        # Within the players' whole seconds a small jump passes for playing on: then what lies between was played.
        if target >= position and abs(target - position - played) == 1:
            pieces = [seconds_of([(position, target)])]
        if target < position and abs(target - position + TOTAL_S - played) == 1:
            pieces = [seconds_of([(position, TOTAL_S), (0, target)])]
        ways.append(pieces)
        data = schema.PlaybackData(position_seconds=target, watched_duration_seconds=watched)
        received.append(_told(schema.Heartbeat, 13 * number, data))
        position = target
    received.append(_told(schema.SessionEnd, 13 * len(reports), schema.SessionEndData()))
    truths = [len(set[int]().union(*choice)) for choice in itertools.product(*ways)]
    (view,) = aggregate(received).views
    assert view.watched_seconds == watched
    assert view.unique_seconds is not None and view.unique_seconds_error is not None
    assert view.unique_seconds - view.unique_seconds_error <= min(truths)
    assert max(truths) <= view.unique_seconds + view.unique_seconds_error
    positions = [0, *(target for target, _ in reports)]
    if all(played == target - before for before, (target, played) in zip(positions, reports, strict=False)):
        assert (view.unique_seconds, view.unique_seconds_error) == (truths[0], 0), "nothing jumped"


def _told(kind: type[schema.MediaEvent], second: int, data: msgspec.Struct) -> ReceivedEvent:
    at = BEGAN + dt.timedelta(seconds=second)
    named = {"media_id": "squat", "media_type": "video"} if kind is schema.SessionStart else {}
    event = kind(session_id=SESSION, timestamp=at, data=data, **named)  # type: ignore[arg-type]
    return ReceivedEvent(event=event, received_at=at)
