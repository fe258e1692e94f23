"""Ends: of a session that the patient finished, and of one whose last consent was withdrawn.

An end is a record in the log first, then a marker every worker of the node sees, then a row in PostgreSQL. So it holds
with PostgreSQL down, and the same end asked again is answered the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec
import structlog

from ingest_service.consent import PURPOSES, Grant
from ingest_service.sessions import PatientKey, Session
from pipelines.landing import closed
from pipelines.landing.world import RunInThread
from pipelines.ports.landing import NO_HASH, LandingFullError, LandingLog, RecordKind, SessionHeader

WITHDRAWN = "consent_withdrawn"
TOLD_WITHIN_S = 1.0
_UNMARKED_MAX = 10_000

log = structlog.get_logger(__name__)


class Ender:
    """Ends sessions once. ``announce`` queues the row for PostgreSQL."""

    def __init__(
        self,
        *,
        data_dir: Path,
        landing: LandingLog,
        run_in_thread: RunInThread,
        announce: Callable[[UUID, str, datetime], threading.Event],
        now: Callable[[], datetime],
    ) -> None:
        self._data_dir = data_dir
        self._landing = landing
        self._run_in_thread = run_in_thread
        self._announce = announce
        self._now = now

        # In the log and not marked, because the disk would not take the marker: recovery would mark them.
        self._unmarked: dict[UUID, closed.End] = {}

    def standing(self, session_id: UUID) -> closed.End | None:
        """The end that was acknowledged on this node, if any."""
        marked = self._run_in_thread(closed.read, self._data_dir, session_id)
        return marked or self._unmarked.get(session_id)

    def end(self, header: SessionHeader, reason: str, told_within_s: float = TOLD_WITHIN_S) -> closed.End:
        """The end that stands; the first one asked for. Raises ``LandingError`` where it cannot be made durable.

        A record in the log is an end, whatever becomes of its marker: recovery and finaliser would take it for one.
        Waits ``told_within_s`` for PostgreSQL to know, so that the exercise can be started anew at once; without it the
        end stands all the same.
        """
        session_id = header.session_id
        if (standing := self.standing(session_id)) is not None:
            return standing
        if len(self._unmarked) >= _UNMARKED_MAX:
            raise LandingFullError("more ends wait for their markers than may")
        asked = closed.End(reason=reason, ended_at=self._now())
        body = msgspec.json.encode({"reason": reason})
        self._landing.append(header, RecordKind.END, asked.ended_at, NO_HASH, body)
        standing = self._mark(session_id, asked)
        told = self._announce(session_id, standing.reason, standing.ended_at)
        log.info("session_ended", session_id=str(session_id), reason=standing.reason)
        told.wait(told_within_s)
        return standing

    def mark_again(self) -> None:
        """Make the markers that could not be made. To be called every few seconds."""
        for session_id, end in list(self._unmarked.items()):
            self._mark(session_id, end)

    def _mark(self, session_id: UUID, asked: closed.End) -> closed.End:
        try:
            standing = self._run_in_thread(closed.mark, self._data_dir, session_id, asked)
        except OSError as error:
            # Until it is marked the other workers do not know: what they still take is late data, and counts.
            log.warning("end_not_marked", session_id=str(session_id), error=str(error))
            self._unmarked[session_id] = asked
            return asked
        self._unmarked.pop(session_id, None)
        return standing


class WithdrawalWatch:
    """Turns changes of consent into what they mean for live sessions.

    A withdrawn purpose stays withdrawn for the session; a session with no purpose left is to be ended, which blocks, so
    it is queued for ``end_queued``.
    """

    def __init__(
        self,
        sessions: Iterable[Session],
        find: Callable[[PatientKey], Iterable[tuple[str, Grant]]],
        wake: Callable[[], None],
    ) -> None:
        self._sessions = sessions
        self._find = find
        self._wake = wake
        self._queued: dict[UUID, Session] = {}

    def changed(self, patient: PatientKey) -> None:
        """To be called with every patient whose consent was read or changed."""
        grants = dict(self._find(patient))
        if all(grant.withdrawn_at is None for grant in grants.values()):
            return
        open_purposes = {purpose for purpose in PURPOSES if purpose in grants and grants[purpose].granted}
        for session in self._sessions:
            if session.patient != patient:
                continue
            # What was withdrawn before the session began never ended it: the portal was told not to capture.
            withdrawn = {
                purpose
                for purpose, grant in grants.items()
                if grant.withdrawn_at is not None and grant.withdrawn_at >= session.minted_at
            }
            session.withdrawn |= withdrawn
            if withdrawn and not session.ended and not open_purposes - session.withdrawn:
                self._queued[session.header.session_id] = session
                self._wake()

    def end_queued(self, ender: Ender) -> None:
        """End what is queued; a session that cannot be ended now stays queued. Raises ``LandingError``."""
        for session_id, session in list(self._queued.items()):
            ender.end(session.header, WITHDRAWN, told_within_s=0)  # by the thread that would tell it
            session.ended = True
            self._queued.pop(session_id, None)
