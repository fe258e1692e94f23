"""The canonical blob does not depend on how its batches arrived, and its accounting always closes."""

from __future__ import annotations

import datetime as dt
import gzip
import random

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from pipelines.replay.canonical import (
    AcceptedBatch,
    BatchCounts,
    IndexEntry,
    LostBatchError,
    Member,
    RangeFinder,
    assemble,
    index,
    order,
    select,
)
from pipelines.replay.consent import ALWAYS, NEVER, ConsentWindow

START = dt.datetime(2026, 3, 1, 9, 0, tzinfo=dt.UTC)
OPEN = ConsentWindow(ALWAYS, None)


def at(seconds: float) -> dt.datetime:
    return START + dt.timedelta(seconds=seconds)


def _hash(payload: bytes) -> bytes:
    return xxhash.xxh3_128_digest(payload)


def _batch(payload: bytes, seconds: float, *, hash_only: bool = False) -> AcceptedBatch:
    return AcceptedBatch(_hash(payload), at(seconds), None if hash_only else gzip.compress(payload, mtime=0))


# A payload here says its own first and last timestamp, so a member can be made from a body alone.
spans = st.tuples(st.integers(0, 50), st.integers(0, 20), st.integers(0, 3)).map(
    lambda span: f"{span[0]} {span[0] + span[1]} {span[2]}".encode()
)
sessions = st.lists(spans, unique=True, max_size=12)


def _members(bodies: dict[bytes, bytes]) -> list[Member]:
    members = []
    for payload_hash, body in bodies.items():
        start, end, _ = map(int, gzip.decompress(body).split())
        members.append(Member(start, end, payload_hash, body))
    return members


@given(sessions, st.randoms(use_true_random=False), st.integers(1, 4))
def test_any_spread_order_and_repetition_gives_the_same_blob(
    payloads: list[bytes], chance: random.Random, workers: int
) -> None:
    straight = [_batch(payload, second) for second, payload in enumerate(payloads)]
    expected = assemble(order(_members(select(straight, OPEN).bodies)))

    seen: list[set[bytes]] = [set() for _ in range(workers)]
    landed = []
    for second, payload in enumerate(payloads):
        for _ in range(chance.randint(1, 4)):
            worker = chance.randrange(workers)
            # A worker that knows the payload records its hash alone; one that does not stores it again.
            landed.append(_batch(payload, second + chance.random(), hash_only=payload in seen[worker]))
            seen[worker].add(payload)
    chance.shuffle(landed)

    selection = select(landed, OPEN)
    assert assemble(order(_members(selection.bodies))) == expected
    assert selection.counts == BatchCounts(len(landed), len(payloads), len(landed) - len(payloads), 0)


@given(
    st.lists(st.tuples(spans, st.floats(0, 20), st.booleans()), max_size=25),
    st.one_of(st.none(), st.floats(0, 20)),
    st.randoms(use_true_random=False),
)
def test_accounting_closes_and_nothing_uncovered_survives(
    receipts: list[tuple[bytes, float, bool]], withdrawn_s: float | None, chance: random.Random
) -> None:
    with_body = {payload for payload, _, hash_only in receipts if not hash_only}
    landed = [
        _batch(payload, seconds, hash_only=hash_only)
        for payload, seconds, hash_only in receipts
        if payload in with_body or not hash_only
    ]
    chance.shuffle(landed)
    consent = ConsentWindow(ALWAYS, None if withdrawn_s is None else at(withdrawn_s))
    selection = select(landed, consent)
    counts = selection.counts
    assert counts.accepted == len(landed) == counts.in_blob + counts.duplicate + counts.dropped_for_consent
    assert min(counts) >= 0
    covered = {batch.payload_hash for batch in landed if batch.body is not None and consent.covers(batch.received_at)}
    assert set(selection.bodies) == covered


def test_without_consent_everything_is_dropped() -> None:
    selection = select([_batch(b"0 1 0", 1), _batch(b"0 1 0", 2, hash_only=True)], NEVER)
    assert selection.bodies == {}
    assert selection.counts == BatchCounts(2, 0, 0, 2)


def test_a_repetition_after_the_withdrawal_is_dropped_and_the_first_receipt_stays() -> None:
    consent = ConsentWindow(ALWAYS, at(5))
    selection = select([_batch(b"0 1 0", 1), _batch(b"0 1 0", 2), _batch(b"0 1 0", 6)], consent)
    assert selection.counts == BatchCounts(3, 1, 1, 1)


def test_a_duplicate_of_a_batch_that_is_nowhere_is_a_loss_and_not_a_number() -> None:
    with pytest.raises(LostBatchError):
        select([_batch(b"0 1 0", 1, hash_only=True)], OPEN)


def test_the_same_payload_compressed_twice_is_one_batch() -> None:
    payload = b"0 1 0"
    other = AcceptedBatch(_hash(payload), at(2), gzip.compress(payload, 1, mtime=5))
    first = _batch(payload, 1)
    assert select([other, first], OPEN).bodies == {_hash(payload): first.body}


@given(sessions)
def test_the_index_finds_every_member_and_gzip_reads_the_whole(payloads: list[bytes]) -> None:
    members = order(_members(select([_batch(p, i) for i, p in enumerate(payloads)], OPEN).bodies))
    blob = assemble(members)
    entries = index(members)
    assert (gzip.decompress(blob) if blob else b"") == b"".join(gzip.decompress(member.body) for member in members)
    for member, entry in zip(members, entries, strict=True):
        assert blob[entry.byte_offset : entry.byte_offset + entry.byte_length] == member.body
        assert (entry.start_ms, entry.end_ms) == (member.start_ms, member.end_ms)
    assert [entry[:2] for entry in entries] == sorted(entry[:2] for entry in entries)


@given(sessions, st.integers(0, 80), st.integers(0, 30))
def test_a_found_range_holds_every_member_that_reaches_into_it(payloads: list[bytes], start_ms: int, span: int) -> None:
    members = order(_members(select([_batch(p, i) for i, p in enumerate(payloads)], OPEN).bodies))
    entries = index(members)
    end_ms = start_ms + span
    wanted = [entry for entry in entries if entry.start_ms <= end_ms and entry.end_ms >= start_ms]
    found = RangeFinder(entries).find(start_ms, end_ms)
    if found is None:
        assert wanted == []
        return
    offset, length = found
    for entry in wanted:
        assert offset <= entry.byte_offset
        assert entry.byte_offset + entry.byte_length <= offset + length


def test_a_found_range_is_no_longer_than_needed() -> None:
    entries = [IndexEntry(second * 1000, second * 1000 + 967, second * 10, 10) for second in range(6)]
    assert RangeFinder(entries).find(1500, 3100) == (10, 30)
    assert RangeFinder(entries).find(980, 990) is None
    assert RangeFinder(entries).find(7000, 8000) is None
    assert RangeFinder([]).find(0, 10) is None
