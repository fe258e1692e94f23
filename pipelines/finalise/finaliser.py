"""One session, from what landed to what is announced: load -> compute -> seal -> publish.

Every step may be repeated and the process may die between any two: nothing is remembered outside the stores, a sealed
object is adopted or replaced, and publishing happens once a revision.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

from pipelines.finalise.compute import Computed, Selected, compute, select, select_sealed
from pipelines.finalise.load import SessionEnd, Windows, check_whole, standing_end, windows
from pipelines.finalise.payload import RecordCounts, StoredObject
from pipelines.finalise.publish import ConsentChangedError, publish
from pipelines.finalise.safety_copy import SafetyCopies
from pipelines.finalise.seal import remove_superseded, seal
from pipelines.landing.closed import End
from pipelines.ports.blob_store import BlobNotFound, BlobStore
from pipelines.ports.landing import LandedSession, SessionNotLandedError
from pipelines.ports.session_store import NodeSession, SessionRow, SessionStore
from pipelines.replay.keys import blob_key, events_key

_CONSENT_CHANGES_MAX = 5

Verdict = Literal["finalised", "nothing_new", "open", "erased"]


class Result(NamedTuple):
    """What became of one session. ``revision``: the one it now has."""

    verdict: Verdict
    revision: int


class Landing(Protocol):
    """What the finaliser needs of a node's disk."""

    def read_session(self, session_id: UUID) -> LandedSession:
        """Raises ``SessionNotLandedError``."""
        ...

    def end(self, session_id: UUID) -> End | None:
        """The end that was acknowledged here."""
        ...


