"""A session's player events -> its views' engagement and quality of experience.

Belongs here: what each figure of a view is, and when it is unknown. Does not belong here: which events are a view
(``views.py``), played intervals (``played.py``), stalls and quality levels (``quality.py``), storage.

Definitions follow CTA-2066, Streaming Quality of Experience Events, Properties and Metrics; see ``docs/media.md``.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.media.events import ReceivedEvent
from pipelines.media.model import MediaSummary, StallEvent, ViewMetrics
from pipelines.media.played import Played, has_started, played, playing_s
from pipelines.media.quality import cumulative, half_up, quality, stalls
from pipelines.media.schema import OPTIONAL_EVENTS, Milestone, PlaybackData, PlayerError
from pipelines.media.views import UNKNOWN_MEDIA_ID, View, distinct, split

COMPLETE_PERCENT = 95

__all__ = ["ReceivedEvent", "aggregate"]


def aggregate(received: Sequence[ReceivedEvent]) -> MediaSummary:
    """The views and stalls of one session, from its events as received: in any order, any of them repeated."""
    events = [one.event for one in distinct(received)]
    tells_errors = any(isinstance(event, OPTIONAL_EVENTS) for event in events)
    views: list[ViewMetrics] = []
    all_stalls: list[StallEvent] = []
    for ordinal, view in enumerate(split(events), start=1):
        view_stalls = stalls(view, ordinal)
        views.append(_metrics(view, ordinal, view_stalls, tells_errors))
        all_stalls.extend(view_stalls)
    shares = [view.watch_percentage for view in views if view.watch_percentage is not None]
    return MediaSummary(
        views=tuple(views),
        stalls=tuple(all_stalls),
        watch_percentage=max(shares, default=None),
        event_count=len(events),
    )


def _metrics(view: View, ordinal: int, view_stalls: list[StallEvent], tells_errors: bool) -> ViewMetrics:
    start = None if view.start is None else view.start.data
    total_s = _total_s(view)
    result = played(view, total_s)
    levels = quality(view, playing_s(view, total_s))
    told = [event.data for event in view.events if isinstance(event.data, PlaybackData)]
    dropped, frames = cumulative((data.dropped_frames, data.total_frames) for data in told) or (None, None)
    # Beyond its session_start nothing of the view arrived: then no stall seen does not mean no stall.
    silent = view.start is not None and len(view.events) == 1
    stall_count, stall_ms = _stall_totals(view_stalls, told)
    load_ms = None if start is None else start.video_load_time_ms
    ttfb_ms = None if start is None else start.ttfb_ms
    return ViewMetrics(
        media_id=view.media_id or UNKNOWN_MEDIA_ID,
        ordinal=ordinal,
        media_type=view.media_type,
        began_at=view.began_at,
        ended_at=None if view.end is None else view.end.timestamp,
        total_duration_seconds=_rounded(total_s),
        startup_ms=None if load_ms is None else half_up(load_ms),
        ttfb_ms=None if ttfb_ms is None else half_up(ttfb_ms),
        watched_seconds=_rounded(result.watched_s),
        unique_seconds=_rounded(result.unique_s),
        unique_seconds_error=_rounded(result.error_s),
        watch_percentage=_watch_percentage(result, total_s),
        completed=_completed(view, told),
        milestone_percent=max(
            (event.data.percent for event in view.events if isinstance(event, Milestone)), default=None
        ),
        stall_count=None if silent else stall_count,
        stall_ms=None if silent else stall_ms,
        played_ms=_viewing_ms(result, None if silent else stall_ms),
        mean_bitrate=None if levels.mean_bitrate is None else float(half_up(levels.mean_bitrate)),
        upswitch_count=None if silent else levels.upswitch_count,
        downswitch_count=None if silent else levels.downswitch_count,
        quality_seconds=levels.quality_seconds,
        dropped_frames=dropped,
        total_frames=frames,
        exit_before_start=_exit_before_start(view, result, tells_errors),
        error_count=sum(isinstance(event, PlayerError) for event in view.events) if tells_errors else None,
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _total_s(view: View) -> float | None:
    """The video's length: as session_start tells it, else from the furthest heartbeat's position and percentage."""
    if view.start is not None and view.start.data.total_duration_seconds:
        return view.start.data.total_duration_seconds
    told = [
        (event.data.completion_percent, event.data.position_seconds)
        for event in view.events
        if isinstance(event.data, PlaybackData)
        and event.data.completion_percent is not None
        and event.data.completion_percent >= 1
        and event.data.position_seconds
    ]
    if not told:
        return None
    percent, position = max(told)
    return 100 * position / percent


def _watch_percentage(result: Played, total_s: float | None) -> float | None:
    if result.unique_s is None or not total_s:
        return None
    return round(min(100.0, 100 * result.unique_s / total_s), 2)


def _completed(view: View, told: list[PlaybackData]) -> bool | None:
    """What the player said at the end; else whether 95 % was reached; unknown while the view has no end."""
    if view.end is not None and view.end.data.completed is not None:
        return view.end.data.completed
    reached = [float(event.data.percent) for event in view.events if isinstance(event, Milestone)]
    reached += [data.completion_percent for data in told if data.completion_percent is not None]
    if max(reached, default=0.0) >= COMPLETE_PERCENT:
        return True
    return None if view.end is None else False


def _stall_totals(view_stalls: list[StallEvent], told: list[PlaybackData]) -> tuple[int, int | None]:
    """Count and time: the greater of the stall events received and the player's counters, as events may be lost."""
    ended = [stall.duration_ms for stall in view_stalls if stall.duration_ms is not None]
    rows = (
        (data.buffering_count, None if data.buffering_duration_ms is None else half_up(data.buffering_duration_ms))
        for data in told
    )
    count, time_ms = cumulative(rows) or (None, None)
    stall_count = max(len(view_stalls), count or 0)
    if time_ms is None:
        return stall_count, sum(ended) if len(ended) == stall_count else None
    return stall_count, max(sum(ended), time_ms)


def _viewing_ms(result: Played, stall_ms: int | None) -> int | None:
    """Time playing or stalled, pauses left out: CTA-2066's denominator of the rebuffering ratio."""
    if result.watched_s is None or stall_ms is None:
        return None
    return half_up(result.watched_s * 1000) + stall_ms


def _exit_before_start(view: View, result: Played, tells_errors: bool) -> bool | None:
    """Left before the first frame, by choice. Without the optional events a failure looks the same: then unknown."""
    if has_started(view, result):
        return False
    if view.end is None or not tells_errors:
        return None
    return not any(isinstance(event, PlayerError) and event.data.fatal is not False for event in view.events)
