"""The window of remembered hashes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.landing.recent import RecentHashes

hashes = st.integers(0, 2**20).map(lambda number: (number * 0x0101010101).to_bytes(16))


@given(st.lists(hashes, max_size=60), st.integers(1, 8), hashes)
def test_it_remembers_exactly_the_last(added: list[bytes], count: int, asked: bytes) -> None:
    window = RecentHashes(count)
    for payload_hash in added:
        window.add(payload_hash)
    assert (asked in window) == (asked in added[-count:])
    assert all(payload_hash in window for payload_hash in added[-count:])


def test_a_hash_across_two_neighbours_is_not_found() -> None:
    window = RecentHashes()
    window.add(b"a" * 8 + b"b" * 8)
    window.add(b"c" * 8 + b"d" * 8)
    assert b"b" * 8 + b"c" * 8 not in window


def test_only_hashes_are_taken() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        RecentHashes().add(b"short")
