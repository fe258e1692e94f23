"""The finaliser's reader: a session's records from the spool files of all logs on this node.

Only reads. While ``has_unrecovered_log`` is true an acknowledged record may still be in a log and not in the spool:
what is read then is true but may not be all, so nothing may be sealed from it.
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import msgspec

from pipelines.landing import closed, layout, slot, spool
from pipelines.landing.record import from_microseconds
from pipelines.ports.landing import LandedRecord, LandedSession, RecordKind, SessionHeader, SessionNotLandedError


def list_sessions(data_dir: Path) -> list[UUID]:
    """Every session with spool files on this node, sorted."""
    return layout.uuid_names(layout.spool_directory(data_dir))


def closed_sessions(data_dir: Path) -> list[UUID]:
    """Every session whose end was acknowledged on this node, sorted."""
    return closed.sessions(data_dir)


def has_unrecovered_log(data_dir: Path) -> bool:
    """Whether a log is there that no living worker owns: its records may not all be in the spool yet."""
    return slot.has_unrecovered_log(data_dir)


def read_session(data_dir: Path, session_id: UUID) -> LandedSession:
    """All records of a session, over all logs. Raises ``SessionNotLandedError``."""
    header: SessionHeader | None = None
    records: list[LandedRecord] = []
    consumed: dict[str, int] = {}
    for path in sorted(layout.session_directory(data_dir, session_id).glob("*.spool")):
        log = path.stem
        for record in spool.read(path):
            consumed[log] = record.offset + record.total_bytes
            if record.kind is RecordKind.OPEN:
                header = header or msgspec.json.decode(record.body, type=SessionHeader)
                continue
            moment = from_microseconds(record.received_at_us)
            records.append(LandedRecord(log, record.offset, record.kind, moment, record.payload_hash, record.body))
    if header is None:
        raise SessionNotLandedError(str(session_id))
    records.sort(key=lambda record: (record.received_at, record.log, record.offset))
    return LandedSession(header, records, consumed)


class DiskReader:
    """The ``LandingReader`` port over one node's data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def list_sessions(self) -> list[UUID]:
        return list_sessions(self._data_dir)

    def read_session(self, session_id: UUID) -> LandedSession:
        return read_session(self._data_dir, session_id)

    def remove(self, session_id: UUID) -> None:
        spool.remove(self._data_dir, session_id)
