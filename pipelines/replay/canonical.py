"""The canonical blob: which accepted batches count, in which order, and where each lies. Pure.

However a session's batches were cut over workers, in whatever order they came and however often they were repeated,
the same batches give the same bytes. Belongs here: selection, order, index and accounting. Does not belong here:
reading the spool, decoding frames, or storing anything.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from pipelines.replay.consent import ConsentWindow


class LostBatchError(Exception):
    """A duplicate was acknowledged of a batch that is nowhere: its bytes are lost."""


class AcceptedBatch(NamedTuple):
    """One acknowledged pose request. ``body`` is its gzip member as received, None where only its hash was recorded."""

    payload_hash: bytes
    received_at: dt.datetime
    body: bytes | None


class BatchCounts(NamedTuple):
    """``accepted == in_blob + duplicate + dropped_for_consent``."""

    accepted: int
    in_blob: int
    duplicate: int
    dropped_for_consent: int


class Selection(NamedTuple):
    """The distinct batches that count, by payload hash, each with the body first received."""

    bodies: dict[bytes, bytes]
    counts: BatchCounts


class Member(NamedTuple):
    """One batch of the blob: its first and last timestamp (ms since the session's start), hash and gzip member."""

    start_ms: int
    end_ms: int
    payload_hash: bytes
    body: bytes


class IndexEntry(NamedTuple):
    """Where one member lies in the blob."""

    start_ms: int
    end_ms: int
    byte_offset: int
    byte_length: int


def select(accepted: Iterable[AcceptedBatch], consent: ConsentWindow) -> Selection:
    """What counts of all acknowledged batches of a session, over all its workers.

    A payload counts once, if any receipt of it is covered by ``consent``. Raises ``LostBatchError``.
    """
    batches = sorted(accepted, key=lambda batch: (batch.received_at, batch.payload_hash, batch.body or b""))
    covered = [batch for batch in batches if consent.covers(batch.received_at)]
    bodies: dict[bytes, bytes] = {}
    for batch in covered:
        if batch.body is not None:
            bodies.setdefault(batch.payload_hash, batch.body)
    known = {batch.payload_hash for batch in batches if batch.body is not None}
    repeated = 0
    for batch in covered:
        if batch.payload_hash not in known:
            raise LostBatchError(f"a duplicate of {batch.payload_hash.hex()} was acknowledged, the batch is not there")
        # A repetition of a batch that is itself dropped (its only body came too late) brings nothing back.
        repeated += batch.payload_hash in bodies
    return Selection(
        bodies,
        BatchCounts(
            accepted=len(batches),
            in_blob=len(bodies),
            duplicate=repeated - len(bodies),
            dropped_for_consent=len(batches) - repeated,
        ),
    )


def order(members: Iterable[Member]) -> list[Member]:
    """Canonical order: by first timestamp, last timestamp, hash."""
    return sorted(members, key=lambda member: member[:3])


def assemble(members: Sequence[Member]) -> bytes:
    """The blob: gzip members one after the other, each as received, so ``gzip -dc`` reads it whole."""
    return b"".join(member.body for member in members)


def index(members: Sequence[Member]) -> list[IndexEntry]:
    """Where each member of the assembled blob lies, in the blob's order."""
    ends = accumulate(len(member.body) for member in members)
    return [
        IndexEntry(member.start_ms, member.end_ms, end - len(member.body), len(member.body))
        for member, end in zip(members, ends, strict=True)
    ]


class RangeFinder:
    """Byte ranges of stretches of time in one blob, each found in O(log members)."""

    def __init__(self, entries: Sequence[IndexEntry]) -> None:
        self._entries = entries
        self._starts_ms = [entry.start_ms for entry in entries]
        # The latest end so far: non-decreasing even where batches overlap, so it can be searched.
        self._latest_ends_ms = list(accumulate((entry.end_ms for entry in entries), max))

    def find(self, start_ms: int, end_ms: int) -> tuple[int, int] | None:
        """(offset, length) of the shortest run of members that holds every frame in ``[start_ms, end_ms]``; None where
        no member reaches into it.
        """
        first = bisect_left(self._latest_ends_ms, start_ms)
        stop = bisect_left(self._starts_ms, end_ms + 1)
        if first >= stop:
            return None
        last = self._entries[stop - 1]
        offset = self._entries[first].byte_offset
        return offset, last.byte_offset + last.byte_length - offset
