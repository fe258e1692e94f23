"""What a session is computed from: its row, its consent windows, its end, and what landed of it. No store is touched.

Belongs here: deciding which end stands and whether what landed is whole. Does not belong here: decoding frames.
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

import msgspec

from pipelines.finalise.payload import EndReason
from pipelines.landing.closed import End
from pipelines.ports.landing import LandedSession, RecordKind
from pipelines.ports.session_store import ConsentRow, LoadedSession, SessionRow
from pipelines.replay.consent import ConsentWindow, LedgerRow, window

# Ends that somebody else decided because the patient's own never came; the patient's own, found later, replaces them.
_ASSUMED_REASONS = frozenset({"timeout", "node_lost"})
_INCOMPLETE_REASONS = frozenset({"timeout", "node_lost", "consent_withdrawn"})


class SpoolIncompleteError(Exception):
    """The disk lacks records that an earlier revision counted, or that the session is known to have received."""


class SessionEnd(NamedTuple):
    """The end that stands."""

    reason: EndReason
    ended_at: dt.datetime

    @property
    def incomplete(self) -> bool:
        return self.reason in _INCOMPLETE_REASONS


class Windows(NamedTuple):
    """Receipt times that consent covers, by what they carry."""

    pose: ConsentWindow
    media: ConsentWindow


class _EndBody(msgspec.Struct):
    reason: EndReason


def windows(session: LoadedSession) -> Windows:
    """The session's consent windows: ``biometric`` for pose, ``analytics`` for media."""
    return Windows(
        _window(session.ledger, "biometric", session.row.created_at),
        _window(session.ledger, "analytics", session.row.created_at),
    )


def standing_end(row: SessionRow, landed: LandedSession | None, marker: End | None) -> SessionEnd | None:
    """The end of a session: the stored one, unless that was only assumed and the patient's own is on this disk.

    None while the session is open.
    """
    stored = None
    if row.state != "open" and row.end_reason is not None and row.ended_at is not None:
        stored = SessionEnd(msgspec.convert(row.end_reason, EndReason), row.ended_at)
        if stored.reason not in _ASSUMED_REASONS:
            return stored
    return _own_end(landed, marker) or stored


def check_whole(row: SessionRow, landed: LandedSession | None) -> None:
    """Raises ``SpoolIncompleteError`` where sealing would lose what was acknowledged."""
    if landed is None:
        if row.last_received_at is not None or row.accepted_records:
            raise SpoolIncompleteError(
                f"data was received until {row.last_received_at} ({row.accepted_records} counted),"
                " and there is no spool on this node"
            )
        return
    counted = [record for record in landed.records if record.offset < row.consumed_offsets.get(record.log, 0)]
    if row.accepted_records is not None:
        record_count = sum(record.kind in (RecordKind.BATCH, RecordKind.DUPLICATE) for record in counted)
        _require(row, "records", row.accepted_records, record_count)
    if row.accepted_events is not None:
        event_count = sum(
            len(msgspec.json.decode(record.body, type=list[msgspec.Raw]))
            for record in counted
            if record.kind is RecordKind.MEDIA
        )
        _require(row, "media events", row.accepted_events, event_count)


def _require(row: SessionRow, what: str, counted: int, still_there: int) -> None:
    if counted != still_there:
        raise SpoolIncompleteError(
            f"revision {row.revision} counted {counted} {what}, the spool still has {still_there} of them"
        )


def _window(ledger: list[ConsentRow], purpose: str, created_at: dt.datetime) -> ConsentWindow:
    return window([LedgerRow(row.granted, row.effective_at) for row in ledger if row.purpose == purpose], created_at)


def _own_end(landed: LandedSession | None, marker: End | None) -> SessionEnd | None:
    if marker is not None:
        return SessionEnd(msgspec.convert(marker.reason, EndReason), marker.ended_at)
    for record in landed.records if landed is not None else ():
        if record.kind is RecordKind.END:
            return SessionEnd(msgspec.json.decode(record.body, type=_EndBody).reason, record.received_at)
    return None
