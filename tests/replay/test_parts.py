"""The safety copy's parts: what rests, where it is cut, and what is the blob's beginning."""

from __future__ import annotations

import datetime as dt
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from pipelines.replay import parts
from pipelines.replay.canonical import AcceptedBatch
from pipelines.replay.consent import ALWAYS, ConsentWindow

START = dt.datetime(2026, 11, 2, 9, 0, tzinfo=dt.UTC)


def _at(second: float) -> dt.datetime:
    return START + dt.timedelta(seconds=second)


def _batch(name: str, second: float, *, is_repeated: bool = False) -> AcceptedBatch:
    return AcceptedBatch(name.encode(), _at(second), None if is_repeated else f"body of {name}".encode())


@given(st.lists(st.integers(1, 50)), st.integers(1, 120))
def test_every_part_but_the_last_is_full_and_none_could_be_cut_earlier(sizes: list[int], part_bytes: int) -> None:
    runs = parts.cut(sizes, part_bytes)
    assert [index for run in runs for index in run] == list(range(len(sizes)))
    for run in runs:
        assert len(run) > 0
        assert sum(sizes[index] for index in run[:-1]) < part_bytes
    for run in runs[:-1]:
        assert sum(sizes[index] for index in run) >= part_bytes


@given(st.binary(max_size=40), st.lists(st.integers(1, 10), max_size=5))
def test_parts_are_the_beginning_exactly_where_their_bytes_are(blob: bytes, sizes: list[int]) -> None:
    position, digests = 0, []
    for size in sizes:
        piece = blob[position : position + size]
        digests.append(parts.Digest(hashlib.sha256(piece).digest(), size))
        position += size
    expected = position if position <= len(blob) else None
    assert parts.length_if_beginning(blob, digests) == expected
    if digests and expected is not None:
        changed = bytes([blob[position - 1] ^ 1])
        assert parts.length_if_beginning(blob[: position - 1] + changed + blob[position:], digests) is None


def test_what_rests_is_old_enough_covered_new_and_distinct() -> None:
    accepted = [
        _batch("a", 1),
        _batch("b", 2),
        _batch("c", 3, is_repeated=True),
        _batch("d", 9),
        _batch("e", 4),
        _batch("e", 3.5),
        _batch("f", 5),
        _batch("g", 6),
    ]
    consent = ConsentWindow(ALWAYS, _at(5.5))
    found = parts.settled(accepted, consent, _at(6), copied={b"b"})
    assert found == [_batch("a", 1), _batch("e", 3.5), _batch("f", 5)]
    assert parts.settled(accepted, consent, _at(5), copied={b"b"}) == [_batch("a", 1), _batch("e", 3.5)]
    assert parts.settled(accepted, ConsentWindow(None, None), _at(60), copied=()) == []
