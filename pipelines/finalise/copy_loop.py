"""When which running session's safety copy is looked at: as its spool grows by a part, and no more often.

Belongs here: choosing sessions, patience, the loop. Does not belong here: what one pass does (``copier``).

Nothing is read of a session whose spool is too small for another part: its files are only measured. Once it is large
enough it is read after the batches have rested, so about once a part. Everything remembered here is a shortcut.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog

from pipelines.finalise.copier import Copier
from pipelines.finalise.disk import NodeDisk
from pipelines.finalise.safety_copy import SafetyCopies
from pipelines.ports.blob_store import BlobStoreUnavailable
from pipelines.ports.landing import SessionNotLandedError
from pipelines.ports.session_store import SessionStore, SessionStoreUnavailable

_ASKED_MAX = 1000  # sessions asked about in one statement
_SETTLED_MAX = 100  # left-over copies given up in one pass
_DAMAGED_PAUSE_S = 300.0
_AWAY = (SessionStoreUnavailable, BlobStoreUnavailable, OSError)


@dataclass
class _Watch:
    """A session on the disk: read once its spool has ``from_bytes`` and ``not_before_s`` has come."""

    from_bytes: int
    not_before_s: float | None = None  # None: not large enough yet
    is_open: bool = True


class CopyLoop:
    """One node's loop over its running sessions; for one thread. ``monotonic_s`` measures patience."""

    def __init__(
        self,
        *,
        node_id: str,
        data_dir: Path,
        lost_s: int,
        disk: NodeDisk,
        sessions: SessionStore,
        copier: Copier,
        copies: SafetyCopies,
        monotonic_s: Callable[[], float],
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._node_id = node_id
        self._data_dir = data_dir
        self._lost_s = lost_s
        self._disk = disk
        self._sessions = sessions
        self._copier = copier
        self._copies = copies
        self._monotonic_s = monotonic_s
        self._log = log
        self._watches: dict[UUID, _Watch] = {}

    def run(self, stop: threading.Event, interval_s: float) -> None:
        """Work until ``stop`` is set; a part that was begun is finished."""
        while not stop.is_set():
            try:
                self.look(stop)
            except Exception as error:  # nobody watches this thread: it says so, and goes on
                self._log.error("safety copies failed", error=str(error), exc_info=error)
            stop.wait(interval_s)

    def look(self, stop: threading.Event) -> None:
        """One pass over the node's sessions. A store that is away ends it; the next one goes on."""
        try:
            if not self._disk.is_recovering():  # else the spool may lack what its order needs
                self._copy(stop)
            for settled in self._copies.store.settled(self._node_id, self._lost_s, _SETTLED_MAX):
                self._copies.discard(settled.organisation_id, settled.session_id)
        except _AWAY as error:
            self._log.warning("safety copies wait", error=str(error))

    def _copy(self, stop: threading.Event) -> None:
        due = self._due(self._disk.spooled())[:_ASKED_MAX]
        if not due:
            return
        organisations = {
            one.session_id: one.organisation_id
            for one in self._sessions.states(self._node_id, due)
            if one.state == "open" and one.revision == 0
        }
        for session_id in due:
            if stop.is_set():
                return
            if session_id in organisations:
                self._advance(organisations[session_id], session_id)
            else:
                self._watches[session_id].is_open = False

    def _due(self, spooled: Iterable[UUID]) -> list[UUID]:
        """Sessions large enough for long enough, the longest waiting first."""
        now_s = self._monotonic_s()
        watches = {one: self._watches.get(one) or _Watch(self._copies.rules.part_bytes) for one in spooled}
        self._watches = watches
        for session_id, watch in watches.items():
            if watch.is_open and watch.not_before_s is None and self._size(session_id) >= watch.from_bytes:
                watch.not_before_s = now_s + self._copies.rules.age.total_seconds()
        waiting = [
            (watch.not_before_s, session_id)
            for session_id, watch in watches.items()
            if watch.is_open and watch.not_before_s is not None and watch.not_before_s <= now_s
        ]
        return [session_id for _, session_id in sorted(waiting)]

    def _advance(self, organisation_id: int, session_id: UUID) -> None:
        watch = self._watches[session_id]
        size_bytes = self._size(session_id)  # before it is read: what lands meanwhile counts for the next look
        try:
            advance = self._copier.advance(organisation_id, session_id)
        except _AWAY:
            raise
        except SessionNotLandedError:
            return
        except Exception as error:
            watch.not_before_s = self._monotonic_s() + _DAMAGED_PAUSE_S
            self._log.error("no safety copy", session_id=str(session_id), error=str(error), exc_info=error)
            return
        watch.is_open = advance.is_open
        if advance.wanting_bytes:
            watch.from_bytes = size_bytes + advance.wanting_bytes
            watch.not_before_s = None
        if advance.part_count:
            self._log.info("safety copy", session_id=str(session_id), parts=advance.part_count)

    def _size(self, session_id: UUID) -> int:
        return sum(size_bytes for _, size_bytes in self._disk.sizes(session_id))
