"""Engagement and quality of experience, against a player whose every second is known."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import assume, given, settings

from pipelines.media import schema
from pipelines.media.aggregate import ReceivedEvent, aggregate
from pipelines.media.counters import Counters
from pipelines.media.events import encode
from pipelines.media.identity import distinct
from pipelines.media.model import ViewMetrics
from pipelines.media.views import MAX_VIEWS
from pipelines.simulate import video
from pipelines.simulate.video import Pause, Play, Seek, Stall, Switch, Video

SESSION = UUID("550e8400-e29b-41d4-a716-446655440000")
BEGAN = dt.datetime(2026, 2, 16, 9, 3, tzinfo=dt.UTC)


def at(seconds: float) -> dt.datetime:
    return BEGAN + dt.timedelta(seconds=seconds)


def received(events: Sequence[schema.MediaEvent], delay_s: float = 0.2) -> list[ReceivedEvent]:
    return [ReceivedEvent(event=e, received_at=e.timestamp + dt.timedelta(seconds=delay_s)) for e in events]


def make(kind: str, seconds: float, data: dict[str, Any] | None = None, **fields: object) -> schema.MediaEvent:
    if kind == "session_start":
        fields = {"media_id": "squat", "media_type": "video", **fields}
    body = {"event": kind, "session_id": str(SESSION), "timestamp": at(seconds).isoformat(), **fields}
    event: schema.MediaEvent = msgspec.convert(body if data is None else {**body, "data": data}, schema.MediaEvent)
    return event


def only_view(events: Sequence[schema.MediaEvent]) -> ViewMetrics:
    (view,) = aggregate(received(events)).views
    return view


def play(*script: video.Action, total_s: float = 60.0, optional: bool = True, ends: bool = True) -> video.Showing:
    return Video(SESSION, "squat", BEGAN, total_s, optional_events=optional).watch(script, ends=ends)


def covered_s(intervals: list[tuple[float, float]]) -> float:
    total, reach = 0.0, 0.0
    for low, high in sorted(intervals):
        total += max(0.0, high - max(low, reach))
        reach = max(reach, high)
    return total


def test_a_video_watched_to_its_end() -> None:
    view = only_view(play(Play(100), total_s=42, optional=False).events)
    assert view.media_id == "squat"
    assert view.media_type == "video"
    assert (view.began_at, view.ended_at) == (BEGAN, at(42))
    assert view.startup_ms == 900
    assert view.ttfb_ms == 270
    assert view.watched_seconds == view.unique_seconds == 42
    assert view.unique_seconds_error == 0
    assert view.watch_percentage == 100
    assert view.completed is True
    assert view.milestone_percent == 95
    assert (view.stall_count, view.stall_ms, view.played_ms) == (0, 0, 42_000)
    assert view.mean_bitrate == 2_500_000
    assert view.quality_seconds == {"720p": 42}
    assert (view.upswitch_count, view.downswitch_count) == (0, 0)
    assert (view.dropped_frames, view.total_frames) == (3, 1050)
    assert view.exit_before_start is False
    assert view.error_count is None, "a player that tells no optional event may have failed unheard"


def test_stalls_switches_and_pauses() -> None:
    view = only_view(
        play(Play(8), Stall(1.5), Play(4), Switch(2), Play(10), Pause(20), Switch(0), Stall(0.25), Play(18)).events
    )
    assert (view.stall_count, view.stall_ms, view.played_ms) == (2, 1750, 41_750)
    assert view.quality_seconds == {"720p": 12, "1080p": 10, "480p": 18}
    assert view.mean_bitrate == (12 * 2_500_000 + 10 * 5_000_000 + 18 * 800_000) / 40
    assert (view.upswitch_count, view.downswitch_count) == (1, 1)
    assert view.watched_seconds == 40
    assert view.completed is False
    assert view.milestone_percent == 50
    assert view.error_count == 0


def test_every_stall_is_a_row() -> None:
    showing = play(Play(8), Stall(1.5), Play(4), Stall(0.25), Play(3))
    first, second = aggregate(received(showing.events)).stalls
    assert (first.view_ordinal, first.stall_number, first.began_at) == (1, 1, at(8))
    assert (first.position_seconds, first.duration_ms) == (8, 1500)
    assert (second.stall_number, second.position_seconds, second.duration_ms) == (2, 12, 250)


def test_switches_of_one_instant_chain_up() -> None:
    view = only_view(play(Switch(0), Switch(2), Switch(0), Play(10), Switch(2), Switch(1), Play(20)).events)
    assert view.quality_seconds == {"480p": 10, "720p": 20}
    assert (view.upswitch_count, view.downswitch_count) == (2, 3)


def test_a_stall_whose_end_is_missing_has_no_duration() -> None:
    events = [make("session_start", 0), make("buffering_start", 5, {"position_seconds": 5})]
    summary = aggregate(received(events))
    assert summary.stalls[0].duration_ms is None
    assert summary.views[0].stall_count == 1
    assert summary.views[0].stall_ms is None


def test_the_counters_know_of_stalls_whose_events_were_lost() -> None:
    data = {"position_seconds": 9, "watched_duration_seconds": 9, "buffering_count": 3, "buffering_duration_ms": 1000}
    view = only_view([make("session_start", 0), make("heartbeat", 10, data)])
    assert (view.stall_count, view.stall_ms) == (3, 1000)


def test_stalls_told_in_whole_seconds_are_matched_by_duration() -> None:
    events = [
        make("session_start", 0),
        make("buffering_start", 2),
        make("buffering_end", 5, {"duration_ms": 3000}),
        make("buffering_start", 5),
        make("buffering_end", 5, {"duration_ms": 120}),
    ]
    assert [stall.duration_ms for stall in aggregate(received(events)).stalls] == [3000, 120]


def test_an_end_whose_start_was_lost_is_a_stall() -> None:
    (stall,) = aggregate(received([make("session_start", 0), make("buffering_end", 9, {"duration_ms": 2000})])).stalls
    assert (stall.began_at, stall.duration_ms) == (at(7), 2000)


def test_parts_seen_twice_count_once_for_the_unique_seconds() -> None:
    view = only_view(play(Play(30), Seek(10), Play(30)).events)
    assert view.watched_seconds == 60
    assert view.unique_seconds == 40
    assert view.unique_seconds_error == 0
    assert view.watch_percentage == 66.67


def test_an_untold_jump_widens_the_error() -> None:
    view = only_view(play(Play(13), Seek(40), Play(20), optional=False).events)
    assert view.watched_seconds == 33
    assert view.unique_seconds is not None
    assert view.unique_seconds_error is not None
    assert abs(view.unique_seconds - 33) <= view.unique_seconds_error <= 5


def test_a_looped_video_is_seen_whole() -> None:
    events = [make("session_start", 0, {"total_duration_seconds": 42})]
    for seconds in range(10, 130, 10):
        data = {"position_seconds": seconds % 42, "watched_duration_seconds": seconds}
        events.append(make("heartbeat", seconds, data))
    view = only_view([*events, make("session_end", 120, {"position_seconds": 36, "watched_duration_seconds": 120})])
    assert view.watched_seconds == 120
    assert view.unique_seconds == 42
    assert view.watch_percentage == 100


def test_a_view_that_never_ended_may_have_gone_on_for_one_heartbeat() -> None:
    view = only_view(play(Play(25), ends=False).events)
    assert view.ended_at is None
    assert view.unique_seconds == 20
    assert view.unique_seconds_error == 10
    assert view.completed is None
    assert view.exit_before_start is False


def test_what_nobody_told_is_unknown() -> None:
    view = only_view([make("session_start", 0)])
    known = {"media_id", "ordinal", "media_type", "began_at", "quality_seconds"}  # all else only a later event tells
    assert {name for name, value in msgspec.structs.asdict(view).items() if value is not None} == known
    assert view.quality_seconds == {}


def test_no_events() -> None:
    summary = aggregate([])
    assert (summary.views, summary.stalls, summary.watch_percentage) == ((), (), None)
    assert summary.event_count == 0


def test_a_lost_session_start_loses_only_what_it_told() -> None:
    view = only_view(play(Play(60), total_s=60).events[1:])
    assert view.media_id == "unknown"
    assert view.startup_ms is None
    assert view.total_duration_seconds == 60
    assert view.watch_percentage == 100


def test_a_view_nobody_named_is_of_the_only_video_named() -> None:
    first = play(Play(20)).events[1:]
    second = Video(SESSION, "squat", at(100), 60).watch([Play(10)]).events
    assert [view.media_id for view in aggregate(received([*first, *second])).views] == ["squat", "squat"]


def test_left_before_the_first_frame_or_failed() -> None:
    start, end = (
        make("session_start", 0),
        make("session_end", 3, {"position_seconds": 0, "watched_duration_seconds": 0}),
    )
    fatal = make("error", 2, {"code": "MEDIA_ERR_DECODE", "fatal": True})
    harmless = make("error", 2, {"code": "cue", "fatal": False})
    assert only_view([start, end]).exit_before_start is None
    failed = only_view([start, fatal, end])
    assert (failed.exit_before_start, failed.error_count, failed.watched_seconds) == (False, 1, 0)
    left = only_view([start, harmless, end])
    assert (left.exit_before_start, left.error_count) == (True, 1)


@pytest.mark.parametrize(("frames", "left"), [(750, False), (0, True)])
def test_who_was_shown_frames_did_not_leave_before_them(frames: int, left: bool) -> None:
    events = [
        make("session_start", 0),
        make("pause", 2),
        make("heartbeat", 10, {"total_frames": frames}),
        make("session_end", 12),
    ]
    assert only_view(events).exit_before_start is left


def test_two_views_of_one_video_and_the_better_one_is_the_exercises() -> None:
    first = play(Play(30)).events
    second = Video(SESSION, "squat", at(60), 60).watch([Play(45)]).events
    summary = aggregate(received([*first, *second]))
    assert [(view.ordinal, view.watch_percentage) for view in summary.views] == [(1, 50.0), (2, 75.0)]
    assert summary.watch_percentage == 75
    assert summary.event_count == len(first) + len(second)


def test_an_event_that_names_its_video_goes_to_it() -> None:
    events = [
        make("session_start", 0, media_id="a"),
        make("session_start", 1, media_id="b"),
        make("milestone", 9, {"percent": 25}, media_id="a"),
        make("milestone", 9, {"percent": 50}),
    ]
    assert [view.milestone_percent for view in aggregate(received(events)).views] == [25, 50]


def test_nothing_is_added_to_a_view_after_its_end() -> None:
    events = play(Play(30)).events
    late = make("heartbeat", 500, {"position_seconds": 59, "watched_duration_seconds": 59})
    assert only_view([*events, late]) == only_view(events)


def heartbeat(seconds: float, media_id: str | None = None, **data: float) -> schema.MediaEvent:
    return make("heartbeat", seconds, data, **({} if media_id is None else {"media_id": media_id}))


def test_a_lost_session_start_after_an_end_loses_only_what_it_told() -> None:
    first = play(Play(21), total_s=42, optional=False).events
    again = Video(SESSION, "squat", at(60), 42, optional_events=False).watch([Play(15), Stall(4), Play(27)]).events
    whole, headless = aggregate(received([*first, *again])), aggregate(received([*first, *again[1:]]))
    assert [view.watch_percentage for view in headless.views] == [50, 100]
    second = headless.views[1]
    assert (second.media_id, second.began_at, second.ended_at) == ("squat", at(70), at(106))
    assert (second.completed, second.watched_seconds, second.unique_seconds_error) == (True, 42, 0)
    assert (second.stall_count, second.stall_ms, second.startup_ms) == (1, 4000, None)
    assert headless.watch_percentage == whole.watch_percentage == 100
    assert headless.stalls == whole.stalls


@pytest.mark.parametrize("after_s", [1, 40, 5000])
def test_a_heartbeat_delivered_after_its_views_end_opens_no_other(after_s: float) -> None:
    """Order is by the player's stamps: only what is stamped after the end can be another playing."""
    events = play(Play(30), total_s=42).events
    beats = [event for event in events if isinstance(event, schema.Heartbeat)]
    assert len(beats) == 3
    late = [
        ReceivedEvent(event=event, received_at=events[-1].timestamp + dt.timedelta(seconds=after_s)) for event in beats
    ]
    on_time = received([event for event in events if event not in beats])
    assert aggregate([*on_time, *late]) == aggregate([*received(events), *late]) == aggregate(received(events))


