"""Who may send what now: the checks between a request and the log, in their documented order.

401, 415, 413 come before (``tokens``, ``requests``); here: 403 session_mismatch, 421, 503 consent_unknown, 403 consent,
409, 429. Decoding comes after.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from ingest_service.claims import Claims
from ingest_service.consent import Grant
from ingest_service.consent_feed import ConsentUnknownError
from ingest_service.problems import ProblemError
from ingest_service.sessions import PatientKey, Session, SessionTable, TooManySessionsError


class ConsentSource(Protocol):
    def grants(self, patient: PatientKey) -> dict[str, Grant]:
        """The patient's state by purpose. Raises ``ConsentUnknownError``."""
        ...

    def state(self) -> int | None:
        """A number that is another one after any news; None while it is not known whether there is any."""
        ...


class Admission:
    """The checks over one worker's sessions. ``is_closed`` looks at the node's closed markers."""

    def __init__(
        self,
        *,
        node_id: str,
        sessions: SessionTable,
        consent: ConsentSource,
        is_closed: Callable[[Session], bool],
        on_denial: Callable[[Session, str, str], None],
        rate_per_s: float,
        burst: int,
        retry_after_s: int,
    ) -> None:
        self._node_id = node_id
        self._sessions = sessions
        self._consent = consent
        self._is_closed = is_closed
        self._on_denial = on_denial
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._retry_after_s = retry_after_s

    def at_home(self, claims: Claims, session_id: UUID | None = None) -> None:
        """The token's session is the one spoken of, and this is its home node. Raises ``ProblemError`` 403, 421."""
        if session_id is not None and session_id != claims.header.session_id:
            raise ProblemError(403, "session_mismatch", "the token is for another session")
        if claims.node_id is not None and claims.node_id != self._node_id:
            raise ProblemError(421, "not_home_node", "this session's home is another node")

    def session(self, claims: Claims, now_s: float) -> Session:
        """The live session of the token. Raises ``ProblemError`` 503 where there is no room for another."""
        try:
            return self._sessions.of(claims, now_s)
        except TooManySessionsError:
            detail = "this node serves as many sessions as it may"
            raise ProblemError(503, "sessions_full", detail, self._retry_after_s) from None

    def permit(self, session: Session, purpose: str, now_s: float) -> None:
        """Consent, then the end, then the rate. Raises ``ProblemError`` 503, 403, 409, 429."""
        self._require_consent(session, purpose)
        if session.ended or self._is_closed(session):
            session.ended = True
            raise ProblemError(409, "session_ended", "the session has ended")
        if not session.take(now_s, self._rate_per_s, self._burst):
            detail = f"more than {self._rate_per_s:g} requests a second"
            raise ProblemError(429, "rate_exceeded", detail, self._retry_after_s)

    def ended(self, session_id: UUID) -> None:
        """The session's end was acknowledged: its place is free for another."""
        self._sessions.end(session_id)

    def _require_consent(self, session: Session, purpose: str) -> None:
        state = self._consent.state()
        if session.permitted_at == state and session.permitted_purpose == purpose and purpose not in session.withdrawn:
            return  # no news of anyone since it was found: it is found again
        try:
            grant = self._consent.grants(session.patient).get(purpose)
        except ConsentUnknownError as error:
            raise ProblemError(503, "consent_unknown", str(error), self._retry_after_s) from None
        if purpose in session.withdrawn or (grant is not None and not grant.granted):
            session.withdrawn |= {purpose}
            self._deny(session, purpose, "consent_withdrawn", f"consent to {purpose} was withdrawn")
        if grant is None:
            self._deny(session, purpose, "consent_missing", f"there is no consent to {purpose}")
        elif grant.effective_at > session.grants_until:
            detail = f"consent to {purpose} was given after this session began; start the exercise again"
            self._deny(session, purpose, "consent_missing", detail)
        elif state is not None:  # as it was before the ledger was asked: news that came meanwhile asks again
            session.permitted_purpose, session.permitted_at = purpose, state

    def _deny(self, session: Session, purpose: str, code: str, detail: str) -> None:
        if purpose not in session.denied:
            session.denied |= {purpose}
            self._on_denial(session, purpose, code)
        raise ProblemError(403, code, detail)
