"""The finaliser's view of ``telemetry.sessions`` and the consent ledger. What an adapter promises; no implementation.

* Every read and write of a session happens under its organisation; only ids, states and times cross tenants.
* ``publish`` is one transaction: the session's new state, its member index and the outbox row exist together or not
  at all, and only on top of the revision the result was computed from.
* A store that cannot be reached raises ``SessionStoreUnavailable``: nothing happened, or ``publish`` happened whole.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

import msgspec

SessionState = Literal["open", "ended", "finalised", "failed", "erased"]


class SessionStoreUnavailable(Exception):  # noqa: N818 - a state of the store, not a mistake of the caller
    """The store cannot be reached now; try again later."""


class StaleRevisionError(Exception):
    """Somebody else published since the session was loaded, or it was erased. Load it again."""


class PendingSession(NamedTuple):
    """A closed session that waits for the finaliser."""

    session_id: UUID
    organisation_id: int
    ended_at: dt.datetime | None


class NodeSession(NamedTuple):
    """What crosses tenants of a session on this node's disk."""

    session_id: UUID
    organisation_id: int
    state: SessionState
    revision: int
    token_expires_at: dt.datetime
    finalised_at: dt.datetime | None
    dropped_for_consent: bool
    last_withdrawal_at: dt.datetime | None  # of either purpose, after the session was created
    consumed_offsets: dict[str, int]  # log -> bytes of its spool that the newest revision rests on


class ConsentRow(NamedTuple):
    """One row of the patient's ledger, as the ledger took it."""

    purpose: Literal["biometric", "analytics"]
    granted: bool
    effective_at: dt.datetime


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One session as stored. JSON columns are raw JSON; what was never computed is None."""

    session_id: UUID
    organisation_id: int
    patient_id: int
    exercise_id: int
    patient_exercise_log_id: int
    state: SessionState
    started_at: dt.datetime
    created_at: dt.datetime
    last_received_at: dt.datetime | None
    ended_at: dt.datetime | None
    end_reason: str | None
    movement_profile: str | None
    prescription: str
    revision: int
    consumed_offsets: dict[str, int]
    retention: Literal["default", "clinical"]
    blob_version_id: str | None
    events_version_id: str | None
    accepted_records: int | None
    accepted_events: int | None
    batches_dropped_for_consent: int | None
    events_dropped_for_consent: int | None


class LoadedSession(NamedTuple):
    """A session and its patient's ledger, read in one transaction."""

    row: SessionRow
    ledger: list[ConsentRow]


class ObjectRow(NamedTuple):
    """One sealed object."""

    key: str
    version_id: str | None
    etag: str
    size_bytes: int


class CountsRow(NamedTuple):
    """What was acknowledged and did not become part of the sealed objects, and the totals."""

    accepted_records: int
    batches_duplicate: int
    batches_dropped_for_consent: int
    accepted_events: int
    events_duplicate: int
    events_dropped_for_consent: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What ``publish`` writes to the session. ``counts`` is None where they cannot be known."""

    ended_at: dt.datetime
    end_reason: str
    incomplete: bool
    algorithm_version: str
    finalised_at: dt.datetime
    consumed_offsets: dict[str, int]
    blob: ObjectRow | None
    events: ObjectRow | None
    batches_in_blob: int
    events_in_object: int
    counts: CountsRow | None


class MemberRow(NamedTuple):
    """One gzip member of the blob."""

    start_ms: int
    end_ms: int
    byte_offset: int
    byte_length: int


class Announcement(NamedTuple):
    """The outbox row: see ``pipelines.finalise.payload``."""

    topic: str
    key: str
    payload: bytes


class SessionStore(Protocol):
    """Every method raises ``SessionStoreUnavailable``."""

    def pending(self, node_id: str, max_sessions: int) -> list[PendingSession]:
        """The node's closed sessions that are not finalised, the longest closed first."""
        ...

    def claim_lost(self, node_id: str, lost_s: int, lease_s: int, max_sessions: int) -> list[PendingSession]:
        """Closed sessions of other nodes whose lease ended ``lost_s`` ago or earlier, claimed for ``lease_s``.

        Claiming again renews. A claim only spares work: of two that publish the same revision one is refused.
        """
        ...

    def states(self, node_id: str, session_ids: Sequence[UUID]) -> list[NodeSession]:
        """The state of those of these sessions that belong to the node."""
        ...

    def load(self, organisation_id: int, session_id: UUID) -> LoadedSession:
        """Raises ``LookupError``."""
        ...

    def end(self, organisation_id: int, session_id: UUID, reason: str, ended_at: dt.datetime) -> None:
        """An open session becomes ended; any other stays as it is."""
        ...

    def publish(
        self,
        session: SessionRow,
        outcome: Outcome,
        members: Sequence[MemberRow],
        announcement: Announcement,
        confirm: Callable[[LoadedSession], None],
    ) -> None:
        """Write revision ``session.revision + 1``.

        ``confirm`` is called with the session as it is now, locked: what it raises undoes everything. Raises
        ``StaleRevisionError``.
        """
        ...

    def record_failure(self, organisation_id: int, session_id: UUID, failure: str, attempts_max: int | None) -> int:
        """Store why a session could not be finalised; gives how many counted attempts have failed.

        ``attempts_max`` None: the attempt does not count (a store was away). At ``attempts_max`` an ended session
        becomes failed.
        """
        ...

    def retry(self, organisation_id: int, session_id: UUID) -> bool:
        """A failed session becomes ended again, its attempts forgotten; False where it is not failed."""
        ...