class Finaliser:
    """Finalises sessions; holds no state of its own. ``now`` is the node's clock, aware."""

    def __init__(
        self,
        landing: Landing,
        store: SessionStore,
        blobs: BlobStore,
        copies: SafetyCopies,
        now: Callable[[], dt.datetime],
    ) -> None:
        self._landing = landing
        self._copies = copies
        self._store = store
        self._blobs = blobs
        self._now = now

    def finalise(self, organisation_id: int, session_id: UUID) -> Result:
        """Bring a session of this node up to date with its disk. Doing it again changes nothing.

        Raises what its steps raise, and ``LookupError`` for a session the store does not know.
        """
        return self._until_consent_stands(lambda: self._finalise_landed(organisation_id, session_id))

    def finalise_lost(self, organisation_id: int, session_id: UUID) -> Result:
        """Finish a session whose node is given up, from what reached the blob store, if anything did."""
        return self._until_consent_stands(lambda: self._finalise_lost(organisation_id, session_id))

    def discard_copy(self, session: NodeSession) -> None:
        """Give up what reached the blob store of a session that is erased. May be repeated."""
        self._copies.discard(session.organisation_id, session.session_id)

    def _until_consent_stands(self, attempt: Callable[[], Result]) -> Result:
        for _ in range(_CONSENT_CHANGES_MAX - 1):
            try:
                return attempt()
            except ConsentChangedError:
                continue
        return attempt()

    def _finalise_landed(self, organisation_id: int, session_id: UUID) -> Result:
        began_at = self._now()  # before the disk is read, so whatever changes later is seen to be newer
        session = self._store.load(organisation_id, session_id)
        row = session.row
        if row.state == "erased":
            self._copies.discard(organisation_id, session_id)
            return Result("erased", row.revision)
        try:
            landed = self._landing.read_session(session_id)
        except SessionNotLandedError:
            landed = None
        end = standing_end(row, landed, self._landing.end(session_id))
        if end is None:
            return Result("open", row.revision)
        if row.state == "open":
            self._store.end(organisation_id, session_id, end.reason, end.ended_at)
        consent = windows(session)
        elsewhere = self._only_elsewhere(row, landed, consent)
        if not elsewhere:
            check_whole(row, landed)
        selected = select(landed, consent)
        consumed = {} if landed is None else landed.consumed
        if elsewhere:
            selected = Selected({**elsewhere, **selected.bodies}, selected.events, None)
        if row.state == "finalised" and not _is_new(row, end, consumed, selected):
            self._remove_superseded(row, selected.counts, row.blob_version_id, row.events_version_id)
            return Result("nothing_new", row.revision)
        computed = compute(row, selected)
        if not elsewhere:
            self._copies.settle(row, computed)
        return self._complete(
            row,
            end=end,
            consent=consent,
            selected=selected,
            computed=computed,
            consumed=consumed,
            began_at=began_at,
            is_purged=False,
        )

    def _finalise_lost(self, organisation_id: int, session_id: UUID) -> Result:
        began_at = self._now()
        session = self._store.load(organisation_id, session_id)
        row = session.row
        end = standing_end(row, None, None)
        if row.state != "ended" or end is None:
            return Result("erased" if row.state == "erased" else "nothing_new", row.revision)
        consent = windows(session)
        received_at = self._copies.copied(row)
        self._copies.restore(row)
        blob = self._object(blob_key(organisation_id, session_id))
        events = self._object(events_key(organisation_id, session_id))
        selected = select_sealed(blob, events, consent, received_at)
        computed = compute(row, selected)
        return self._complete(
            row,
            end=end._replace(reason="node_lost"),
            consent=consent,
            selected=selected,
            computed=computed,
            consumed={},
            began_at=began_at,
            # An object was made of what consent does not cover, in this attempt or one before: it may not outlast this.
            is_purged=consent.pose.begins_at is None
            or not all(consent.pose.covers(moment) for moment in received_at.values()),
        )

    def _only_elsewhere(self, row: SessionRow, landed: LandedSession | None, consent: Windows) -> dict[bytes, bytes]:
        """What counts, reached the blob store, and is not on this disk: the disk is another one than it was.

        A safety copy with batches that never landed here tells that, or a revision that was made without a disk.
        """
        here = {record.payload_hash for record in landed.records} if landed is not None else set()
        received_at = self._copies.copied(row) if row.revision == 0 else {}
        blob = None
        if received_at.keys() - here:
            self._copies.restore(row)
            blob = self._object(blob_key(row.organisation_id, row.session_id))
        elif row.revision and row.accepted_records is None and row.blob_version_id is not None:
            blob = self._object(blob_key(row.organisation_id, row.session_id), row.blob_version_id)
        bodies = select_sealed(blob, None, consent, received_at).bodies
        return {payload_hash: body for payload_hash, body in bodies.items() if payload_hash not in here}

    def _complete(
        self,
        row: SessionRow,
        *,
        end: SessionEnd,
        consent: Windows,
        selected: Selected,
        computed: Computed,
        consumed: dict[str, int],
        began_at: dt.datetime,
        is_purged: bool,
    ) -> Result:
        sealed = seal(self._blobs, row, computed)
        if is_purged:
            remove_superseded(self._blobs, blob_key(row.organisation_id, row.session_id), _version(sealed.blob))
        result = publish(
            self._store,
            self._blobs,
            row,
            end=end,
            consent=consent,
            counts=selected.counts,
            consumed=consumed,
            computed=computed,
            sealed=sealed,
            finalised_at=began_at,
        )
        self._copies.discard(row.organisation_id, row.session_id)
        self._remove_superseded(row, selected.counts, _version(sealed.blob), _version(sealed.events_object))
        return Result("finalised", result.revision)

    def _remove_superseded(
        self, row: SessionRow, counts: RecordCounts | None, blob_version_id: str | None, events_version_id: str | None
    ) -> None:
        """Where something was dropped for consent, no older version may keep it."""
        if counts is not None and counts.batches_dropped_for_consent:
            remove_superseded(self._blobs, blob_key(row.organisation_id, row.session_id), blob_version_id)
        if counts is not None and counts.events_dropped_for_consent:
            remove_superseded(self._blobs, events_key(row.organisation_id, row.session_id), events_version_id)

    def _object(self, key: str, version_id: str | None = None) -> bytes | None:
        try:
            return self._blobs.get(key, version_id)
        except BlobNotFound:
            return None


def _version(stored: StoredObject | None) -> str | None:
    return None if stored is None else stored.version_id


def _is_new(row: SessionRow, end: SessionEnd, consumed: dict[str, int], selected: Selected) -> bool:
    """Whether a finalised session has to be done again: more landed, another end stands, or consent covers less."""
    counts = selected.counts
    dropped = (counts.batches_dropped_for_consent, counts.events_dropped_for_consent) if counts else (None, None)
    return (
        consumed != row.consumed_offsets
        or (end.reason, end.ended_at) != (row.end_reason, row.ended_at)
        or dropped != (row.batches_dropped_for_consent, row.events_dropped_for_consent)
    )
