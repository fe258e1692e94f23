"""Which events are one view: one playing of one video.

Belongs here: giving each event to its view. Does not belong here: the events' order (``order.py``), any figure of a
view.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pipelines.media.counters import Counters, counted
from pipelines.media.schema import Heartbeat, MediaEvent, PlaybackData, SessionEnd, SessionStart

MAX_VIEWS: Final = 200
# A view nobody named: its session_start was lost and the session names no video, or several.
UNKNOWN_MEDIA_ID: Final = "unknown"
# Players may report whole seconds, and a heartbeat may be stamped in the same moment as its view's end.
POSITION_TOLERANCE_S: Final = 1.5


@dataclass(slots=True)
class View:
    """One playing of one video. ``events`` in order, ``start`` and ``end`` among them."""

    media_id: str | None
    media_type: str | None
    began_at: dt.datetime
    start: SessionStart | None = None  # None where no session_start was received
    end: SessionEnd | None = None
    events: list[MediaEvent] = field(default_factory=list)
    _at_end: tuple[Counters, float | None] | None = None

    def is_followed_by(self, event: Heartbeat) -> bool:
        """Whether a heartbeat after this view's end is of another playing: its counters are below what they were at
        the end, or, where the time watched cannot be compared, its position is.
        """
        if self._at_end is None:
            positions = [e.data.position_seconds for e in self.events if isinstance(e.data, PlaybackData)]
            last_s = next((position for position in reversed(positions) if position is not None), None)
            self._at_end = counted(self.events), last_s
        counters, last_s = self._at_end
        if counters.fell(event):
            return True
        if counters.watched_s is not None and event.data.watched_duration_seconds is not None:
            return False
        position = event.data.position_seconds
        return position is not None and last_s is not None and position < last_s - POSITION_TOLERANCE_S


@dataclass(slots=True)
class Views:
    """A session's views in the order they began, at most ``MAX_VIEWS``, and how many events no view took."""

    views: list[View]
    left_out: int


def split(events: Iterable[MediaEvent]) -> Views:
    """The views of a session, from its events in order.

    An event that names no video belongs to the view begun last. A view takes no event after its session_end. Where a
    session_start was lost, the first event of an unknown video opens the view; after a session_end, the first
    heartbeat of the video that is below where the view ended. Which video that is has to be certain: the heartbeat
    names it, or the session has no two.
    """
    events = list(events)
    has_several = len({event.media_id for event in events} - {None}) > 1
    views: list[View] = []
    current: dict[str | None, View] = {}
    latest: View | None = None
    left_out = 0
    for event in events:
        if isinstance(event, SessionStart):
            latest = _open(event, views, current)
            continue
        view = latest if event.media_id is None else current.get(event.media_id)
        if view is None:
            view = latest = _open(event, views, current)
        elif view.end is not None:
            is_certain = event.media_id is not None or not has_several
            if not (is_certain and isinstance(event, Heartbeat) and view.is_followed_by(event)):
                left_out += 1
                continue
            view = latest = _open(event, views, current, view.media_id)
        else:
            view.events.append(event)
        view.media_type = view.media_type or event.media_type
        if isinstance(event, SessionEnd):
            view.end = event
    named = {view.media_id for view in views if view.media_id is not None}
    for view in views:
        if view.media_id is None and len(named) == 1:
            (view.media_id,) = named  # one exercise shows one video
    return Views(views[:MAX_VIEWS], left_out)


def _open(event: MediaEvent, views: list[View], current: dict[str | None, View], media_id: str | None = None) -> View:
    view = View(event.media_id or media_id, event.media_type, event.timestamp, events=[event])
    if isinstance(event, SessionStart):
        view.start = event
    current[view.media_id] = view
    views.append(view)
    return view