@given(st.randoms(use_true_random=False))
def test_a_second_view_without_a_beginning_does_not_care_when_its_events_arrive(rng: random.Random) -> None:
    first = play(Play(21), Stall(1), Play(10), total_s=42).events
    again = Video(SESSION, "squat", at(60), 42).watch([Play(15), Stall(4), Play(27)]).events[2:]  # nor its first play
    events = [*first, *again]
    late = [ReceivedEvent(event=event, received_at=at(rng.uniform(0, 9000))) for event in events]
    assert aggregate(late) == aggregate(received(events))
    assert [view.watched_seconds for view in aggregate(late).views] == [31, 42]


END = {"position_seconds": 21, "watched_duration_seconds": 21, "total_frames": 500}


@pytest.mark.parametrize(
    ("told", "views"),
    [
        ({"position_seconds": 10, "watched_duration_seconds": 10}, 2),
        ({"position_seconds": 31, "watched_duration_seconds": 10}, 2),
        ({"position_seconds": 31, "total_frames": 250}, 2),
        ({"position_seconds": 10}, 2),
        # The player went on, or looped, after it said it was over; or told once more what it had told.
        ({"position_seconds": 31, "watched_duration_seconds": 31}, 1),
        ({"position_seconds": 2, "watched_duration_seconds": 31}, 1),
        ({"position_seconds": 20.9}, 1),
        ({"position_seconds": 31}, 1),
        (END, 1),
        ({}, 1),
    ],
)
def test_what_is_another_playing_after_an_end(told: dict[str, float], views: int) -> None:
    events = [make("session_start", 0), make("session_end", 21, END)]
    assert len(aggregate(received([*events, heartbeat(31, None, **told)])).views) == views
    # Of two videos, a heartbeat that names none is of nobody knows which; one that names its own is of that.
    several = [make("session_start", -60, media_id="a"), make("session_end", -50, END, media_id="a"), *events]
    assert len(aggregate(received([*several, heartbeat(31, None, **told)])).views) == 2
    summary = aggregate(received([*several, heartbeat(31, "a", **told)]))
    assert [view.media_id for view in summary.views] == ["a", "squat", "a"][: views + 1]


