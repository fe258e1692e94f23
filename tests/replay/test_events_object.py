"""The events object holds each event that counts once, whatever way it came."""

from __future__ import annotations

import datetime as dt
import gzip
import random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.media.events import ReceivedEvent
from pipelines.media.schema import Heartbeat, MediaEvent, PlaybackData, SessionStart
from pipelines.replay import events_object
from pipelines.replay.consent import ALWAYS, ConsentWindow
from pipelines.replay.events_object import EventCounts

SESSION = UUID("550e8400-e29b-41d4-a716-446655440000")
START = dt.datetime(2026, 3, 1, 9, 0, tzinfo=dt.UTC)
OPEN = ConsentWindow(ALWAYS, None)


def at(seconds: float) -> dt.datetime:
    return START + dt.timedelta(seconds=seconds)


def _heartbeat(second: int) -> Heartbeat:
    return Heartbeat(session_id=SESSION, timestamp=at(second), data=PlaybackData(position_seconds=float(second)))


EVENTS: list[MediaEvent] = [
    SessionStart(session_id=SESSION, timestamp=at(0), media_id="m", media_type="video"),
    *(_heartbeat(second) for second in range(10, 60, 10)),
]


@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.floats(0, 90)), max_size=30), st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(receipts: list[tuple[MediaEvent, float]], chance: random.Random) -> None:
    received = [ReceivedEvent(event=event, received_at=at(seconds)) for event, seconds in receipts]
    selection = events_object.select(received, OPEN)
    shuffled = list(received)
    chance.shuffle(shuffled)
    assert events_object.write(events_object.select(shuffled, OPEN).events) == events_object.write(selection.events)
    distinct = len({event.timestamp for event, _ in receipts})
    assert selection.counts == EventCounts(len(receipts), distinct, len(receipts) - distinct, 0)


def test_an_object_is_read_back_and_is_plain_gzip() -> None:
    received = [ReceivedEvent(event=event, received_at=at(second)) for second, event in enumerate(EVENTS)]
    content = events_object.write(received)
    assert events_object.read(content) == received
    assert gzip.decompress(content).count(b"\n") == len(EVENTS)
    assert events_object.read(events_object.write([])) == []


def test_what_came_after_the_withdrawal_is_dropped() -> None:
    received = [ReceivedEvent(event=event, received_at=event.timestamp) for event in EVENTS]
    selection = events_object.select(received, ConsentWindow(ALWAYS, at(30)))
    assert [one.received_at for one in selection.events] == [at(0), at(10), at(20)]
    assert selection.counts == EventCounts(6, 3, 0, 3)


@pytest.mark.parametrize(
    "content", [b"", b"not gzip", gzip.compress(b"{}\n", mtime=0), gzip.compress(b"[]", mtime=0)[:-3]]
)
def test_what_is_no_events_object_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="events object"):
        events_object.read(content)
