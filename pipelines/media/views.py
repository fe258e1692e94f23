"""Which events are one view: one playing of one video.

Belongs here: leaving out repeated deliveries, the one order all figures are computed in, and giving each event to its
view. Does not belong here: any figure of a view.

Nothing here looks at when an event was received, so deliveries late, repeated or out of order change nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pipelines.media.events import ReceivedEvent, encode
from pipelines.media.schema import BufferingEnd, BufferingStart, MediaEvent, SessionEnd, SessionStart

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


def distinct(received: Iterable[ReceivedEvent]) -> list[ReceivedEvent]:
    """Each different event once, with its first receipt, in canonical order.

    The order is the player's clock; at one instant session_start comes first, session_end last, a stall's start before
    its end (players may tell whole seconds only), and the canonical JSON decides the rest.
    """
    first: dict[bytes, ReceivedEvent] = {}
    for one in received:
        key = encode(one.event)
        if key not in first or one.received_at < first[key].received_at:
            first[key] = one
    return [one for _, one in sorted(first.items(), key=lambda item: (item[1].event.timestamp, _rank(item), item[0]))]


def _rank(item: tuple[bytes, ReceivedEvent]) -> int:
    event = item[1].event
    if isinstance(event, SessionStart):
        return 0
    if isinstance(event, SessionEnd):
        return 4
    if isinstance(event, BufferingStart):
        return 2
    return 3 if isinstance(event, BufferingEnd) else 1


def split(events: Iterable[MediaEvent]) -> list[View]:
    """The views of a session in the order they began, from its events in canonical order; at most ``MAX_VIEWS``.

    An event that names no video belongs to the view begun last. A view takes no event after its session_end. Where a
    session_start was lost, the first event of an unknown video opens the view.
    """
    views: list[View] = []
    current: dict[str | None, View] = {}
    latest: View | None = None
    for event in events:
        if isinstance(event, SessionStart):
            known = current.get(event.media_id)
            if known is not None and known.start is not None and known.start.timestamp == event.timestamp:
                continue  # the same start told twice with different data
            latest = _open(event, views, current)
            continue
        view = latest if event.media_id is None else current.get(event.media_id)
        if view is None:
            view = latest = _open(event, views, current)
        if view.end is not None:
            continue
        if event is not view.events[-1]:
            view.events.append(event)
        view.media_type = view.media_type or event.media_type
        if isinstance(event, SessionEnd):
            view.end = event
    named = {view.media_id for view in views if view.media_id is not None}
    for view in views:
        if view.media_id is None and len(named) == 1:
            (view.media_id,) = named  # one exercise shows one video
    return views[:MAX_VIEWS]


def _open(event: MediaEvent, views: list[View], current: dict[str | None, View]) -> View:
    view = View(event.media_id, event.media_type, event.timestamp, events=[event])
    if isinstance(event, SessionStart):
        view.start = event
    current[event.media_id] = view
    views.append(view)
    return view
