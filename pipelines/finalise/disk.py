"""The finaliser's look at its node's disk: cheap questions asked many times a second, and one lock.

Belongs here: which sessions have ended or grown. Does not belong here: reading records (``pipelines.landing.reader``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from pipelines.landing import closed, layout, reader, spool, withhold
from pipelines.landing.closed import End
from pipelines.landing.withhold import Withheld
from pipelines.ports.landing import LandedSession

# A directory's time stamp is as coarse as the kernel's tick: a change this close to it may not have moved it.
_TICK_NS = 50_000_000

SpoolSizes = tuple[tuple[str, int], ...]


class FinaliserRunsError(Exception):
    """Another finaliser already serves this data directory."""


class NodeDisk:
    """One node's data directory as the finaliser sees it. ``closed_if_changed`` is for one thread."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._closed_seen_ns = -1
        self._closed_settled = False

    def read_session(self, session_id: UUID) -> LandedSession:
        """Raises ``SessionNotLandedError``."""
        return reader.read_session(self._data_dir, session_id)

    def end(self, session_id: UUID) -> End | None:
        return closed.read(self._data_dir, session_id)

    def spooled(self) -> list[UUID]:
        """Every session with a spool."""
        return reader.list_sessions(self._data_dir)

    def closed_if_changed(self) -> list[UUID] | None:
        """Every session with an acknowledged end, or None where there is nothing new since the last call."""
        try:
            changed_ns = layout.closed_directory(self._data_dir).stat().st_mtime_ns
        except FileNotFoundError:
            return None
        if changed_ns == self._closed_seen_ns and self._closed_settled:
            return None
        self._closed_settled = time.time_ns() - changed_ns > _TICK_NS
        self._closed_seen_ns = changed_ns
        return closed.sessions(self._data_dir)

    def closed(self) -> list[UUID]:
        """Every session with an acknowledged end."""
        return closed.sessions(self._data_dir)

    def is_recovering(self) -> bool:
        """Whether a log is there that may hold records the spool lacks."""
        return reader.has_unrecovered_log(self._data_dir)

    def sizes(self, session_id: UUID) -> SpoolSizes:
        """The spool files and their bytes: two equal answers mean that nothing was added between."""
        return tuple((name, size) for name, size, _ in self._files(session_id))

    def changed_since(self, session_id: UUID, moment: dt.datetime) -> bool:
        """Whether a spool file was written at or after ``moment`` (this node's clock), with two seconds to spare."""
        bound_ns = int((moment.timestamp() - 2.0) * 1e9)
        return any(changed_ns >= bound_ns for _, _, changed_ns in self._files(session_id))

    def logs(self, session_id: UUID) -> set[str]:
        """The logs that hold something of the session."""
        return {Path(name).stem for name, _, _ in self._files(session_id)}

    def remove(self, session_id: UUID) -> None:
        """Forget a session's records and its end."""
        spool.remove(self._data_dir, session_id)
        closed.remove(self._data_dir, session_id)
        withhold.settle(self._data_dir, session_id)

    def close(self, session_id: UUID, end: End) -> None:
        """Have the workers refuse everything that still comes for the session."""
        closed.mark(self._data_dir, session_id, end)

    def remove_spool(self, session_id: UUID) -> None:
        """Forget a session's records and keep its end, so that nothing is accepted again."""
        spool.remove(self._data_dir, session_id)
        withhold.settle(self._data_dir, session_id)

    def withhold(self, session_id: UUID, withheld: Withheld) -> tuple[int, int]:
        """Take these bodies out of the session's spool: how many files were rewritten, and how many are left to do.

        Files of living logs are asked for and left; so are those of a log that waits for recovery. Raises ``OSError``.
        """
        taken, left = 0, 0
        for path in withhold.holding(self._data_dir, session_id, withheld):
            if withhold.is_abandoned(self._data_dir, path):
                withhold.Rewriting(path, withheld).finish()
                taken += 1
            else:
                left += 1
        if left:
            withhold.ask(self._data_dir, session_id, withheld)
        else:
            withhold.settle(self._data_dir, session_id)
        return taken, left

    def _files(self, session_id: UUID) -> list[tuple[str, int, int]]:
        found = []
        try:
            with os.scandir(layout.session_directory(self._data_dir, session_id)) as entries:
                for entry in entries:
                    status = entry.stat()
                    found.append((entry.name, status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            return []
        return sorted(found)


@contextlib.contextmanager
def sole_finaliser(data_dir: Path) -> Iterator[None]:
    """Hold the node's finaliser lock. Raises ``FinaliserRunsError``."""
    layout.prepare(data_dir)
    descriptor = os.open(data_dir / "finaliser.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, layout.FILE_MODE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FinaliserRunsError(f"another finaliser serves {data_dir}") from None
        yield
    finally:
        os.close(descriptor)
