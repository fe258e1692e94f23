"""The record's bytes: round trips, and nothing damaged is ever taken for a record."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from pipelines.landing.record import (
    HEADER_BYTES,
    decode,
    encode_header,
    from_microseconds,
    scan,
    to_microseconds,
)
from pipelines.ports.landing import RecordKind

kinds = st.sampled_from(list(RecordKind))
hashes = st.binary(min_size=16, max_size=16)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


def _bytes(offset: int, body: bytes) -> bytes:
    return encode_header(RecordKind.BATCH, offset, 5, UUID(int=7).bytes, bytes(16), body) + body


fields = st.tuples(kinds, st.integers(0, 2**63), moments, st.uuids(), hashes, st.binary(max_size=300))


@given(fields, st.integers(0, 20))
def test_round_trip_at_any_position(
    fields: tuple[RecordKind, int, datetime, UUID, bytes, bytes], position: int
) -> None:
    kind, offset, moment, session_id, payload_hash, body = fields
    header = encode_header(kind, offset, to_microseconds(moment), session_id.bytes, payload_hash, body)
    assert len(header) == HEADER_BYTES
    record = decode(b"\xff" * position + header + body + b"more", position)
    assert record is not None
    assert (record.kind, record.offset, record.session_id) == (kind, offset, session_id)
    assert (record.payload_hash, record.body) == (payload_hash, body)
    assert from_microseconds(record.received_at_us) == moment
    assert record.end_position == position + HEADER_BYTES + len(body)


@given(st.binary(max_size=60), st.data())
def test_any_changed_byte_is_seen(body: bytes, data: st.DataObject) -> None:
    content = bytearray(_bytes(0, body))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    assert decode(bytes(content), 0) is None


@given(st.lists(st.binary(max_size=50), max_size=8), st.data())
def test_a_scan_ends_at_the_last_whole_record(bodies: list[bytes], data: st.DataObject) -> None:
    content = b""
    ends = [0]
    for body in bodies:
        content += _bytes(len(content), body)
        ends.append(len(content))
    cut = data.draw(st.integers(0, len(content)))
    whole = [end for end in ends if end <= cut]
    tail = data.draw(st.sampled_from([b"", b"\0" * 200, b"\xff" * 200]))
    found = list(scan(content[:cut] + tail))
    # Zeros behind a cut can only complete a body that ended in zeros: then the record is whole, byte for byte.
    assert [record.body for record in found][: len(whole) - 1] == bodies[: len(whole) - 1]
    assert all(record.body == bodies[place] for place, record in enumerate(found))


def test_an_old_record_further_on_is_not_read_again() -> None:
    content = _bytes(0, b"a") + _bytes(73, b"b") + _bytes(0, b"a")
    assert [record.body for record in scan(content)] == [b"a", b"b"]
