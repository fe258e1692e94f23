"""The landing port: where an accepted request becomes durable, and how a session's records are read back.

Belongs here: the values that cross the port, its errors, and what every implementation promises. Implementations:
``pipelines.landing.disk`` (a node's disk) and ``pipelines.landing.memory``; one contract suite runs over both.

Promises
    *Durability*: ``append`` returns only after the record, and the session's header before it, would survive a power
    cut (the memory implementation promises the same for as long as its object lives). If it raises, the record may or
    may not be there: the sender repeats, and the repetition is harmless.
    *Ordering*: records of one session appended one after the other through one log are read back in that order, with
    rising offsets. Between logs there is no order but ``received_at``. An offset is never given twice in one log.
    *Visibility*: a record whose ``append`` has returned is seen by every later read on the node.
    *Idempotency*: ``append`` is not idempotent, it records what was acknowledged, repetitions included. Identity is
    ``payload_hash``; the reader of a session decides what counts. Recovery and ``remove`` may be repeated at will.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec

NO_HASH = bytes(16)


class RecordKind(StrEnum):
    """What a record says. ``OPEN`` carries the session's header and is not itself an accepted request."""

    OPEN = "open"
    BATCH = "batch"  # body: the gzip member as received
    DUPLICATE = "duplicate"  # body empty: the same payload was stored before; kept so that the accounting closes
    MEDIA = "media"  # body: canonical JSON array of the request's media events
    END = "end"  # body: JSON object with the end reason


class SessionHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What the session token says of the session; the first record of a session in every log."""

    session_id: UUID
    organisation_id: int
    principal_id: UUID
    log_id: int
    exercise_id: int
    started_at: datetime  # aware, UTC
    token_expires_at: datetime  # aware, UTC


class LandedRecord(NamedTuple):
    """One acknowledged request as read back. ``offset`` is its place in ``log``; ``received_at`` is UTC, to the us."""

    log: str
    offset: int
    kind: RecordKind
    received_at: datetime
    payload_hash: bytes
    body: bytes


class LandedSession(NamedTuple):
    """All of a session on this node.

    ``records`` by (received_at, log, offset), headers left out; ``consumed``: per log, the offset just past the last
    record read, so a later read with a higher number has seen more.
    """

    header: SessionHeader
    records: list[LandedRecord]
    consumed: dict[str, int]


class Receipt(msgspec.Struct, frozen=True):
    """Where a record landed. Made for every request, so of the kind that is made fastest."""

    log: str
    offset: int


class LandingError(Exception):
    """A record that was not made durable."""


class LandingFullError(LandingError):
    """No room on the disk, or less than the reserve. Temporary: the sender keeps the batch and tries again."""


class LandingBusyError(LandingError):
    """Too many bytes already wait for the disk. Temporary."""


class LandingFailedError(LandingError):
    """The disk failed, or the log is closed. This log never acknowledges again; its process must be replaced."""


class SessionNotLandedError(LookupError):
    """The node holds no record of this session."""


class LandingLog(Protocol):
    """One worker's way in. Safe to call from many greenlets or threads."""

    @property
    def name(self) -> str:
        """Unique over workers and restarts."""
        ...

    def append(
        self, header: SessionHeader, kind: RecordKind, received_at: datetime, payload_hash: bytes, body: bytes
    ) -> Receipt:
        """Make one record durable; blocks until it is. Writes the header first where this log has not seen the session.

        Raises ``LandingFullError``, ``LandingBusyError``, ``LandingFailedError``.
        """
        ...

    def close(self) -> None:
        """Finish what was begun and leave nothing to recover. Later appends raise ``LandingFailedError``.

        May be repeated.
        """
        ...


class LandingReader(Protocol):
    """The finaliser's way out."""

    def list_sessions(self) -> Sequence[UUID]:
        """Every session with records here, sorted."""
        ...

    def read_session(self, session_id: UUID) -> LandedSession:
        """Everything acknowledged so far. Raises ``SessionNotLandedError``."""
        ...

    def remove(self, session_id: UUID) -> None:
        """Forget the session. No error if it is not there."""
        ...