def test_nothing_but_a_heartbeat_tells_of_another_playing() -> None:
    events = [make("session_start", 0), make("session_end", 21, END)]
    twice = make("session_end", 31, {"position_seconds": 0, "watched_duration_seconds": 0})
    assert only_view([*events, twice, make("milestone", 32, {"percent": 25})]) == only_view(events)


def test_a_player_that_invents_videos_and_levels_is_bounded() -> None:
    events = [make("session_start", n, media_id=f"v{n}") for n in range(MAX_VIEWS + 5)]
    assert len(aggregate(received(events)).views) == MAX_VIEWS
    events = [make("session_start", 0)]
    for n in range(1, 40):
        events.append(make("heartbeat", n, {"position_seconds": n, "current_resolution": f"{n}p"}))
    view = only_view(events)
    assert len(view.quality_seconds) == 17
    assert sum(view.quality_seconds.values()) == pytest.approx(39)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], (None, None, 0)),
        ([(None, None)], (None, None, 0)),
        ([(2, 100), (5, 200)], (5, 200, 0)),
        ([(2, 100), (5, 200), (1, 50), (2, 90)], (7, 290, 1)),
        ([(2, 100), (3, 50)], (5, 150, 1)),
        ([(2, None), (None, 10), (4, 20)], (4, 20, 0)),
        ([(0, 100), (0, 10), (0, 5)], (0, 115, 2)),
    ],
)
def test_counters_may_begin_again(
    rows: list[tuple[int | None, int | None]], expected: tuple[int | None, int | None, int]
) -> None:
    counters = Counters()
    for dropped, frames in rows:
        counters.read(make("heartbeat", 0, {"dropped_frames": dropped, "total_frames": frames}))
    assert (counters.dropped_frames, counters.total_frames, counters.restart_count) == expected


