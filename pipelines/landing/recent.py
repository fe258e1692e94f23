"""The hashes a worker remembers of a session, to know a repetition at once.

Best effort, for the disk's sake: what counts is decided by the reader of the session, over all workers.
"""

from __future__ import annotations

HASH_BYTES = 16


class RecentHashes:
    """A window of the last ``count`` hashes in one flat buffer: 2 KiB at 128, where a dict takes ten times that."""

    __slots__ = ("_buffer", "_count", "_next")

    def __init__(self, count: int = 128) -> None:
        self._count = count
        self._buffer = bytearray()
        self._next = 0

    def add(self, payload_hash: bytes) -> None:
        """Remember a hash, forgetting the oldest when the window is full. Only for what is durable."""
        if len(payload_hash) != HASH_BYTES:
            raise ValueError(f"a hash has {HASH_BYTES} bytes, not {len(payload_hash)}")
        start = self._next * HASH_BYTES
        self._buffer[start : start + HASH_BYTES] = payload_hash
        self._next = (self._next + 1) % self._count

    def __contains__(self, payload_hash: bytes) -> bool:
        position = self._buffer.find(payload_hash)
        while position >= 0 and position % HASH_BYTES:
            position = self._buffer.find(payload_hash, position + 1)
        return position >= 0
