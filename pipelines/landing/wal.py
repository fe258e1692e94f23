"""A write-ahead log's segment files: appending, syncing, cutting back, rotating, deleting.

Belongs here: one log's files and their offsets. One thread at a time may use a ``WriteAheadLog``; who waits for whom is
``disk``'s business. A segment holds records only; its name holds the offset it begins at.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from uuid import UUID

from pipelines.landing import layout, slot

_IOV_MAX = 1024  # Linux and macOS; a longer vector is refused


class CutBackFailedError(OSError):
    """The log could not be cut back to its last durable record: what follows it is unknown."""


class Segment:
    """One open, held segment. ``sessions``: whose spool files must be durable before it may go; ``unnamed``: of these,
    whose files were made during its life, so that their names must be durable too.
    """

    def __init__(self, directory: Path, log: str, base: int) -> None:
        self.path = directory / slot.segment_name(log, base)
        self.base = base
        self.sessions: set[UUID] = set()
        self.unnamed: set[UUID] = set()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self.descriptor = os.open(self.path, flags, layout.FILE_MODE)
        slot.hold_segment(self.descriptor)
        layout.sync_directory(directory)

    def delete(self) -> None:
        """Delete the file first and let go after, so that nobody finds it without its owner."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


class WriteAheadLog:
    """The live log of a slot. ``durable_offset``: the offset after the last synced record."""

    def __init__(self, directory: Path, log: str) -> None:
        self.log = log
        self._directory = directory
        self.durable_offset = 0
        self.active = Segment(directory, log, 0)
        self.sealed: list[Segment] = []  # no longer written, not yet deleted

    @property
    def active_bytes(self) -> int:
        return self.durable_offset - self.active.base

    def commit(self, buffers: list[bytes], sessions: set[UUID]) -> float:
        """Append ``buffers`` and sync; gives the seconds the sync took.

        On an error of the writing the segment is cut back and ``OSError`` raised: the log goes on as if nothing had
        been asked. On an error of the syncing, or of the cutting back, ``CutBackFailedError``: nobody knows what is on
        the disk, and the log must not be used again.
        """
        try:
            written_bytes = _write_all(self.active.descriptor, buffers)
        except OSError:
            self._cut_back()
            raise
        started_s = time.monotonic()
        try:
            os.fdatasync(self.active.descriptor)
        except OSError as error:
            raise CutBackFailedError(error.errno, f"sync failed: {error.strerror}") from error
        self.durable_offset += written_bytes
        self.active.sessions |= sessions
        return time.monotonic() - started_s

    def rotate(self) -> None:
        """Go on in a new segment. Raises ``OSError`` and stays in the old one if it cannot be made."""
        fresh = Segment(self._directory, self.log, self.durable_offset)
        self.sealed.append(self.active)
        self.active = fresh

    def delete(self, segments: list[Segment]) -> None:
        for segment in segments:
            segment.delete()
            if segment in self.sealed:
                self.sealed.remove(segment)  # in place: a rotation may append at the same moment
        layout.sync_directory(self._directory)

    def abandon(self) -> None:
        """Let go of all files and leave them for recovery."""
        for segment in (*self.sealed, self.active):
            os.close(segment.descriptor)
        self.sealed = []

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self.active.descriptor, self.active_bytes)
        except OSError as error:
            raise CutBackFailedError(error.errno, f"cut back failed: {error.strerror}") from error


def _write_all(descriptor: int, buffers: list[bytes]) -> int:
    written_total = 0
    for start in range(0, len(buffers), _IOV_MAX):
        chunk = buffers[start : start + _IOV_MAX]
        chunk_bytes = sum(map(len, chunk))
        written_bytes = os.writev(descriptor, chunk)
        if written_bytes < chunk_bytes:  # a nearly full disk, or a signal
            rest = memoryview(b"".join(chunk))
            while written_bytes < chunk_bytes:
                written_bytes += os.write(descriptor, rest[written_bytes:])
        written_total += chunk_bytes
    return written_total