def test_float_noise_is_no_restart() -> None:
    counters = Counters()
    for watched in (29.5, 29.5 - 1e-9, 30.0):
        assert not counters.read(make("heartbeat", 0, {"watched_duration_seconds": watched}))
    assert counters.watched_s == 30.0


SECONDS = st.integers(1, 200).map(lambda tenths: tenths / 10)
ACTIONS = st.one_of(
    SECONDS.map(Play),
    SECONDS.map(Play),
    st.integers(50, 3000).map(lambda ms: Stall(ms / 1000)),
    SECONDS.map(Pause),
    st.sampled_from([0, 1, 2]).map(Switch),
)
SCRIPTS = st.lists(ACTIONS, max_size=12)


@given(SCRIPTS, st.booleans(), st.booleans())
def test_without_jumps_every_figure_is_exact(script: list[video.Action], optional: bool, ends: bool) -> None:
    showing = play(*script, optional=optional, ends=ends)
    (view,) = (summary := aggregate(received(showing.events))).views
    # Two switches alike at one instant are what a repeated delivery looks like.
    assume(len({encode(event) for event in showing.events}) == len(showing.events))
    if not ends:
        return
    assert view.watched_seconds == pytest.approx(showing.watched_s, abs=2e-3)
    assert view.unique_seconds == pytest.approx(covered_s(showing.intervals), abs=2e-3)
    assert view.unique_seconds_error == 0
    assert view.stall_count == len(showing.stalls_s)
    assert view.stall_ms == pytest.approx(1000 * sum(showing.stalls_s), abs=len(showing.stalls_s) + 1)
    assert [stall.duration_ms for stall in summary.stalls] == [pytest.approx(1000 * s, abs=1) for s in showing.stalls_s]
    told = {name: seconds for name, seconds in showing.level_seconds.items() if seconds > 1e-3}
    assert view.quality_seconds == {name: pytest.approx(seconds, abs=5e-3) for name, seconds in told.items()}


