"""A sealed result becomes the session's state: state, member index and outbox row in one transaction.

Belongs here: what is written and announced, and the last look at what may have changed since the session was loaded.
"""

from __future__ import annotations

import datetime as dt

from pipelines.finalise import payload
from pipelines.finalise.compute import Computed
from pipelines.finalise.load import SessionEnd, Windows, windows
from pipelines.finalise.payload import RecordCounts, SessionFinalised, StoredObject
from pipelines.finalise.seal import Sealed, ensure_retention
from pipelines.media.version import media_version
from pipelines.ports.blob_store import BlobStore
from pipelines.ports.session_store import (
    Announcement,
    CountsRow,
    LoadedSession,
    MemberRow,
    ObjectRow,
    Outcome,
    SessionRow,
    SessionStore,
)
from pipelines.pose.version import algorithm_version


class ConsentChangedError(Exception):
    """The ledger changed while the session was computed: what counts has to be decided again."""


def publish(
    store: SessionStore,
    blobs: BlobStore,
    row: SessionRow,
    *,
    end: SessionEnd,
    consent: Windows,
    counts: RecordCounts | None,
    consumed: dict[str, int],
    computed: Computed,
    sealed: Sealed,
    finalised_at: dt.datetime,
) -> SessionFinalised:
    """Write and announce revision ``row.revision + 1``; gives what was announced.

    Raises ``ConsentChangedError``, ``StaleRevisionError``, ``SessionStoreUnavailable``, ``BlobStoreUnavailable``.
    """
    result = SessionFinalised(
        session_id=row.session_id,
        revision=row.revision + 1,
        organisation_id=row.organisation_id,
        patient_id=row.patient_id,
        exercise_id=row.exercise_id,
        patient_exercise_log_id=row.patient_exercise_log_id,
        started_at=row.started_at,
        ended_at=end.ended_at,
        finalised_at=finalised_at,
        end_reason=end.reason,
        # Where it is not known what was acknowledged, a disk is lost, and something with it for all we know.
        incomplete=end.incomplete or counts is None,
        algorithm_version=f"{algorithm_version()}+{media_version()}",
        pose=computed.pose,
        rep_byte_ranges=computed.rep_byte_ranges,
        media=computed.media,
        counts=counts,
        blob=sealed.blob,
        events_object=sealed.events_object,
    )

    def confirm(current: LoadedSession) -> None:
        if windows(current) != consent:
            raise ConsentChangedError(str(row.session_id))
        ensure_retention(blobs, sealed.blob, current.row.retention)

    store.publish(
        row,
        _outcome(result, consumed, computed),
        [MemberRow(*entry) for entry in computed.entries],
        Announcement(payload.TOPIC, payload.key(row.session_id, result.revision), payload.encode(result)),
        confirm,
    )
    return result


def _outcome(result: SessionFinalised, consumed: dict[str, int], computed: Computed) -> Outcome:
    return Outcome(
        ended_at=result.ended_at,
        end_reason=result.end_reason,
        incomplete=result.incomplete,
        algorithm_version=result.algorithm_version,
        finalised_at=result.finalised_at,
        consumed_offsets=consumed,
        blob=_object_row(result.blob),
        events=_object_row(result.events_object),
        batches_in_blob=len(computed.entries),
        events_in_object=computed.event_count,
        counts=_counts_row(result.counts),
    )


def _object_row(stored: StoredObject | None) -> ObjectRow | None:
    if stored is None:
        return None
    return ObjectRow(stored.key, stored.version_id, stored.etag, stored.size_bytes)


def _counts_row(counts: RecordCounts | None) -> CountsRow | None:
    if counts is None:
        return None
    return CountsRow(
        accepted_records=counts.accepted_records,
        batches_duplicate=counts.batches_duplicate,
        batches_dropped_for_consent=counts.batches_dropped_for_consent,
        accepted_events=counts.accepted_events,
        events_duplicate=counts.events_duplicate,
        events_dropped_for_consent=counts.events_dropped_for_consent,
    )
