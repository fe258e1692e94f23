"""One landed record as bytes: the same bytes in the write-ahead log and in the spool. Pure: no file is touched here.

Layout, little-endian, 72 bytes of header and then the body::

    uint64 header_sum | uint8 format (1) | uint8 kind | uint16 0 | uint32 body_bytes | uint64 offset
    int64 received_at_us | 16 bytes session_id | 16 bytes payload_hash | uint64 body_sum

Both sums are XXH3-64; ``header_sum`` covers the header after itself, so ``body_sum`` too. ``offset`` is the record's
place in its log: a record that is whole but in the wrong place (an old block brought back by a crash) is no record.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import xxhash

from pipelines.ports.landing import RecordKind

HEADER_BYTES = 72
BODY_MAX_BYTES = 16 * 1024 * 1024  # far above any request; a length beyond it is damage, not a record

_FORMAT = 1
_SUM = struct.Struct("<Q")
_REST = struct.Struct("<BBHIQq16s16sQ")
_KIND_NUMBERS = {
    RecordKind.OPEN: 1,
    RecordKind.BATCH: 2,
    RecordKind.DUPLICATE: 3,
    RecordKind.MEDIA: 4,
    RecordKind.END: 5,
}
_KINDS = {number: kind for kind, number in _KIND_NUMBERS.items()}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Record(NamedTuple):
    """A decoded record; ``end_position`` is where the next one begins in the buffer it was read from."""

    kind: RecordKind
    offset: int
    received_at_us: int
    session_id: UUID
    payload_hash: bytes
    body: bytes
    end_position: int

    @property
    def total_bytes(self) -> int:
        return HEADER_BYTES + len(self.body)


def encode_header(  # noqa: PLR0917 - called for every batch, where keywords cost
    kind: RecordKind, offset: int, received_at_us: int, session_id: bytes, payload_hash: bytes, body: bytes
) -> bytes:
    """The 72 bytes that go before ``body``. ``session_id`` and ``payload_hash``: 16 bytes each."""
    rest = _REST.pack(
        _FORMAT,
        _KIND_NUMBERS[kind],
        0,
        len(body),
        offset,
        received_at_us,
        session_id,
        payload_hash,
        xxhash.xxh3_64_intdigest(body),
    )
    return _SUM.pack(xxhash.xxh3_64_intdigest(rest)) + rest


def decode(buffer: bytes | memoryview, position: int) -> Record | None:
    """The record at ``position``, or None where there is no whole one: the end of the file, a torn tail, damage."""
    body_position = position + HEADER_BYTES
    if body_position > len(buffer):
        return None
    rest = bytes(buffer[position + _SUM.size : body_position])
    if _SUM.unpack_from(buffer, position)[0] != xxhash.xxh3_64_intdigest(rest):
        return None
    form, kind, _, body_bytes, offset, received_at_us, session_id, payload_hash, body_sum = _REST.unpack(rest)
    end_position = body_position + body_bytes
    if form != _FORMAT or kind not in _KINDS or body_bytes > BODY_MAX_BYTES or end_position > len(buffer):
        return None
    body = bytes(buffer[body_position:end_position])
    if xxhash.xxh3_64_intdigest(body) != body_sum:
        return None
    return Record(_KINDS[kind], offset, received_at_us, UUID(bytes=session_id), payload_hash, body, end_position)


def scan(buffer: bytes | memoryview, position: int = 0) -> Iterator[Record]:
    """Whole records one after the other from ``position``, with rising offsets; stops at the first that is not."""
    last_offset = -1
    while (record := decode(buffer, position)) is not None and record.offset > last_offset:
        yield record
        position = record.end_position
        last_offset = record.offset


def to_microseconds(moment: datetime) -> int:
    """Microseconds since 1970, exactly (a float would lose them)."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND
