"""Which events are one view: one playing of one video.

Belongs here: giving each event to its view. Does not belong here: the events' order (``order.py``), any figure of a
view.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pipelines.media.schema import MediaEvent, SessionEnd, SessionStart

MAX_VIEWS: Final = 200
# A view nobody named: its session_start was lost and the session names no video, or several.
UNKNOWN_MEDIA_ID: Final = "unknown"


@dataclass(slots=True)
class View:
    """One playing of one video. ``events`` in order, ``start`` and ``end`` among them."""

    media_id: str | None
    media_type: str | None
    began_at: dt.datetime
    start: SessionStart | None = None  # None where no session_start was received
    end: SessionEnd | None = None
    events: list[MediaEvent] = field(default_factory=list)


@dataclass(slots=True)
class Views:
    """A session's views in the order they began, at most ``MAX_VIEWS``, and how many events no view took."""

    views: list[View]
    left_out: int


def split(events: Iterable[MediaEvent]) -> Views:
    """The views of a session, from its events in order.

    An event that names no video belongs to the view begun last. A view takes no event after its session_end. Where a
    session_start was lost, the first event of an unknown video opens the view.
    """
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
            left_out += 1
            continue
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


def _open(event: MediaEvent, views: list[View], current: dict[str | None, View]) -> View:
    view = View(event.media_id, event.media_type, event.timestamp, events=[event])
    if isinstance(event, SessionStart):
        view.start = event
    current[event.media_id] = view
    views.append(view)
    return view
