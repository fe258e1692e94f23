"""Keeps a running session's safety copy going: batches that have rested become parts of an upload at the blob store.

Belongs here: one session's next parts. Does not belong here: which sessions and when (``copy_loop``), or what becomes
of the copy (``safety_copy``).

A part holds only batches that were at least ``age`` old before the consent ledger was read, and that the ledger covers
as it was read then. A withdrawal that shows later, and reaches back before a copied batch, gives the copy up; the next
pass begins another without that batch.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import NamedTuple, Protocol
from uuid import UUID

from pipelines.finalise import frames
from pipelines.finalise.load import windows
from pipelines.finalise.safety_copy import SafetyCopies
from pipelines.ports.blob_store import PARTS_MAX, UploadNotFound
from pipelines.ports.landing import LandedSession, RecordKind
from pipelines.ports.safety_copy_store import CopiedMember, CopiedPart, SafetyCopy
from pipelines.ports.session_store import SessionRow, SessionStore
from pipelines.pose.wire import WireLimits
from pipelines.replay import parts
from pipelines.replay.canonical import AcceptedBatch, Member, order
from pipelines.replay.consent import ConsentWindow
from pipelines.replay.keys import RETENTION_TAG, blob_key

_PARTS_PER_PASS_MAX = 32
_ADDED, _AGAIN, _NEVER = -1, -2, -3
_PARTS_KEPT_FREE = 100  # for the tail the seal adds
_LIMITS = WireLimits(decompressed_max_bytes=64 * 1024 * 1024)


class Landing(Protocol):
    """What the copier needs of a node's disk."""

    def read_session(self, session_id: UUID) -> LandedSession:
        """Raises ``SessionNotLandedError``."""
        ...


class Advance(NamedTuple):
    """One pass over a session. ``is_open`` False: nothing will be copied any more. ``wanting_bytes``: what has to land
    yet before another part can be full, 0 where it only has to rest.
    """

    is_open: bool
    part_count: int
    wanting_bytes: int


class _Next(NamedTuple):
    """The members of the next part, or none and why."""

    members: list[Member]
    received_at: dict[bytes, dt.datetime]
    wanting_bytes: int


class Copier:
    """One node's copier. ``now`` is the node's clock, which also stamps receipts; aware."""

    def __init__(
        self,
        *,
        node_id: str,
        landing: Landing,
        sessions: SessionStore,
        copies: SafetyCopies,
        now: Callable[[], dt.datetime],
    ) -> None:
        self._node_id = node_id
        self._landing = landing
        self._sessions = sessions
        self._copies = copies
        self._now = now

    def advance(self, organisation_id: int, session_id: UUID) -> Advance:
        """Upload every part that can be full.

        Raises ``SessionNotLandedError``, ``DamagedBatchError``, ``LookupError`` for a session the store does not know,
        ``SessionStoreUnavailable``, ``BlobStoreUnavailable``.
        """
        landed = self._landing.read_session(session_id)
        accepted = [
            AcceptedBatch(record.payload_hash, record.received_at, record.body)
            for record in landed.records
            if record.kind is RecordKind.BATCH
        ]
        known: dict[bytes, Member] = {}
        part_count = 0
        for _ in range(_PARTS_PER_PASS_MAX):
            with self._copies.locked(session_id):
                wanting_bytes = self._add_part(organisation_id, session_id, accepted, known)
            part_count += wanting_bytes == _ADDED
            if wanting_bytes not in {_ADDED, _AGAIN}:
                return Advance(wanting_bytes != _NEVER, part_count, max(wanting_bytes, 0))
        return Advance(True, part_count, 0)

    def _add_part(
        self, organisation_id: int, session_id: UUID, accepted: list[AcceptedBatch], known: dict[bytes, Member]
    ) -> int:
        """The wanting bytes; or that a part was added, that another try may add it, or that none will."""
        rested_before = self._now() - self._copies.rules.age  # taken before the ledger is read, so that it is older
        session = self._sessions.load(organisation_id, session_id)
        consent = windows(session).pose
        copy = self._copies.store.load(organisation_id, session_id)
        if session.row.state != "open" or (copy is not None and len(copy.parts) >= PARTS_MAX - _PARTS_KEPT_FREE):
            return _NEVER
        if copy is not None and not all(consent.covers(member.received_at) for member in copy.members):
            self._copies.drop(copy, "consent")
            return _AGAIN
        following = self._next(accepted, consent, rested_before, copy, known)
        if not following.members:
            return following.wanting_bytes
        copy = copy or self._begin(session.row)
        return 0 if copy is None else self._upload(copy, following)

    def _next(
        self,
        accepted: list[AcceptedBatch],
        consent: ConsentWindow,
        rested_before: dt.datetime,
        copy: SafetyCopy | None,
        known: dict[bytes, Member],
    ) -> _Next:
        copied = {member.payload_hash for member in copy.members} if copy is not None else set()
        part_bytes = self._copies.rules.part_bytes
        rested = parts.settled(accepted, consent, rested_before, copied)
        if sum(len(batch.body or b"") for batch in rested) < part_bytes:
            landed = parts.settled(accepted, consent, dt.datetime.max.replace(tzinfo=dt.UTC), copied)
            landed_bytes = sum(len(batch.body or b"") for batch in landed)
            return _Next([], {}, max(part_bytes - landed_bytes, 0))
        for batch in rested:
            if batch.body is not None and batch.payload_hash not in known:
                known[batch.payload_hash] = frames.member(batch.payload_hash, batch.body, _LIMITS)
        members = order(known[batch.payload_hash] for batch in rested)
        run = parts.cut([len(member.body) for member in members], part_bytes)[0]
        received_at = {batch.payload_hash: batch.received_at for batch in rested}
        return _Next([members[index] for index in run], received_at, 0)

    def _begin(self, row: SessionRow) -> SafetyCopy | None:
        """A new upload, remembered; None where another was remembered meanwhile. What a crash left begun and not
        remembered is aborted first.
        """
        key = blob_key(row.organisation_id, row.session_id)
        for stray in self._copies.blobs.list_uploads(key):
            self._copies.blobs.abort_upload(key, stray)
            self._copies.meter.aborted("stray")
        # The revision it will be, as on every sealed object; its digest is not known before the end.
        upload_id = self._copies.blobs.create_upload(
            key, tags={RETENTION_TAG: row.retention}, metadata={"revision": str(row.revision + 1)}
        )
        if not self._copies.store.begin(row.organisation_id, row.session_id, self._node_id, key, upload_id):
            self._copies.blobs.abort_upload(key, upload_id)
            return None
        return SafetyCopy(row.session_id, row.organisation_id, key, upload_id, [])

    def _upload(self, copy: SafetyCopy, following: _Next) -> int:
        """As ``_add_part``."""
        body = b"".join(member.body for member in following.members)
        try:
            part = self._copies.blobs.upload_part(copy.key, copy.upload_id, len(copy.parts) + 1, body)
        except UploadNotFound:
            self._copies.drop(copy, "expired")
            return _AGAIN
        members = tuple(
            CopiedMember(member.payload_hash, following.received_at[member.payload_hash], len(member.body))
            for member in following.members
        )
        if not self._copies.store.add(copy, CopiedPart(part, members)):
            return 0  # somebody else goes on with it
        self._copies.meter.uploaded(part.size_bytes)
        return _ADDED
