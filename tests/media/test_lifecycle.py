"""A 42-second exercise video told in the portal's own words: the JSON bodies it sends, and what they come to."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from uuid import UUID

import pytest

from pipelines.media import events
from pipelines.media.aggregate import aggregate
from pipelines.media.events import ReceivedEvent
from pipelines.media.model import MediaSummary

SESSION = UUID("550e8400-e29b-41d4-a716-446655440000")
BEGAN = dt.datetime(2026, 2, 16, 9, 3, tzinfo=dt.UTC)
START: dict[str, Any] = {
    "event": "session_start",
    "session_id": str(SESSION),
    "media_id": "hashed-exercise-id",
    "media_type": "video",
    "timestamp": "2026-02-16T09:03:00Z",
    "data": {
        "total_duration_seconds": 42.0,
        "ttfb_ms": 340,
        "video_load_time_ms": 1200,
        "cdn_response_time_ms": 280,
        "connection_type": "wifi",
        "effective_bandwidth": 12.5,
        "rtt_ms": 45,
    },
}


def sent(kind: str, second: float, **data: object) -> dict[str, Any]:
    at = (BEGAN + dt.timedelta(seconds=second)).isoformat()
    return {"event": kind, "session_id": str(SESSION), "timestamp": at, "data": data}


def figures(second: float, position: float, **more: object) -> dict[str, Any]:
    """What the player tells at ``second``: it stands at ``position`` and has played just that."""
    told = {
        "position_seconds": position,
        "watched_duration_seconds": position,
        "completion_percent": round(100 * position / 42, 1),
        "buffering_count": 0,
        "buffering_duration_ms": 0,
        "current_bitrate": 2_500_000,
        "current_resolution": "720p",
        "dropped_frames": 2,
        "total_frames": int(25 * position),
    }
    return sent("heartbeat", second, **{**told, **more})


def summed(*bodies: dict[str, Any]) -> MediaSummary:
    """As ingest takes them: each body decoded, received half a second after it was told."""
    received = [
        ReceivedEvent(event=event, received_at=event.timestamp + dt.timedelta(seconds=0.5))
        for body in bodies
        for event in events.decode(json.dumps(body).encode(), SESSION).events
    ]
    return aggregate(received)


def test_watched_through_with_a_stall_and_two_switches() -> None:
    stalled = {"buffering_count": 1, "buffering_duration_ms": 1500}
    summary = summed(
        START,
        figures(10, 10),
        sent("milestone", 10.5, percent=25, position_seconds=10.5),
        sent("buffering_start", 15, position_seconds=15),
        sent("buffering_end", 16.5, position_seconds=15, duration_ms=1500),
        sent(
            "quality_change",
            17.5,
            position_seconds=16,
            from_bitrate=2_500_000,
            to_bitrate=800_000,
            from_resolution="720p",
            to_resolution="480p",
            reason="abr",
        ),
        figures(20, 18.5, current_bitrate=800_000, current_resolution="480p", **stalled),
        sent("milestone", 22.5, percent=50, position_seconds=21),
        sent(
            "quality_change",
            27.5,
            position_seconds=26,
            from_bitrate=800_000,
            to_bitrate=2_500_000,
            from_resolution="480p",
            to_resolution="720p",
            reason="abr",
        ),
        figures(30, 28.5, **stalled),
        sent("milestone", 33, percent=75, position_seconds=31.5),
        figures(40, 38.5, **stalled),
        sent("milestone", 41.4, percent=95, position_seconds=39.9),
        {**figures(43.5, 42, completed=True, **stalled), "event": "session_end"},
    )
    (view,) = summary.views
    assert (view.media_id, view.media_type, view.total_duration_seconds) == ("hashed-exercise-id", "video", 42)
    assert (view.startup_ms, view.ttfb_ms) == (1200, 340)
    assert (view.watched_seconds, view.unique_seconds, view.unique_seconds_error) == (42, 42, 0)
    assert (view.watch_percentage, view.completed, view.milestone_percent) == (100, True, 95)
    assert (view.stall_count, view.stall_ms, view.played_ms) == (1, 1500, 43_500)
    assert (view.upswitch_count, view.downswitch_count, view.oscillation_count) == (1, 1, 1)
    assert view.quality_seconds == {"480p": 10, "720p": 32}
    assert (view.bitrate_bits, view.bitrate_seconds) == (32 * 2_500_000 + 10 * 800_000, 42)
    assert view.mean_bitrate == 2_095_238
    assert (view.dropped_frames, view.total_frames, view.restart_count) == (2, 1050, 0)
    (stall,) = summary.stalls
    assert (stall.position_seconds, stall.duration_ms, stall.end_seen) == (15, 1500, True)
    assert stall.began_at == BEGAN + dt.timedelta(seconds=15)
    assert summary.watch_percentage == 100
    assert (summary.unique_seconds, summary.total_duration_seconds) == (42, 42)


def test_left_at_seventy_percent_without_a_goodbye() -> None:
    summary = summed(START, figures(10, 10), figures(20, 20), figures(30, 29.5))
    (view,) = summary.views
    assert (view.ended_at, view.completed, view.milestone_percent) == (None, None, None)
    assert (view.unique_seconds, view.unique_seconds_error) == (29.5, 10)
    assert view.watch_percentage == 70.24
    assert (view.stall_count, view.stall_ms) == (0, 0)


def test_reloaded_in_mid_view_and_watched_to_the_end_is_watched_whole() -> None:
    """The reload tells a new session_start: two views of one video, together all of it, nothing counted twice."""
    again = {**START, "timestamp": "2026-02-16T09:03:25Z"}
    resumed = [figures(35, 30, watched_duration_seconds=12, dropped_frames=0, total_frames=300)]
    last = figures(47, 42, watched_duration_seconds=24, dropped_frames=1, total_frames=600, completed=True)
    # It went on from 20 s, told by a seek; without one, from 18 s for all the counter tells.
    summary = summed(START, figures(10, 10), figures(20, 20), again, *resumed, {**last, "event": "session_end"})
    first, second = summary.views
    assert (first.watched_seconds, first.restart_count, first.ended_at) == (20, 0, None)
    assert (second.watched_seconds, second.restart_count) == (24, 0)
    assert summary.watch_percentage is not None and summary.unique_seconds_error is not None
    assert abs(summary.watch_percentage - 100) <= 100 * summary.unique_seconds_error / 42
    assert summary.watch_percentage > max(view.watch_percentage or 0 for view in summary.views)


def test_reloaded_in_mid_view_and_the_start_was_lost() -> None:
    """Only the counters tell of the reload: they fall, and count on from 0."""
    summary = summed(
        START,
        figures(10, 10),
        figures(20, 20, buffering_count=2, buffering_duration_ms=900),
        figures(30, 28, watched_duration_seconds=8, dropped_frames=0, total_frames=200),
        {
            **figures(44, 42, watched_duration_seconds=22, dropped_frames=3, total_frames=550, completed=True),
            "event": "session_end",
        },
    )
    (view,) = summary.views
    assert (view.restart_count, view.watched_seconds) == (1, 42)
    assert (view.unique_seconds, view.unique_seconds_error) == (42, 0)
    assert (view.dropped_frames, view.total_frames) == (5, 1050)
    assert (view.stall_count, view.stall_ms) == (2, 900)


def test_watched_twice_counts_once_for_the_share() -> None:
    again = {**START, "timestamp": "2026-02-16T09:04:00Z"}
    summary = summed(START, figures(10, 10), figures(21, 21), again, figures(70, 10), figures(81, 21))
    assert [view.watched_seconds for view in summary.views] == [21, 21]
    assert (summary.watch_percentage, summary.unique_seconds) == (50, 21)


def test_a_stalls_row_says_whether_its_end_was_seen() -> None:
    summary = summed(
        START,
        sent("buffering_start", 5, position_seconds=5),
        sent("buffering_end", 6, position_seconds=5),
        sent("buffering_start", 9, position_seconds=8),
    )
    assert [(s.duration_ms, s.end_seen, s.position_seconds) for s in summary.stalls] == [
        (1000, True, 5),
        (None, False, 8),
    ]
    assert (summary.views[0].stall_count, summary.views[0].stall_ms) == (2, None)


def test_only_the_end_of_a_stall_came_and_tells_nothing() -> None:
    (stall,) = summed(START, sent("buffering_end", 6)).stalls
    assert (stall.began_at, stall.duration_ms, stall.end_seen) == (BEGAN + dt.timedelta(seconds=6), None, True)


@pytest.mark.parametrize(
    ("ways", "ups", "downs", "oscillations"),
    [
        ([], 0, 0, 0),
        ([1, 1], 2, 0, 0),
        ([-1, -1], 0, 2, 0),
        ([1, -1], 1, 1, 1),
        ([1, -1, 1, -1], 2, 2, 3),
        ([1, 1, -1, -1, 1], 3, 2, 2),
        ([1, 0, -1], 1, 1, 1),
    ],
)
def test_switch_patterns(ways: list[int], ups: int, downs: int, oscillations: int) -> None:
    bitrate = 3_000_000
    bodies = [START]
    for second, way in enumerate(ways, start=1):
        bodies.append(sent("quality_change", second, from_bitrate=bitrate, to_bitrate=bitrate + way * 500_000))
        bitrate += way * 500_000
    (view,) = summed(*bodies, figures(20, 20)).views
    assert (view.upswitch_count, view.downswitch_count, view.oscillation_count) == (ups, downs, oscillations)


def test_the_same_key_is_the_same_event_whatever_else_it_tells() -> None:
    corrected = figures(10, 10, dropped_frames=900, total_frames=1000)
    summary = summed(START, figures(10, 10), corrected, {**START, "data": {}})
    assert summary.event_count == 2
    assert summary.views[0].watched_seconds == 10


def test_two_milestones_jumped_over_at_one_instant_are_two() -> None:
    reached = [sent("milestone", 9, percent=percent, position_seconds=40) for percent in (25, 50, 75, 95)]
    summary = summed(START, *reached, *reversed(reached))
    assert (summary.event_count, summary.views[0].milestone_percent) == (5, 95)


def test_two_switches_at_one_instant_are_two() -> None:
    up = sent("quality_change", 5, position_seconds=5, from_bitrate=800_000, to_bitrate=2_500_000)
    down = sent("quality_change", 5, position_seconds=5, from_bitrate=2_500_000, to_bitrate=800_000)
    assert summed(START, up, down, up, down).event_count == 3
