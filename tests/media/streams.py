"""Generated event streams: lawful events in unlawful company, as browsers, networks and clocks produce them.

Belongs here: Hypothesis strategies. Small numbers on purpose, so that instants, positions and counters collide.
"""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

import hypothesis.strategies as st
import msgspec

from pipelines.media import schema
from pipelines.media.events import ReceivedEvent

SESSION = UUID("550e8400-e29b-41d4-a716-446655440000")
BEGAN = dt.datetime(2026, 2, 16, 9, 3, tzinfo=dt.UTC)

_KINDS: dict[str, type[msgspec.Struct]] = {
    "session_start": schema.SessionStartData,
    "heartbeat": schema.PlaybackData,
    "buffering_start": schema.PositionData,
    "buffering_end": schema.BufferingEndData,
    "quality_change": schema.QualityChangeData,
    "milestone": schema.MilestoneData,
    "session_end": schema.SessionEndData,
    "play": schema.PositionData,
    "pause": schema.PositionData,
    "seek": schema.SeekData,
    "error": schema.ErrorData,
}
_RESOLUTIONS = st.sampled_from(["480p", "720p", "1280x720", "1080p", "auto", ""])
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "total_duration_seconds": st.sampled_from([0, 20, 42]),
    "connection_type": st.just("wifi"),
    "current_resolution": _RESOLUTIONS,
    "from_resolution": _RESOLUTIONS,
    "to_resolution": _RESOLUTIONS,
    "reason": st.just("abr"),
    "current_bitrate": st.sampled_from([800_000, 2_500_000]),
    "from_bitrate": st.sampled_from([800_000, 2_500_000]),
    "to_bitrate": st.sampled_from([800_000, 2_500_000]),
    "percent": st.sampled_from([25, 50, 75, 95]),
    "completion_percent": st.sampled_from([0, 0.5, 10, 50, 95, 100]),
    "duration_ms": st.sampled_from([0, 120, 1000, 3000.5, 60_000]),
    "completed": st.booleans(),
    "fatal": st.booleans(),
    "code": st.just("MEDIA_ERR"),
    "message": st.just("gone"),
}
_NUMBERS = st.integers(0, 12)
_ALWAYS = {"percent", "from_seconds", "to_seconds"}
# Mostly the ordinary course of a view, now and then anything.
_LIKELY = ("heartbeat", "heartbeat", "heartbeat", "buffering_start", "buffering_end", "quality_change")


@st.composite
def events(draw: st.DrawFn) -> schema.MediaEvent:
    """Any event, each of its values told or left out."""
    kind = draw(st.sampled_from([*_LIKELY, *_KINDS]))
    data = {}
    for field in msgspec.structs.fields(_KINDS[kind]):
        name = field.encode_name
        if name in _ALWAYS or draw(st.booleans()):
            data[name] = draw(_VALUES.get(name, _NUMBERS))
    body: dict[str, Any] = {
        "event": kind,
        "session_id": str(SESSION),
        "timestamp": (BEGAN + dt.timedelta(seconds=draw(st.integers(0, 30)))).isoformat(),
        "data": data,
    }
    media = draw(st.sampled_from([None, None, "a", "b"])) if kind != "session_start" else draw(st.sampled_from("ab"))
    if media is not None:
        body |= {"media_id": media, "media_type": "video"}
    made: schema.MediaEvent = msgspec.convert(body, schema.MediaEvent)
    return made


def _received(event: schema.MediaEvent, delay_s: int) -> ReceivedEvent:
    return ReceivedEvent(event=event, received_at=event.timestamp + dt.timedelta(seconds=delay_s))


# Received at once, late, or before it happened: the player's clock is not ours.
_DELAYS = st.sampled_from([0, 0, 0, 1, 5, 40, -3600])
STREAMS = st.lists(st.builds(_received, events(), _DELAYS), max_size=24)
