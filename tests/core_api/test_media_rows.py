"""What the media figures become in the tables: every figure in its column, every stall a row, nothing cut off."""

from __future__ import annotations

import datetime as dt
import uuid

import msgspec

from pipelines.media.aggregate import aggregate
from pipelines.media.events import ReceivedEvent
from pipelines.media.model import MediaSummary
from pipelines.media.schema import Heartbeat, PlaybackData
from pipelines.simulate.video import Play, Stall, Switch, Video
from tests.core_api.test_subscriber import Bench, bench

__all__ = ["bench"]  # the fixture

BEGAN = dt.datetime(2026, 3, 18, 10, 0, tzinfo=dt.UTC)


def _watched(*, ends: bool = True) -> list[ReceivedEvent]:
    video = Video(uuid.UUID(int=1), "clip", BEGAN, 42.0)
    events = video.watch([Play(8), Stall(1.5), Switch(0), Play(12), Switch(2), Play(30)], ends=ends).events
    return [ReceivedEvent(event=event, received_at=event.timestamp) for event in events]


def _columns(bench: Bench, table: str) -> list[dict[str, object]]:
    return bench.api.rows(f"select * from telemetry.{table} order by 1, 2, 3, 4")


def test_every_figure_of_a_view_is_in_its_column(bench: Bench) -> None:
    summary = aggregate(_watched())
    bench.publish(bench.result(media=summary))
    assert bench.drain() == 1
    (view,), (row,) = summary.views, _columns(bench, "media_session_metrics")
    for name, value in msgspec.structs.asdict(view).items():
        stored = row[name]
        assert (float(stored) if isinstance(value, float) else stored) == value, name  # type: ignore[arg-type]
    detail = bench.api.call("GET", f"/v1/sessions/{bench.session_id}", bench.api.specialist(bench.clinic)).json
    (shown,) = detail["views"]
    for name, value in msgspec.structs.asdict(view).items():
        assert (dt.datetime.fromisoformat(shown[name]) if isinstance(value, dt.datetime) else shown[name]) == value, (
            name
        )
    assert [stall["end_seen"] for stall in detail["stalls"]] == [True]
    assert row["bitrate_bits"] == 8 * 2_500_000 + 12 * 800_000 + 22 * 5_000_000
    assert (row["oscillation_count"], row["restart_count"]) == (1, 0)


def test_every_stall_is_a_row_that_says_whether_its_end_was_seen(bench: Bench) -> None:
    events = _watched(ends=False)
    unended = [one for one in events if type(one.event).__name__ != "BufferingEnd"]
    for revision, (received, seen) in enumerate([(events, (1500, True)), (unended, (None, False))], start=1):
        bench.publish(bench.result(revision, media=aggregate(received)))
        bench.drain()
        (row,) = _columns(bench, "media_buffering_events")
        assert (row["duration_ms"], row["end_seen"]) == seen
        assert (row["began_at"], float(str(row["position_seconds"]))) == (BEGAN + dt.timedelta(seconds=8), 8.0)


def test_what_a_broken_player_tells_can_be_stored(bench: Bench) -> None:
    """Counters at their bounds that fall again and again, over a clock that leaps decades."""
    received = []
    for number in range(400):
        most = number % 2 == 0
        data = PlaybackData(
            position_seconds=86_400 if most else 0,
            watched_duration_seconds=86_400 if most else 0,
            buffering_count=2**31 - 1 if most else 0,
            buffering_duration_ms=86_400_000 if most else 0,
            current_bitrate=10**10,
            current_resolution=f"{number}p",
            dropped_frames=2**31 - 1 if most else 0,
            total_frames=2**31 - 1 if most else 0,
        )
        at = BEGAN - dt.timedelta(days=50 * number)
        event = Heartbeat(session_id=uuid.UUID(int=1), timestamp=at, data=data)
        received.append(ReceivedEvent(event=event, received_at=BEGAN + dt.timedelta(seconds=number)))
    summary: MediaSummary = aggregate(received)
    bench.publish(bench.result(media=summary))
    bench.drain()
    assert bench.deliveries() == [("done", 1)]
    (row,) = _columns(bench, "media_session_metrics")
    assert row["stall_count"] == 2**31 - 1
    assert row["watched_seconds"] == 9_999_999
