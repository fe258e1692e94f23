"""The one order all figures are computed in, although the player's clock may be wrong or jump.

Belongs here: choosing between the two clocks that stamped an event. Does not belong here: keeping each event once
(``identity.py``), which view an event belongs to (``views.py``).

Every event has two times: the player's, which a correction of the device's clock may set back in mid-view, and the
receipt's, which a lost connection may delay. Order is the player's clock, as long as it tells a story without
contradiction. A contradiction is what only an accident explains: a view without a beginning, an event after its view
ended, a stall that ended before it began, a counter that fell inside a view; and, of less weight, a position that fell
without a seek. Where the order of receipt needs fewer accidents, the player's clock was set back, and the order of
receipt is taken. A clock that is wrong by the same amount all along, or set forward, changes no order.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pipelines.media.counters import counted
from pipelines.media.events import LATEST, ReceivedEvent, encode
from pipelines.media.schema import BufferingEnd, BufferingStart, MediaEvent, Seek, SessionEnd, SessionStart
from pipelines.media.views import View, Views, split

_RANKS: Final[dict[type, int]] = {SessionStart: 0, BufferingStart: 2, BufferingEnd: 3, SessionEnd: 4}
_OTHER_RANK: Final = 1
_NONE: Final = (0, 0)


def views(received: Sequence[ReceivedEvent]) -> list[View]:
    """A session's views, from its distinct events in any order."""
    by_player = split(one.event for one in sorted(received, key=_player_key))
    accidents = _accidents(by_player)
    if accidents == _NONE:
        return by_player.views
    by_receipt = split(_continued(sorted(received, key=lambda one: (one.received_at, *_player_key(one)))))
    return by_receipt.views if _accidents(by_receipt) < accidents else by_player.views


def _player_key(one: ReceivedEvent) -> tuple[dt.datetime, int, bytes]:
    """At one instant session_start comes first, session_end last, and a stall's start before its end, as players may
    tell whole seconds only; the canonical JSON decides the rest.
    """
    return one.event.timestamp, _RANKS.get(type(one.event), _OTHER_RANK), encode(one.event)


def _accidents(found: Views) -> tuple[int, int]:
    """What only lost events or a reload explain, and after it what a patient's untold seek explains too."""
    lost = found.left_out
    returns = 0
    for view in found.views:
        lost += (view.start is None) + counted(view.events).restart_count + _headless_stalls(view.events)
        returns += _untold_returns(view.events)
    return lost, returns


def _headless_stalls(events: Sequence[MediaEvent]) -> int:
    running = headless = 0
    for event in events:
        if isinstance(event, BufferingStart):
            running += 1
        elif isinstance(event, BufferingEnd):
            headless += running == 0
            running = max(0, running - 1)
    return headless


def _untold_returns(events: Sequence[MediaEvent]) -> int:
    """Times the position fell without a seek that tells it: a loop, a lost seek, or events in the wrong order."""
    returns = 0
    last_s = 0.0
    for event in events:
        if isinstance(event, Seek):
            last_s = event.data.to_seconds
        elif not isinstance(event, SessionStart) and event.data.position_seconds is not None:
            returns += event.data.position_seconds < last_s
            last_s = event.data.position_seconds
    return returns


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
