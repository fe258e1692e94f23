"""One group of records that share a sync: what waits, and its bytes. No file is touched here."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import msgspec

from pipelines.landing.record import HEADER_BYTES, encode_header
from pipelines.landing.world import Done
from pipelines.ports.landing import NO_HASH, LandingError, RecordKind, SessionHeader


class Waiting(msgspec.Struct, frozen=True):
    """A record without its place. Made for every request, so of the kind that is made fastest."""

    header: SessionHeader
    kind: RecordKind
    received_at_us: int
    payload_hash: bytes
    body: bytes


class Group:
    """Records that will be synced together, and the one event their callers wait for."""

    __slots__ = ("done", "error", "offsets", "total_bytes", "waiting")

    def __init__(self, done: Done) -> None:
        self.waiting: list[Waiting] = []
        self.total_bytes = 0  # of the waiting records, without the headers of sessions
        self.offsets: list[int] = []  # of the waiting records, in their order; set before ``done``
        self.error: LandingError | None = None
        self.done = done


class Encoded(NamedTuple):
    """``buffers``: for the log; ``spool_parts``: the same, by session; ``opened``: sessions whose header is in it."""

    buffers: list[bytes]
    spool_parts: list[tuple[UUID, list[bytes]]]
    offsets: list[int]
    opened: set[UUID]


def encode(waiting_records: list[Waiting], offset: int, known: set[UUID]) -> Encoded:
    """The records' bytes from ``offset`` on, each session's header before its first unless ``known``."""
    encoded = Encoded([], [], [], set())
    for waiting in waiting_records:
        session_id = waiting.header.session_id
        parts: list[bytes] = []
        if session_id not in known and session_id not in encoded.opened:
            body = msgspec.json.encode(waiting.header)
            moment_us = waiting.received_at_us
            parts = [encode_header(RecordKind.OPEN, offset, moment_us, session_id.bytes, NO_HASH, body), body]
            offset += HEADER_BYTES + len(body)
            encoded.opened.add(session_id)
        encoded.offsets.append(offset)
        head = encode_header(
            waiting.kind, offset, waiting.received_at_us, session_id.bytes, waiting.payload_hash, waiting.body
        )
        parts += (head, waiting.body) if waiting.body else (head,)
        offset += HEADER_BYTES + len(waiting.body)
        encoded.buffers.extend(parts)
        encoded.spool_parts.append((session_id, parts))
    return encoded
