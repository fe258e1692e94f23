"""The files of one log: its write-ahead log and its spool, and the order in which one follows the other.

Belongs here: committing a group, keeping the spool level with the log, rotating, checkpointing, closing. Every method
blocks. Who waits for whom, and what a fault means for who waits, is ``disk``'s business: one thread at a time commits,
catches up and rotates, and another may checkpoint meanwhile.
"""

from __future__ import annotations

import errno
from collections import deque
from pathlib import Path
from uuid import UUID

from pipelines.landing import layout, slot, spool, withhold
from pipelines.landing.wal import Segment, WriteAheadLog

# More spool files than this are synced all at once: with thousands of live sessions a segment holds little more than
# one batch of each, so a sync a file would come near a sync a batch.
ONE_BY_ONE_MAX = 32
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_no_room(error: OSError) -> bool:
    """Whether the disk is full rather than broken: that passes."""
    return error.errno in _NO_ROOM


class LogFiles:
    """Of a slot the caller owns. ``wal``: for its name and its offsets."""

    def __init__(self, data_dir: Path, owned: slot.Slot, log: str, spool_open_files_max: int) -> None:
        self.wal = WriteAheadLog(owned.directory, log)
        self._data_dir = data_dir
        self._slot = owned
        self._whole = layout.WholeSync(data_dir)  # for the log's life: it tells of errors since it was made
        self._spool = spool.SpoolWriter(data_dir, log, spool_open_files_max)
        # Durable in the log and not yet in the spool: empty but within a commit, or while the disk is really full.
        self._behind: deque[tuple[UUID, list[bytes]]] = deque()
        self._withheld: dict[UUID, withhold.Ask] = {}  # as last looked at
        self._rewritings: list[tuple[UUID, withhold.Rewriting]] = []

    def commit(self, buffers: list[bytes], spool_parts: list[tuple[UUID, list[bytes]]]) -> tuple[float, OSError | None]:
        """Write ``buffers`` and sync, then bring the spool level. Gives the seconds of the sync, and as ``catch_up``.

        Raises as ``WriteAheadLog.commit`` does; an error that is returned is one of the spool: the group is durable.
        """
        sync_s = self.wal.commit(buffers, {session_id for session_id, _ in spool_parts})
        self._behind.extend(spool_parts)
        return sync_s, self.catch_up()

    def catch_up(self) -> OSError | None:
        """Bring the spool as far as the log, in the log's order; the error where it stops short."""
        try:
            while self._behind:
                self._spool.write(*self._behind[0])
                self._behind.popleft()
        except OSError as error:
            return error
        return None

    def rotate(self) -> None:
        """Go on in a new segment. Raises ``OSError`` and stays in the old one."""
        self._take_unnamed()
        self.wal.rotate()
        # An open file outlives its removal: without this, erased bytes would stay on the disk for as long.
        self._spool.close()

    def checkpoint(self, sealed: list[Segment]) -> None:
        """Make the spool durable as far as these segments go, and delete them. Raises ``OSError``, and then nobody
        knows what the disk holds (``suspect_spool``).
        """
        sessions: set[UUID] = set().union(*(segment.sessions for segment in sealed))
        unnamed: set[UUID] = set().union(*(segment.unnamed for segment in sealed))
        if len(sessions) > ONE_BY_ONE_MAX and self._whole.is_known():
            self._whole.sync()
        else:
            spool.sync(self._data_dir, sorted(sessions), self.wal.log, unnamed)
        self.wal.delete(sealed)

    def begin_withholding(self) -> bool:
        """Begin to take out of this log's spool files what is asked for anew (``withhold``); whether there is any.

        From a thread that nobody waits for: it reads and writes whole files. Raises ``OSError``.
        """
        if self._rewritings:
            return True
        asked = withhold.asked(self._data_dir)
        for session_id, wish in asked.items():
            path = layout.spool_path(self._data_dir, session_id, self.wal.log)
            if self._withheld.get(session_id) != wish and path.exists():
                self._rewritings.append((session_id, withhold.Rewriting(path, wish.withheld)))
        self._withheld = asked
        return bool(self._rewritings)

    def finish_withholding(self) -> None:
        """Put the rewritten files in their places; by the thread that writes the spool. Raises ``OSError``."""
        while self._rewritings:
            session_id, rewriting = self._rewritings.pop()
            self._spool.let_go(session_id)
            rewriting.finish()

    def suspect_spool(self) -> None:
        """Note for recovery that a sync of the spool failed."""
        self._slot.suspect_spool()

    def close(self, *, complete: bool) -> None:
        """Let go of everything. ``complete``: the spool is level, so it is synced and nothing is left to recover; else
        the log stays for recovery. Raises ``OSError``, and then the log stays too.
        """
        try:
            if complete:
                self._take_unnamed()
                self.checkpoint([*self.wal.sealed, self.wal.active])
            else:
                self.wal.abandon()
        except OSError:
            # The log is still there for recovery, which then writes the spool anew.
            self.suspect_spool()
            raise
        finally:
            for _, rewriting in self._rewritings:
                rewriting.abandon()
            self._spool.close()
            self._whole.close()
            self._slot.release()

    def _take_unnamed(self) -> None:
        self.wal.active.unnamed |= self._spool.take_unnamed()
