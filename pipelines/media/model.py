"""The values media aggregation gives back. Shapes only. Unknown is ``None``, never 0."""

from __future__ import annotations

import datetime as dt

import msgspec


class StallEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One rebuffering stall of one view. ``duration_ms`` is None where neither the player nor the clock told it."""

    view_ordinal: int
    stall_number: int  # from 1 within the view
    began_at: dt.datetime
    position_seconds: float | None
    duration_ms: int | None
    end_seen: bool | None = None  # whether a buffering_end was received; None in results of before it was told


class ViewMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """One playing of one video inside a session, keyed by (session, media_id, ordinal)."""

    media_id: str  # "unknown" where session_start was lost and the session names no video, or several
    ordinal: int  # from 1 within the session
    media_type: str | None
    began_at: dt.datetime
    ended_at: dt.datetime | None  # None where no session_end arrived
    total_duration_seconds: float | None
    startup_ms: int | None
    ttfb_ms: int | None
    watched_seconds: float | None
    unique_seconds: float | None
    unique_seconds_error: float | None  # bound, from the heartbeat spacing
    watch_percentage: float | None  # 0..100, unique over total
    completed: bool | None
    milestone_percent: int | None  # the highest reached of 25/50/75/95
    stall_count: int | None
    stall_ms: int | None
    played_ms: int | None  # playing or stalled, pauses left out: stall ratio = sum(stall_ms) / sum(played_ms)
    mean_bitrate: float | None  # time-weighted, bits a second
    upswitch_count: int | None
    downswitch_count: int | None
    quality_seconds: dict[str, float]  # resolution -> seconds
    dropped_frames: int | None
    total_frames: int | None
    exit_before_start: bool | None
    error_count: int | None
    # Numerator and denominator of mean_bitrate: bits played, and the seconds they were played in.
    bitrate_bits: int | None = None
    bitrate_seconds: float | None = None
    oscillation_count: int | None = None  # switches whose direction is not that of the switch before
    restart_count: int | None = None  # times the player's counters began again: the page was reloaded in mid-view


class MediaSummary(msgspec.Struct, frozen=True, kw_only=True):
    """All views of a session, ordered by ``ordinal``, and their stalls."""

    views: tuple[ViewMetrics, ...]
    stalls: tuple[StallEvent, ...]
    watch_percentage: float | None  # of the exercise's video, over all its views: 100 x unique / total
    event_count: int
    # Numerator (with its error bound) and denominator of watch_percentage.
    unique_seconds: float | None = None
    unique_seconds_error: float | None = None
    total_duration_seconds: float | None = None
