"""The events a video player sends: one typed schema an event, with the bounds on every value.

Belongs here: shapes and bounds. Does not belong here: decoding (``events.py``) and what the events mean together
(``aggregate.py``).

Leaving a value out is always allowed where a player may not know it: no browser reports everything.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, ClassVar, Final, Literal, TypeAlias
from uuid import UUID

import msgspec
from msgspec import Meta

# A control character (NUL above all) is stored by neither Postgres text nor jsonb, so it may not come this far.
_PRINTABLE: Final = r"\A[^\x00-\x1f\x7f]*\Z"

MediaId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128, pattern=_PRINTABLE)]
Word: TypeAlias = Annotated[str, Meta(max_length=64, pattern=_PRINTABLE)]
Text: TypeAlias = Annotated[str, Meta(max_length=512, pattern=_PRINTABLE)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=86_400)]
Milliseconds: TypeAlias = Annotated[float, Meta(ge=0, le=86_400_000)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2_147_483_647)]
BitsPerSecond: TypeAlias = Annotated[float, Meta(ge=0, le=1e10)]
MegabitsPerSecond: TypeAlias = Annotated[float, Meta(ge=0, le=1e5)]
# A browser's currentTime may pass the duration by some hundredths of a second at the end.
Percent: TypeAlias = Annotated[float, Meta(ge=0, le=101)]


class _Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is told of one event."""


class SessionStartData(_Data, frozen=True, kw_only=True, omit_defaults=True):
    total_duration_seconds: Seconds | None = None
    ttfb_ms: Milliseconds | None = None
    video_load_time_ms: Milliseconds | None = None
    cdn_response_time_ms: Milliseconds | None = None
    connection_type: Word | None = None
    effective_bandwidth: MegabitsPerSecond | None = None
    rtt_ms: Milliseconds | None = None


class PlaybackData(_Data, frozen=True, kw_only=True, omit_defaults=True):
    """The player's figures at one instant; all counters are cumulative over the view."""

    position_seconds: Seconds | None = None
    watched_duration_seconds: Seconds | None = None
    completion_percent: Percent | None = None
    buffering_count: Count | None = None
    buffering_duration_ms: Milliseconds | None = None
    current_bitrate: BitsPerSecond | None = None
    current_resolution: Word | None = None
    dropped_frames: Count | None = None
    total_frames: Count | None = None


class SessionEndData(PlaybackData, frozen=True, kw_only=True, omit_defaults=True):
    completed: bool | None = None


class PositionData(_Data, frozen=True, kw_only=True, omit_defaults=True):
    position_seconds: Seconds | None = None


class BufferingEndData(PositionData, frozen=True, kw_only=True, omit_defaults=True):
    duration_ms: Milliseconds | None = None


class QualityChangeData(PositionData, frozen=True, kw_only=True, omit_defaults=True):
    from_bitrate: BitsPerSecond | None = None
    to_bitrate: BitsPerSecond | None = None
    from_resolution: Word | None = None
    to_resolution: Word | None = None
    reason: Word | None = None


class MilestoneData(PositionData, frozen=True, kw_only=True, omit_defaults=True):
    percent: Literal[25, 50, 75, 95]


class SeekData(_Data, frozen=True, kw_only=True, omit_defaults=True):
    from_seconds: Seconds
    to_seconds: Seconds


class ErrorData(PositionData, frozen=True, kw_only=True, omit_defaults=True):
    code: Word | None = None
    message: Text | None = None
    fatal: bool | None = None


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event"):
    """What every event carries. ``timestamp`` is the player's clock, in UTC once decoded."""

    session_id: UUID
    timestamp: Annotated[dt.datetime, Meta(tz=True)]
    media_id: MediaId | None = None
    media_type: Word | None = None


class SessionStart(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="session_start"):
    """A view begins: the video is loaded and can play. Sent once a view."""

    media_id: MediaId
    media_type: Word
    data: SessionStartData = SessionStartData()


class Heartbeat(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="heartbeat"):
    """Every ten seconds of a view."""

    interval_seconds: ClassVar[float] = 10.0
    data: PlaybackData = PlaybackData()


class BufferingStart(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="buffering_start"):
    """Playback stalls, its buffer empty."""

    data: PositionData = PositionData()


class BufferingEnd(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="buffering_end"):
    """Playback goes on after a stall."""

    data: BufferingEndData = BufferingEndData()


class QualityChange(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="quality_change"):
    """The player switches to another bitrate or resolution."""

    data: QualityChangeData = QualityChangeData()


class Milestone(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="milestone"):
    """A share of the video was reached."""

    data: MilestoneData


class SessionEnd(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="session_end"):
    """The view is over; the heartbeat's figures, final."""

    data: SessionEndData = SessionEndData()


class Play(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="play"):
    """Optional: a frame is shown for the first time, or again after a pause."""

    data: PositionData = PositionData()


class Pause(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="pause"):
    """Optional: the patient paused."""

    data: PositionData = PositionData()


class Seek(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="seek"):
    """Optional: the patient moved the playing position."""

    data: SeekData


class PlayerError(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="error"):
    """Optional: the player failed; ``fatal`` where playback could not go on."""

    data: ErrorData = ErrorData()


MediaEvent: TypeAlias = (
    SessionStart
    | Heartbeat
    | BufferingStart
    | BufferingEnd
    | QualityChange
    | Milestone
    | SessionEnd
    | Play
    | Pause
    | Seek
    | PlayerError
)
OPTIONAL_EVENTS: Final = (Play, Pause, Seek, PlayerError)
