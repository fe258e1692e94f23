"""The safety copy's parts: what may go into the next one, where it is cut, and whether parts are the blob's beginning.

Pure. Belongs here: which batches, cuts and comparisons. Does not belong here: uploading them, or the consent ledger.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from pipelines.replay.canonical import AcceptedBatch
from pipelines.replay.consent import ConsentWindow


class Digest(NamedTuple):
    """What is known of some bytes that are elsewhere."""

    sha256: bytes
    size_bytes: int


def settled(
    accepted: Iterable[AcceptedBatch], consent: ConsentWindow, received_before: dt.datetime, copied: Collection[bytes]
) -> list[AcceptedBatch]:
    """The distinct batches with a body that were received before, that consent covers, and that are not ``copied`` yet
    (by hash), each with its first such receipt.
    """
    found: dict[bytes, AcceptedBatch] = {}
    for batch in sorted(accepted, key=lambda batch: (batch.received_at, batch.payload_hash, batch.body or b"")):
        if batch.body is None or batch.payload_hash in copied or batch.received_at >= received_before:
            continue
        if consent.covers(batch.received_at):
            found.setdefault(batch.payload_hash, batch)
    return list(found.values())


def cut(sizes_bytes: Sequence[int], part_bytes: int) -> list[range]:
    """Runs of members of at least ``part_bytes`` each, as index ranges; the last is what is left, if anything."""
    runs: list[range] = []
    begin = total_bytes = 0
    for index, size_bytes in enumerate(sizes_bytes):
        total_bytes += size_bytes
        if total_bytes >= part_bytes:
            runs.append(range(begin, index + 1))
            begin, total_bytes = index + 1, 0
    if begin < len(sizes_bytes):
        runs.append(range(begin, len(sizes_bytes)))
    return runs


def length_if_beginning(blob: bytes, parts: Iterable[Digest]) -> int | None:
    """How many bytes of ``blob`` the parts are, one after the other from its start; None where they are not that."""
    position = 0
    view = memoryview(blob)
    for part in parts:
        piece = view[position : position + part.size_bytes]
        if len(piece) != part.size_bytes or hashlib.sha256(piece).digest() != part.sha256:
            return None
        position += part.size_bytes
    return position
