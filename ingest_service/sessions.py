"""The live sessions of a worker: what it must remember from request to request, in bounded memory. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from ingest_service.claims import Claims
from pipelines.landing.recent import RecentHashes
from pipelines.ports.landing import SessionHeader

PatientKey = tuple[int, UUID]

# Consent given after a session began counts for the next one. The two times come from two machines, and a portal may
# ask for both at once, so "after" begins a minute later.
_LATE_GRANT = timedelta(seconds=60)
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


class Session:
    """One live session. ``withdrawn``: purposes withdrawn since it began; they stay so until a new session."""

    __slots__ = (
        "_allowance",
        "_allowance_at_s",
        "closed_marker",
        "denied",
        "ended",
        "grants_until",
        "header",
        "last_seen_s",
        "last_seq",
        "minted_at",
        "patient",
        "permitted_at",
        "permitted_purpose",
        "recent",
        "unmarked_at",
        "withdrawn",
    )

    def __init__(self, claims: Claims, now_s: float, burst: int, duplicate_window: int) -> None:
        self.header: SessionHeader = claims.header
        self.patient: PatientKey = (claims.header.organisation_id, claims.header.principal_id)
        self.minted_at: datetime = claims.minted_at
        self.grants_until = claims.minted_at + min(_LATE_GRANT, _END_OF_TIME - claims.minted_at)
        self.recent = RecentHashes(duplicate_window)
        self.closed_marker: str | None = None  # where its end would be marked, once asked for
        self.unmarked_at = -1  # the state of the node's markers at which it was looked for and was not there
        # The state of the ledger's news at which consent to this purpose was found.
        self.permitted_purpose = ""
        self.permitted_at = -1
        self.withdrawn: frozenset[str] = frozenset()
        self.denied: frozenset[str] = frozenset()
        self.ended = False
        self.last_seen_s = now_s
        self.last_seq: int | None = None
        self._allowance = float(burst)
        self._allowance_at_s = now_s

    def take(self, now_s: float, rate_per_s: float, burst: int) -> bool:
        """Take one request from the session's token bucket; False when it is empty."""
        refilled = self._allowance + (now_s - self._allowance_at_s) * rate_per_s
        self._allowance = min(float(burst), refilled)
        self._allowance_at_s = now_s
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True

    def gap_before(self, seq: int) -> int:
        """How many batches the sender's numbering skipped before ``seq``, as this worker sees it."""
        last, self.last_seq = self.last_seq, max(seq, self.last_seq or 0)
        return max(0, seq - last - 1) if last is not None else 0


class TooManySessionsError(Exception):
    """All places are taken by sessions that are not idle."""


class SessionTable:
    """Sessions by id, the longest unseen first."""

    def __init__(self, count_max: int, idle_s: float, burst: int, duplicate_window: int) -> None:
        self._count_max = count_max
        self._idle_s = idle_s
        self._burst = burst
        self._duplicate_window = duplicate_window
        # By the id's number: a UUID's own hash is taken in Python.
        self._sessions: OrderedDict[int, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def of(self, claims: Claims, now_s: float) -> Session:
        """The session of a verified token, made on its first request. Raises ``TooManySessionsError``."""
        key = claims.header.session_id.int
        session = self._sessions.get(key)
        if session is not None:
            session.last_seen_s = now_s
            self._sessions.move_to_end(key)
            return session
        if len(self._sessions) >= self._count_max:
            oldest = next(iter(self._sessions.values()))
            if now_s - oldest.last_seen_s < self._idle_s and not oldest.ended:
                raise TooManySessionsError
            del self._sessions[oldest.header.session_id.int]
        session = Session(claims, now_s, self._burst, self._duplicate_window)
        self._sessions[key] = session
        return session

    def end(self, session_id: UUID) -> None:
        """Mark the session as ended and let its place be the next to be taken; no error if it is not remembered."""
        session = self._sessions.get(session_id.int)
        if session is not None:
            session.ended = True
            self._sessions.move_to_end(session_id.int, last=False)

    def forget_idle(self, now_s: float) -> None:
        """Forget sessions that ended or were unseen for twice the idle time; one that comes back is made again."""
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            if not oldest.ended and now_s - oldest.last_seen_s < 2 * self._idle_s:
                return
            del self._sessions[oldest.header.session_id.int]

    def patients(self) -> set[PatientKey]:
        return {session.patient for session in self._sessions.values()}
