"""Which deliveries are the same event.

Belongs here: an event's identity, and keeping each event once. Does not belong here: the events' order (``order.py``),
which view they belong to (``views.py``).

An event is identified by (session, media, event, timestamp, position). Where one instant can hold several of a kind,
*position* is what tells them apart: a milestone's share of the video, a seek's two ends, a switch's two levels. A
position nobody told equals no other position, as NULL in SQL: such events are the same only if all they tell is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final

from pipelines.media.events import ReceivedEvent, encode
from pipelines.media.schema import MediaEvent, Milestone, QualityChange, Seek, SessionStart

_BEGINNING: Final = "beginning"


def identity(event: MediaEvent) -> Hashable:
    """What two deliveries of one event have in common, whatever else they tell."""
    return type(event), event.session_id, event.media_id, event.timestamp, _position(event)


def _position(event: MediaEvent) -> Hashable:
    data = event.data
    if isinstance(event, SessionStart):
        return _BEGINNING
    if isinstance(event, Seek | QualityChange):
        return data
    if isinstance(event, Milestone):
        return event.data.percent, event.data.position_seconds
    position = getattr(data, "position_seconds", None)
    return data if position is None else position


def distinct(received: Iterable[ReceivedEvent]) -> list[ReceivedEvent]:
    """Each event once, as its first delivery told it; of deliveries at one instant, the least canonical JSON stands.

    The order of the result carries no meaning.
    """
    first: dict[Hashable, ReceivedEvent] = {}
    for one in received:
        key = identity(one.event)
        standing = first.setdefault(key, one)
        if standing is not one and _precedes(one, standing):
            first[key] = one
    return list(first.values())


def _precedes(one: ReceivedEvent, other: ReceivedEvent) -> bool:
    if one.received_at != other.received_at:
        return one.received_at < other.received_at
    return encode(one.event) < encode(other.event)
