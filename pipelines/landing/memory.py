"""The landing port in memory: for tests of what stands on the port. Durable for as long as the object lives."""

from __future__ import annotations

import threading
from datetime import datetime
from uuid import UUID

from pipelines.landing.record import HEADER_BYTES
from pipelines.ports.landing import (
    LandedRecord,
    LandedSession,
    LandingFailedError,
    Receipt,
    RecordKind,
    SessionHeader,
    SessionNotLandedError,
)


class MemoryNode:
    """A node's store: the ``LandingReader``, and what several ``MemoryLog`` write to."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.headers: dict[UUID, SessionHeader] = {}
        self.records: dict[UUID, list[LandedRecord]] = {}

    def list_sessions(self) -> list[UUID]:
        with self.lock:
            return sorted(self.headers)

    def read_session(self, session_id: UUID) -> LandedSession:
        with self.lock:
            if session_id not in self.headers:
                raise SessionNotLandedError(str(session_id))
            records = sorted(self.records[session_id], key=lambda record: (record.received_at, *record[:2]))
            consumed: dict[str, int] = {}
            for record in records:
                end_offset = record.offset + HEADER_BYTES + len(record.body)
                consumed[record.log] = max(consumed.get(record.log, 0), end_offset)
            return LandedSession(self.headers[session_id], records, consumed)

    def remove(self, session_id: UUID) -> None:
        with self.lock:
            self.headers.pop(session_id, None)
            self.records.pop(session_id, None)


class MemoryLog:
    """``LandingLog`` over a ``MemoryNode``."""

    def __init__(self, node: MemoryNode, name: str) -> None:
        self._node = node
        self._name = name
        self._next_offset = 0
        self._closed = False

    @property
    def name(self) -> str:
        return self._name

    def append(
        self, header: SessionHeader, kind: RecordKind, received_at: datetime, payload_hash: bytes, body: bytes
    ) -> Receipt:
        with self._node.lock:
            if self._closed:
                raise LandingFailedError("the log is closed")
            receipt = Receipt(self._name, self._next_offset)
            self._next_offset += HEADER_BYTES + len(body)
            self._node.headers.setdefault(header.session_id, header)
            record = LandedRecord(self._name, receipt.offset, kind, received_at, payload_hash, bytes(body))
            self._node.records.setdefault(header.session_id, []).append(record)
            return receipt

    def close(self) -> None:
        with self._node.lock:
            self._closed = True
