"""The media events object beside the blob: the distinct events that count, one JSON line each, gzipped. Pure.

It is what media aggregates can be computed from again, so it holds the events as decoded and when each was received.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import deflate
import msgspec

from pipelines.media.events import ReceivedEvent, encode
from pipelines.media.identity import distinct
from pipelines.replay.consent import ConsentWindow

DECOMPRESSED_MAX_BYTES = 256 * 1024 * 1024


class EventCounts(NamedTuple):
    """``accepted == in_object + duplicate + dropped_for_consent``."""

    accepted: int
    in_object: int
    duplicate: int
    dropped_for_consent: int


class EventSelection(NamedTuple):
    """The distinct events that count, by (player's time, canonical JSON)."""

    events: list[ReceivedEvent]
    counts: EventCounts


def select(accepted: Iterable[ReceivedEvent], consent: ConsentWindow) -> EventSelection:
    """What counts of all acknowledged events of a session: each distinct one once, with its first receipt."""
    received = list(accepted)
    covered = [one for one in received if consent.covers(one.received_at)]
    events = sorted(distinct(covered), key=lambda one: (one.event.timestamp, encode(one.event)))
    return EventSelection(
        events,
        EventCounts(
            accepted=len(received),
            in_object=len(events),
            duplicate=len(covered) - len(events),
            dropped_for_consent=len(received) - len(covered),
        ),
    )


def write(events: Sequence[ReceivedEvent]) -> bytes:
    """The object's bytes; equal input gives equal bytes."""
    return bytes(deflate.gzip_compress(msgspec.json.Encoder().encode_lines(events), 6))


def read(content: bytes) -> list[ReceivedEvent]:
    """The events of an object. Raises ``ValueError`` for what is not one."""
    inflater = zlib.decompressobj(31)
    try:
        lines = inflater.decompress(content, DECOMPRESSED_MAX_BYTES)
        if not inflater.eof:
            raise ValueError("the events object is cut short, or too large")
        return msgspec.json.Decoder(ReceivedEvent).decode_lines(lines)
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(f"not an events object: {error}") from error
