"""What the finaliser says on the bus: the versioned payload of ``session.finalised``. Shapes only.

Belongs here: the struct, its key and its JSON. Does not belong here: how it is computed (``compute``) or stored.

A reader accepts every version it knows and refuses others (``decode`` raises ``msgspec.ValidationError``); fields may
be added to version 1 with a default, anything else makes version 2.
"""

from __future__ import annotations

import datetime as dt
from typing import Literal
from uuid import UUID

import msgspec

from pipelines.media.model import MediaSummary
from pipelines.pose.model import PoseSummary

TOPIC = "session.finalised"

EndReason = Literal["completed", "abandoned", "timeout", "node_lost", "consent_withdrawn"]


class ByteRange(msgspec.Struct, frozen=True, kw_only=True):
    """Where one repetition's gzip members lie in the blob: ``[offset, offset + length)``."""

    offset: int
    length: int


class StoredObject(msgspec.Struct, frozen=True, kw_only=True):
    """One sealed object. ``version_id`` is None where the store keeps no versions."""

    key: str
    version_id: str | None
    etag: str
    size_bytes: int


class RecordCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Accounting of what was acknowledged. Closes: ``accepted_records == batches_in_blob + batches_duplicate +
    batches_dropped_for_consent``, and the same for events.
    """

    accepted_records: int
    batches_in_blob: int
    batches_duplicate: int
    batches_dropped_for_consent: int
    accepted_events: int
    events_in_object: int
    events_duplicate: int
    events_dropped_for_consent: int


class SessionFinalised(msgspec.Struct, frozen=True, kw_only=True):
    """The finaliser's n-th (``revision``) result for one exercise session, replacing every earlier one.

    ``pose`` / ``media`` are None where nothing of that kind counts (nothing received, or no consent).
    ``rep_byte_ranges`` is parallel to ``pose.reps``. ``counts`` is None where what was accepted cannot be known any
    more (the node's disk is lost). Times are aware, UTC; ``started_at`` is fixed when the session token is minted, so
    it is the same in every revision.
    """

    version: Literal[1] = 1
    session_id: UUID
    revision: int
    organisation_id: int
    patient_id: int
    exercise_id: int
    patient_exercise_log_id: int
    started_at: dt.datetime
    ended_at: dt.datetime
    finalised_at: dt.datetime
    end_reason: EndReason
    incomplete: bool
    algorithm_version: str
    pose: PoseSummary | None
    rep_byte_ranges: tuple[ByteRange | None, ...]
    media: MediaSummary | None
    counts: RecordCounts | None
    blob: StoredObject | None
    events_object: StoredObject | None


def key(session_id: UUID, revision: int) -> str:
    """The bus key: one event a (session, revision), however often it is published."""
    return f"{session_id}:{revision}"


def encode(payload: SessionFinalised) -> bytes:
    """Canonical JSON."""
    return msgspec.json.encode(payload)


def decode(body: bytes | str) -> SessionFinalised:
    """Raises ``msgspec.ValidationError`` for another version or shape."""
    return msgspec.json.decode(body, type=SessionFinalised)
