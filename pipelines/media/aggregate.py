"""A session's player events -> its views' engagement and quality of experience.

Belongs here: what each figure of a view is, and when it is unknown. Does not belong here: which events are a view
(``order.py``, ``views.py``), played intervals (``played.py``, ``coverage.py``), stalls and quality levels
(``quality.py``), storage.

Definitions follow CTA-2066, Streaming Quality of Experience Events, Properties and Metrics:
``docs/media-metrics.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.media.counters import MAX_COUNT, Counters, counted
from pipelines.media.coverage import Coverage, Unique, unique
from pipelines.media.events import ReceivedEvent
from pipelines.media.identity import distinct
from pipelines.media.model import MediaSummary, StallEvent, ViewMetrics
from pipelines.media.order import views
from pipelines.media.played import Played, has_started, played, playing_s
from pipelines.media.quality import Quality, Stalls, half_up, quality, stalls
from pipelines.media.schema import OPTIONAL_EVENTS, Milestone, PlaybackData, PlayerError
from pipelines.media.views import UNKNOWN_MEDIA_ID, View

COMPLETE_PERCENT = 95

__all__ = ["ReceivedEvent", "aggregate"]


def aggregate(received: Sequence[ReceivedEvent]) -> MediaSummary:
    """The views and stalls of one session, from its events as received: in any order, any of them repeated."""
    events = distinct(received)
    tells_errors = any(isinstance(one.event, OPTIONAL_EVENTS) for one in events)
    figures: list[ViewMetrics] = []
    rows: list[StallEvent] = []
    videos: dict[str, _Video] = {}
    for ordinal, view in enumerate(views(events), start=1):
        view_stalls = stalls(view, ordinal)
        total_s = _total_s(view)
        result = played(view, total_s)
        figures.append(
            _metrics(view, ordinal, total_s=total_s, result=result, view_stalls=view_stalls, tells_errors=tells_errors)
        )
        rows.extend(view_stalls.rows)
        video = videos.setdefault(view.media_id or UNKNOWN_MEDIA_ID, _Video())
        video.add(total_s, result)
    best = max((video.seen() for video in videos.values()), key=_Seen.rank, default=_Seen())
    return MediaSummary(
        views=tuple(figures),
        stalls=tuple(rows),
        watch_percentage=best.percent,
        event_count=len(events),
        unique_seconds=None if best.seconds is None else _rounded(best.seconds.unique_s),
        unique_seconds_error=None if best.seconds is None else _rounded(best.seconds.error_s),
        total_duration_seconds=_rounded(best.total_s),
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen of one video; all None where that is not known."""

    percent: float | None = None
    seconds: Unique | None = None
    total_s: float | None = None

    def rank(self) -> float:
        return -1.0 if self.percent is None else self.percent


@dataclass(slots=True)
class _Video:
    """One video over all its views: who reloads the page, or watches again, sees the same video."""

    total_s: float | None = None
    coverages: list[Coverage] = field(default_factory=list)

    def add(self, total_s: float | None, result: Played) -> None:
        if total_s is not None:
            self.total_s = max(total_s, self.total_s or 0.0)
        if result.coverage is not None:
            self.coverages.append(result.coverage)

    def seen(self) -> _Seen:
        seconds = unique(self.coverages, self.total_s) if self.coverages else None
        percent = _watch_percentage(seconds, self.total_s)
        return _Seen() if percent is None else _Seen(percent, seconds, self.total_s)


def _metrics(
    view: View, ordinal: int, *, total_s: float | None, result: Played, view_stalls: Stalls, tells_errors: bool
) -> ViewMetrics:
    start = None if view.start is None else view.start.data
    seconds = None if result.coverage is None else unique([result.coverage], total_s)
    levels = quality(view, playing_s(view, total_s))
    told = [event.data for event in view.events if isinstance(event.data, PlaybackData)]
    counters = counted(view.events)
    # Beyond its session_start nothing of the view arrived: then no stall seen does not mean no stall.
    silent = view.start is not None and len(view.events) == 1
    stall_count, stall_ms = (None, None) if silent else _stall_totals(view_stalls, counters)
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
        unique_seconds=None if seconds is None else _rounded(seconds.unique_s),
        unique_seconds_error=None if seconds is None else _rounded(seconds.error_s),
        watch_percentage=_watch_percentage(seconds, total_s),
        completed=_completed(view, told),
        milestone_percent=max(
            (event.data.percent for event in view.events if isinstance(event, Milestone)), default=None
        ),
        stall_count=stall_count,
        stall_ms=stall_ms,
        played_ms=_viewing_ms(result, stall_ms),
        mean_bitrate=_mean_bitrate(levels),
        upswitch_count=None if silent else levels.upswitch_count,
        downswitch_count=None if silent else levels.downswitch_count,
        quality_seconds=levels.quality_seconds,
        dropped_frames=counters.dropped_frames,
        total_frames=counters.total_frames,
        exit_before_start=_exit_before_start(view, result, tells_errors),
        error_count=sum(isinstance(event, PlayerError) for event in view.events) if tells_errors else None,
        bitrate_bits=None if levels.bits is None else half_up(levels.bits),
        bitrate_seconds=_rounded(levels.bitrate_seconds),
        oscillation_count=None if silent else levels.oscillation_count,
        restart_count=None if silent else counters.restart_count,
    )


def _mean_bitrate(levels: Quality) -> float | None:
    if levels.bits is None or not levels.bitrate_seconds:
        return None
    return float(half_up(levels.bits / levels.bitrate_seconds))


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


def _watch_percentage(seconds: Unique | None, total_s: float | None) -> float | None:
    if seconds is None or not total_s:
        return None
    return round(min(100.0, 100 * seconds.unique_s / total_s), 2)


def _completed(view: View, told: list[PlaybackData]) -> bool | None:
    """What the player said at the end; else whether 95 % was reached; unknown while the view has no end."""
    if view.end is not None and view.end.data.completed is not None:
        return view.end.data.completed
    reached = [float(event.data.percent) for event in view.events if isinstance(event, Milestone)]
    reached += [data.completion_percent for data in told if data.completion_percent is not None]
    if max(reached, default=0.0) >= COMPLETE_PERCENT:
        return True
    return None if view.end is None else False


def _stall_totals(view_stalls: Stalls, counters: Counters) -> tuple[int, int | None]:
    """Count and time: the greater of the stall events received and the player's counters, as events may be lost."""
    stall_count = min(max(view_stalls.count, counters.stall_count or 0), MAX_COUNT)
    if counters.stall_ms is None:
        return stall_count, view_stalls.ended_ms if view_stalls.ended_count == stall_count else None
    return stall_count, max(view_stalls.ended_ms, half_up(counters.stall_ms))


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
