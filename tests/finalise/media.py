"""What a player sends of a view, for tests."""

from __future__ import annotations

import datetime as dt

from pipelines.media.schema import Heartbeat, MediaEvent, PlaybackData, SessionEnd, SessionEndData, SessionStart
from pipelines.media.schema import SessionStartData as StartData
from pipelines.ports.landing import SessionHeader


def played(header: SessionHeader, media_id: str = "video-1") -> list[MediaEvent]:
    """Three events of one view."""

    def at(seconds: float) -> dt.datetime:
        return header.started_at + dt.timedelta(seconds=seconds)

    session_id = header.session_id
    return [
        SessionStart(
            session_id=session_id,
            timestamp=at(0),
            media_id=media_id,
            media_type="video",
            data=StartData(total_duration_seconds=20.0, video_load_time_ms=300),
        ),
        Heartbeat(
            session_id=session_id, timestamp=at(10), data=PlaybackData(position_seconds=10, watched_duration_seconds=10)
        ),
        SessionEnd(
            session_id=session_id,
            timestamp=at(15),
            data=SessionEndData(position_seconds=15, watched_duration_seconds=15, completed=False),
        ),
    ]
