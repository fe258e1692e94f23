"""Sessions and records for the landing tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import xxhash

from pipelines.ports.landing import LandingLog, Receipt, RecordKind, SessionHeader

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def header(number: int = 1) -> SessionHeader:
    return SessionHeader(
        session_id=UUID(int=number),
        organisation_id=1,
        principal_id=UUID(int=1000 + number),
        log_id=number,
        exercise_id=3,
        started_at=START,
        token_expires_at=START + timedelta(hours=4),
    )


def put(log: LandingLog, body: bytes, session: int = 1, at_ms: int = 0, kind: RecordKind = RecordKind.BATCH) -> Receipt:
    moment = START + timedelta(milliseconds=at_ms)
    return log.append(header(session), kind, moment, xxhash.xxh3_128_digest(body), body)
