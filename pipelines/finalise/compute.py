"""What landed becomes numbers: selection by consent, frames, movement summary, media aggregates. Pure.

Deterministic in (counting batches, counting events, frozen profile and prescription, algorithm version): see
``pipelines.replay`` for what counts, ``pipelines.pose.summary`` and ``pipelines.media.aggregate`` for the figures.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from pipelines.finalise import frames
from pipelines.finalise.load import Windows
from pipelines.finalise.payload import ByteRange, RecordCounts
from pipelines.landing import withhold
from pipelines.media.aggregate import aggregate
from pipelines.media.events import ReceivedEvent, decode
from pipelines.media.model import MediaSummary
from pipelines.ports.landing import LandedSession, RecordKind
from pipelines.ports.session_store import SessionRow
from pipelines.pose.model import PoseSummary, Prescription
from pipelines.pose.profile import MovementProfile
from pipelines.pose.summary import summarise
from pipelines.pose.wire import WireLimits
from pipelines.replay import canonical, events_object
from pipelines.replay.canonical import AcceptedBatch, IndexEntry, RangeFinder
from pipelines.replay.split import split

# Far above what ingest lets through in one request; a record of ours is never refused here.
_LIMITS = WireLimits(decompressed_max_bytes=64 * 1024 * 1024)
_EVENTS_MAX_PER_RECORD = 10_000


class Selected(NamedTuple):
    """What counts: distinct batches (payload hash -> gzip member) and distinct events; and the accounting of all that
    was acknowledged, None where that cannot be known any more.
    """

    bodies: dict[bytes, bytes]
    events: list[ReceivedEvent]
    counts: RecordCounts | None


class Computed(NamedTuple):
    """A session's result. ``pose`` / ``media`` None where nothing of that kind counts."""

    blob: bytes | None
    entries: list[IndexEntry]
    events: bytes | None
    event_count: int
    pose: PoseSummary | None
    rep_byte_ranges: tuple[ByteRange | None, ...]
    media: MediaSummary | None


def select(landed: LandedSession | None, consent: Windows) -> Selected:
    """Every acknowledged batch and event of a session, sorted into what counts and what does not.

    Raises ``LostBatchError``.
    """
    batches: list[AcceptedBatch] = []
    events: list[ReceivedEvent] = []
    withheld_count = 0  # events whose bodies are gone already: counted, and nothing else
    for record in landed.records if landed is not None else ():
        if record.kind is RecordKind.BATCH:
            batches.append(AcceptedBatch(record.payload_hash, record.received_at, record.body))
        elif record.kind is RecordKind.DUPLICATE:
            batches.append(AcceptedBatch(record.payload_hash, record.received_at, None))
        elif record.kind is RecordKind.MEDIA:
            assert landed is not None
            count = None if consent.media.covers(record.received_at) else withhold.event_count(record.body)
            if count is not None:
                withheld_count += count
                continue
            decoded = decode(record.body, landed.header.session_id, _EVENTS_MAX_PER_RECORD)
            events += [ReceivedEvent(event=event, received_at=record.received_at) for event in decoded.events]
    pose = canonical.select(batches, consent.pose)
    media = events_object.select(events, consent.media)
    return Selected(
        pose.bodies,
        media.events,
        RecordCounts(
            accepted_records=pose.counts.accepted,
            batches_in_blob=pose.counts.in_blob,
            batches_duplicate=pose.counts.duplicate,
            batches_dropped_for_consent=pose.counts.dropped_for_consent,
            accepted_events=media.counts.accepted + withheld_count,
            events_in_object=media.counts.in_object,
            events_duplicate=media.counts.duplicate,
            events_dropped_for_consent=media.counts.dropped_for_consent + withheld_count,
        ),
    )


def select_sealed(
    blob: bytes | None, events: bytes | None, consent: Windows, received_at: Mapping[bytes, dt.datetime]
) -> Selected:
    """What counts of a session of which only stored objects are left. Raises ``ValueError``.

    ``received_at`` by payload hash, as far as it is known. What is in a blob without it was decided by consent when it
    was sealed; consent that was never given still empties it.
    """
    bodies: dict[bytes, bytes] = {}
    if blob is not None and consent.pose.begins_at is not None:
        bodies = {
            payload_hash: body
            for payload_hash, body in split(blob, _LIMITS.decompressed_max_bytes).items()
            if payload_hash not in received_at or consent.pose.covers(received_at[payload_hash])
        }
    received = events_object.read(events) if events is not None else []
    return Selected(bodies, events_object.select(received, consent.media).events, None)


def compute(row: SessionRow, selected: Selected) -> Computed:
    """Raises ``DamagedBatchError``; ``msgspec.ValidationError`` where the frozen profile is none."""
    blob: bytes | None = None
    entries: list[IndexEntry] = []
    pose: PoseSummary | None = None
    ranges: tuple[ByteRange | None, ...] = ()
    if selected.bodies:
        decoded = frames.decode(selected.bodies, _LIMITS)
        blob = canonical.assemble(decoded.members)
        entries = canonical.index(decoded.members)
        pose = summarise(decoded.landmarks_m, decoded.timestamp_ms, _profile(row), _prescription(row))
        ranges = _rep_byte_ranges(pose, entries)
    events = selected.events
    return Computed(
        blob=blob,
        entries=entries,
        events=events_object.write(events) if events else None,
        event_count=len(events),
        pose=pose,
        rep_byte_ranges=ranges,
        media=aggregate(events) if events else None,
    )


def _profile(row: SessionRow) -> MovementProfile | None:
    """The profile as it was frozen at the session's start; None has one found from the motion itself."""
    if row.movement_profile is None:
        return None
    return msgspec.json.decode(row.movement_profile, type=MovementProfile | None)


def _prescription(row: SessionRow) -> Prescription:
    return msgspec.json.decode(row.prescription, type=Prescription)


def _rep_byte_ranges(pose: PoseSummary, entries: list[IndexEntry]) -> tuple[ByteRange | None, ...]:
    """Where each repetition's cycle lies in the blob: who looks at one wants to see where it came from and went."""
    finder = RangeFinder(entries)
    found = (
        finder.find(
            rep.start_ms if rep.cycle_start_ms is None else rep.cycle_start_ms,
            rep.end_ms if rep.cycle_end_ms is None else rep.cycle_end_ms,
        )
        for rep in pose.reps
    )
    return tuple(None if each is None else ByteRange(offset=each[0], length=each[1]) for each in found)