@given(SCRIPTS, st.integers(0, 600).map(lambda tenths: Seek(tenths / 10)), SCRIPTS, st.booleans(), st.booleans())
def test_the_truth_is_within_the_error_bound(
    before: list[video.Action], jump: Seek, after: list[video.Action], optional: bool, ends: bool
) -> None:
    showing = play(*before, jump, *after, optional=optional, ends=ends)
    view = only_view(showing.events)
    if view.unique_seconds is None or view.unique_seconds_error is None:
        assert not ends
        return
    # A jump shorter than the players' granularity may pass for playing on; the bound does not claim to see it.
    slack_s = 1.6
    assert abs(view.unique_seconds - covered_s(showing.intervals)) <= view.unique_seconds_error + slack_s
    if ends:
        assert view.unique_seconds_error <= 10


@settings(max_examples=60)
@given(SCRIPTS, SCRIPTS, st.integers(0, 2**32))
def test_order_and_repetition_of_deliveries_change_nothing(
    one: list[video.Action], two: list[video.Action], seed: int
) -> None:
    events = play(*one, Seek(12), *two).events + Video(SESSION, "b", at(50), 30).watch(one).events
    deliveries = received(events) + received(random.Random(seed).choices(events, k=len(events)), delay_s=30)
    random.Random(seed).shuffle(deliveries)
    assert aggregate(deliveries) == aggregate(received(events))
    assert {r.received_at - r.event.timestamp for r in distinct(deliveries)} == {dt.timedelta(seconds=0.2)}


@given(SCRIPTS, st.randoms())
def test_any_loss_leaves_lawful_figures(script: list[video.Action], rng: random.Random) -> None:
    events = [event for event in play(*script, Seek(20), *script).events if rng.random() < 0.6]
    views = aggregate(received(events)).views
    assert bool(views) == bool(events), "what arrived is of some view"
    for view in views:
        assert view.watch_percentage is None or 0 <= view.watch_percentage <= 100
        assert view.unique_seconds_error is None or view.unique_seconds_error >= 0
        if view.unique_seconds is not None and view.total_duration_seconds is not None:
            assert 0 <= view.unique_seconds <= view.total_duration_seconds + 1e-3
        assert view.stall_ms is None or view.stall_ms >= 0
        assert all(seconds >= 0 for seconds in view.quality_seconds.values())
