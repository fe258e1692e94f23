"""What must not change the figures: how deliveries came, how often a player reports, what its clock says."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from itertools import pairwise
from uuid import UUID

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import assume, example, given, settings

from pipelines.media import schema
from pipelines.media.aggregate import aggregate
from pipelines.media.events import ReceivedEvent, encode
from pipelines.media.identity import identity
from pipelines.media.model import MediaSummary
from pipelines.simulate import video
from pipelines.simulate.video import Pause, Play, Seek, Stall, Switch, Video
from tests.media.streams import STREAMS

SESSION = UUID("550e8400-e29b-41d4-a716-446655440000")
BEGAN = dt.datetime(2026, 2, 16, 9, 3, tzinfo=dt.UTC)
_TENTHS = st.integers(1, 150).map(lambda tenths: tenths / 10)
_ACTIONS = st.one_of(
    _TENTHS.map(Play),
    _TENTHS.map(Play),
    st.integers(50, 3000).map(lambda ms: Stall(ms / 1000)),
    _TENTHS.map(Pause),
    st.sampled_from([0, 1, 2]).map(Switch),
)
# A little is played between any two accidents: two stalls in one instant cannot be told apart.
SCRIPTS = st.lists(_ACTIONS, min_size=2, max_size=6).map(lambda script: [a for b in script for a in (b, Play(0.3))])


def received(events: Sequence[schema.MediaEvent]) -> list[ReceivedEvent]:
    """Each event sent by itself as it happens: received in its turn."""
    latency = dt.timedelta(seconds=0.2)
    turns = [dt.timedelta(milliseconds=turn) for turn in range(len(events))]
    return [
        ReceivedEvent(event=event, received_at=event.timestamp + latency + turn)
        for event, turn in zip(events, turns, strict=True)
    ]


def show(
    script: Sequence[video.Action], *, optional: bool = True, ends: bool = True, total_s: float = 42.0
) -> list[schema.MediaEvent]:
    return Video(SESSION, "squat", BEGAN, total_s, optional_events=optional).watch(script, ends=ends).events


def assert_alike(found: MediaSummary, wanted: MediaSummary, within_s: float = 0.005) -> None:
    """The same figures but for when they happened, which is the player's clock whatever it says; seconds played to
    within ``within_s``, as clocks and receipts are a little apart."""
    assert len(found.views) == len(wanted.views)
    for one, other in zip(found.views, wanted.views, strict=True):
        expected = msgspec.structs.asdict(other)
        for name, value in msgspec.structs.asdict(one).items():
            if name in ("began_at", "ended_at"):
                assert (value is None) == (expected[name] is None)
                continue
            close: object = expected[name]
            if isinstance(close, float | dict) or name == "bitrate_bits":
                scale = 5_000_000 if name in ("bitrate_bits", "mean_bitrate") else 1
                close = pytest.approx(close, abs=scale * within_s)
            assert value == close, name
    assert [s.duration_ms for s in found.stalls] == [s.duration_ms for s in wanted.stalls]
    assert [s.position_seconds for s in found.stalls] == [s.position_seconds for s in wanted.stalls]
    assert found.watch_percentage == pytest.approx(wanted.watch_percentage, abs=0.01)


@settings(max_examples=150, deadline=None)
@given(STREAMS, st.randoms(use_true_random=False))
def test_shuffling_and_repeating_deliveries_changes_nothing(
    deliveries: list[ReceivedEvent], chance: random.Random
) -> None:
    once = aggregate(deliveries)
    later = (
        [
            ReceivedEvent(event=one.event, received_at=one.received_at + dt.timedelta(days=1))
            for one in chance.choices(deliveries, k=len(deliveries))
        ]
        if deliveries
        else []
    )
    again = [*deliveries, *later]
    chance.shuffle(again)
    assert aggregate(again) == once


@settings(max_examples=100, deadline=None)
@given(SCRIPTS, st.randoms(use_true_random=False), st.booleans())
def test_a_clean_session_does_not_care_when_its_events_arrive(
    script: list[video.Action], chance: random.Random, optional: bool
) -> None:
    events = show(script, optional=optional)
    once = aggregate(received(events))
    late = [
        ReceivedEvent(event=event, received_at=BEGAN + dt.timedelta(seconds=chance.uniform(0, 9000)))
        for event in events
    ]
    assert aggregate(late) == once


@settings(max_examples=150, deadline=None)
@given(SCRIPTS, st.integers(1, 99), st.booleans(), st.booleans())
@example([Play(0.1), Play(0.3), Play(4.3), Play(0.3)], 1, False, True)  # the last report and the end in one instant
def test_splitting_a_heartbeat_changes_nothing(
    script: list[video.Action], percent: int, optional: bool, ends: bool
) -> None:
    """One more report between two events, telling what the player would have told then."""
    events = show([Play(25), *script], optional=optional, ends=ends, total_s=120)
    assume(len({identity(event) for event in events}) == len(events))
    playing = [
        index
        for index, (left, right) in enumerate(pairwise(events))
        if isinstance(left, schema.Heartbeat)
        and isinstance(right, schema.Heartbeat | schema.SessionEnd)
        and right.timestamp - left.timestamp > dt.timedelta(milliseconds=1)  # else what is put between is the left one
        and right.data.position_seconds - left.data.position_seconds  # type: ignore[operator]
        == pytest.approx((right.timestamp - left.timestamp).total_seconds())
    ]
    assert playing
    once, parted = aggregate(received(events)), list(events)
    for index in reversed(playing):
        left, right = events[index], events[index + 1]
        share = percent / 100
        figures = {name: getattr(left.data, name) for name in schema.PlaybackData.__struct_fields__}
        for name in ("position_seconds", "watched_duration_seconds", "completion_percent"):
            figures[name] += share * (getattr(right.data, name) - figures[name])
        for name in ("dropped_frames", "total_frames"):
            figures[name] += int(share * (getattr(right.data, name) - figures[name]))
        between = schema.Heartbeat(
            session_id=SESSION,
            timestamp=left.timestamp + share * (right.timestamp - left.timestamp),
            data=schema.PlaybackData(**figures),
        )
        parted.insert(index + 1, between)
    found = aggregate(received(parted))
    assert found.event_count == once.event_count + len(playing)
    assert_alike(found, once)


@settings(max_examples=100, deadline=None)
@given(SCRIPTS, st.integers(-40 * 365 * 86_400, 40 * 365 * 86_400), st.booleans())
def test_a_clock_that_is_wrong_all_along_changes_only_the_times(
    script: list[video.Action], wrong_s: int, optional: bool
) -> None:
    deliveries = received(show(script, optional=optional))
    moved = [_at(one, one.event.timestamp + dt.timedelta(seconds=wrong_s)) for one in deliveries]
    assert_alike(aggregate(moved), aggregate(deliveries), within_s=0.1)


@settings(max_examples=150, deadline=None)
@given(st.data(), SCRIPTS, st.sampled_from([[], [Seek(5), Play(3)]]), st.integers(20, 7 * 86_400), st.booleans())
def test_a_clock_set_back_in_mid_view_changes_only_the_times(
    data: st.DataObject, script: list[video.Action], jump: list[video.Action], back_s: int, optional: bool
) -> None:
    deliveries = received(show([*script, *jump], optional=optional))
    cut = data.draw(st.integers(1, len(deliveries) - 1))
    back = dt.timedelta(seconds=back_s)
    assume(deliveries[-1].event.timestamp - BEGAN < back)  # else both parts interleave: see the next test
    moved = [*deliveries[:cut], *(_at(d, d.event.timestamp - back) for d in deliveries[cut:])]
    assert_alike(aggregate(moved), aggregate(deliveries), within_s=0.1)


@pytest.mark.parametrize("back_s", [1, 3, 7, 12, 15, 25])
def test_a_clock_set_back_by_less_than_the_view_keeps_what_was_watched(back_s: int) -> None:
    events = show([Play(12), Stall(0.5), Play(30)], optional=False)
    once = aggregate(received(events)).views[0]
    for cut in range(1, len(events)):
        moved = [
            _at(one, one.event.timestamp - dt.timedelta(seconds=back_s if index >= cut else 0))
            for index, one in enumerate(received(events))
        ]
        (view,) = aggregate(moved).views
        assert (view.watched_seconds, view.unique_seconds, view.unique_seconds_error) == (42, 42, 0)
        assert (view.stall_count, view.stall_ms, view.completed) == (once.stall_count, once.stall_ms, True)
        assert (view.dropped_frames, view.total_frames) == (once.dropped_frames, once.total_frames)


@settings(max_examples=100, deadline=None)
@given(st.data(), SCRIPTS, st.integers(1, 10 * 365 * 86_400), st.booleans())
def test_a_clock_set_forward_in_mid_view_changes_only_the_times(
    data: st.DataObject, script: list[video.Action], forward_s: int, optional: bool
) -> None:
    deliveries = received(show(script, optional=optional))
    cut = data.draw(st.integers(1, len(deliveries) - 1))
    jump = dt.timedelta(seconds=forward_s)
    moved = [*deliveries[:cut], *(_at(d, d.event.timestamp + jump) for d in deliveries[cut:])]
    assert_alike(aggregate(moved), aggregate(deliveries), within_s=0.1)


def _at(one: ReceivedEvent, timestamp: dt.datetime) -> ReceivedEvent:
    """The same event, received at the same time, stamped by another clock."""
    return msgspec.structs.replace(one, event=msgspec.structs.replace(one.event, timestamp=timestamp))


@settings(max_examples=200, deadline=None)
@given(STREAMS, st.sampled_from([1, 10**4, 10**9]), st.integers(0, 10**9))
def test_whatever_a_player_tells_fits_where_it_is_stored(
    deliveries: list[ReceivedEvent], scale: int, apart_s: int
) -> None:
    """Integer and numeric columns have a bound; a result beyond it could never be applied."""
    wild = [_wild(one, index, scale, apart_s) for index, one in enumerate(deliveries)]
    summary = aggregate(wild)
    for view in summary.views:
        integers = (view.startup_ms, view.ttfb_ms, view.stall_count, view.upswitch_count, view.restart_count)
        assert all(value is None or 0 <= value < 2**31 for value in integers)
        longs = (view.stall_ms, view.played_ms, view.dropped_frames, view.total_frames)
        assert all(value is None or 0 <= value < 2**63 for value in longs)
        seconds = (view.total_duration_seconds, view.watched_seconds, view.unique_seconds, view.unique_seconds_error)
        assert all(value is None or 0 <= value < 10**7 for value in seconds)
        assert view.watch_percentage is None or 0 <= view.watch_percentage <= 100
        assert view.mean_bitrate is None or 0 <= view.mean_bitrate < 10**13
        assert view.bitrate_bits is None or 0 <= view.bitrate_bits < 10**24
        assert view.bitrate_seconds is None or 0 <= view.bitrate_seconds < 10**10
    for stall in summary.stalls:
        assert stall.duration_ms is None or 0 <= stall.duration_ms < 2**31
        assert stall.position_seconds is None or 0 <= stall.position_seconds < 10**7


def _wild(one: ReceivedEvent, index: int, scale: int, apart_s: int) -> ReceivedEvent:
    """Numbers up to the schema's own bounds, on a clock that leaps decades."""
    body = msgspec.json.decode(encode(one.event))
    bounds = {"_seconds": 86_400, "_ms": 86_400_000, "count": 2**31 - 1, "frames": 2**31 - 1, "bitrate": 10**10}
    for name, value in body.get("data", {}).items():
        for ending, most in bounds.items():
            if name.endswith(ending) and isinstance(value, int | float):
                body["data"][name] = min(value * scale, most)
    at = dt.datetime(2000, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=index * apart_s % 3_000_000_000)
    body["timestamp"] = at.isoformat()
    return ReceivedEvent(event=msgspec.convert(body, schema.MediaEvent), received_at=one.received_at)
