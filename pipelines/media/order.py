"""The one order all figures are computed in, although the player's clock may be wrong or jump.

Belongs here: choosing between the two clocks that stamped an event. Does not belong here: keeping each event once
(``identity.py``), which view an event belongs to (``views.py``).

Every event has two times: the player's, which a correction of the device's clock may set back in mid-view, and the
receipt's, which a lost connection may delay. Order is the player's clock, as long as it tells a story without
contradiction. A contradiction is what only an accident explains: a view without a beginning, an event after its view
ended, a stall that ended before it began, a counter that fell inside a view. Where the order of receipt needs fewer
accidents, the player's clock was set back, and the order of receipt is taken. A clock that is wrong by the same amount
all along, or set forward, changes no order.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pipelines.media.counters import counted
from pipelines.media.events import LATEST, ReceivedEvent, encode
from pipelines.media.schema import BufferingEnd, BufferingStart, MediaEvent, SessionEnd, SessionStart
from pipelines.media.views import View, Views, split

_RANKS: Final[dict[type, int]] = {SessionStart: 0, BufferingStart: 2, BufferingEnd: 3, SessionEnd: 4}
_OTHER_RANK: Final = 1


def views(received: Sequence[ReceivedEvent]) -> list[View]:
    """A session's views, from its distinct events in any order."""
    by_player = split(one.event for one in sorted(received, key=_player_key))
    accidents = _accidents(by_player)
    if not accidents:
        return by_player.views
    by_receipt = split(_continued(sorted(received, key=lambda one: (one.received_at, *_player_key(one)))))
    return by_receipt.views if _accidents(by_receipt) < accidents else by_player.views


def _player_key(one: ReceivedEvent) -> tuple[dt.datetime, int, bytes]:
    """At one instant session_start comes first, session_end last, and a stall's start before its end, as players may
    tell whole seconds only; the canonical JSON decides the rest.
    """
    return one.event.timestamp, _RANKS.get(type(one.event), _OTHER_RANK), encode(one.event)


def _accidents(found: Views) -> int:
    return found.left_out + sum(
        (view.start is None) + counted(view.events).restart_count + _headless_stalls(view.events)
        for view in found.views
    )


def _headless_stalls(events: Sequence[MediaEvent]) -> int:
    running = headless = 0
    for event in events:
        if isinstance(event, BufferingStart):
            running += 1
        elif isinstance(event, BufferingEnd):
            headless += running == 0
            running = max(0, running - 1)
    return headless


def _continued(received: Iterable[ReceivedEvent]) -> Iterable[MediaEvent]:
    """Events in order of receipt, on a clock that goes on where the player's was set back: by the time between the
    receipts, which no patient's device can set.
    """
    clock: dt.datetime | None = None
    last: ReceivedEvent | None = None
    for one in received:
        if clock is None or last is None:
            clock = one.event.timestamp
        else:
            passed = one.event.timestamp - last.event.timestamp
            if passed < dt.timedelta(0):
                passed = one.received_at - last.received_at
            clock = min(clock + passed, LATEST)
        last = one
        event = one.event
        yield event if event.timestamp == clock else msgspec.structs.replace(event, timestamp=clock)
