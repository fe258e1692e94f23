"""A clinic in a real Postgres and a node's real landing directory, as tests set them."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import xxhash
from psycopg.rows import dict_row

from infra.stack.throwaway import Database
from pipelines.finalise import payload
from pipelines.finalise.finaliser import Result
from pipelines.finalise.payload import SessionFinalised
from pipelines.landing import closed
from pipelines.landing.disk import DiskLog
from pipelines.media.events import encode
from pipelines.media.schema import MediaEvent
from pipelines.ports.landing import NO_HASH, RecordKind, SessionHeader
from pipelines.pose import profile, wire
from pipelines.pose.model import Prescription

NODE = "node-a"
ORGANISATION = 1
PART_BYTES = 40_000  # two to three of the squats' bodies
START = dt.datetime(2026, 11, 2, 9, 0, tzinfo=dt.UTC)

CLINIC = """
INSERT INTO core.organisations (id, name) VALUES (1, 'Clinic');
INSERT INTO core.patients (id, organisation_id, principal_id, time_zone)
  VALUES (1, 1, '00000000-0000-4000-8000-000000000001', 'Europe/Bucharest');
INSERT INTO core.exercises (id, organisation_id, name, movement_profile) VALUES (1, 1, 'Squat', 'deep_squat');
INSERT INTO core.treatment_plans (id, organisation_id, name) VALUES (1, 1, 'Knee');
INSERT INTO core.patient_treatment_plans
  (id, organisation_id, patient_id, treatment_plan_id, sessions_total, frequency_per_week, started_on)
  VALUES (1, 1, 1, 1, 12, 3, current_date);
INSERT INTO core.patient_session_completions
  (id, organisation_id, patient_treatment_plan_id, patient_id, session_number, started_at)
  VALUES (1, 1, 1, 1, 1, now());
INSERT INTO telemetry.nodes (node_id, ingest_url, ready_since, seen_at, lease_until)
  VALUES ('node-a', 'http://127.0.0.1:1', now() - interval '1 hour', now(), now() + interval '1 hour');
"""


@dataclass
class Clinic:
    """The clinic's database, as its superuser."""

    database: Database
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def execute(self, statement: str, *values: object) -> list[dict[str, Any]]:
        with psycopg.connect(self.database.admin_url, row_factory=dict_row) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def consent(self, purpose: str, granted: bool, at: dt.datetime) -> None:
        """Write the ledger as if it had been written at ``at``."""
        with psycopg.connect(self.database.admin_url) as connection:
            connection.execute("alter table core.consents disable trigger stamp")
            connection.execute(
                "insert into core.consents (organisation_id, patient_id, purpose, granted, effective_at, recorded_by)"
                " values (1, 1, %s, %s, %s, '00000000-0000-4000-8000-000000000001')",
                [purpose, granted, at],
            )
            connection.execute("alter table core.consents enable trigger stamp")

    def session(self, created_at: dt.datetime = START, node: str = NODE, **columns: object) -> SessionHeader:
        """An open session, its exercise log, and what its token would say."""
        number = next(self.numbers)
        [log] = self.execute(
            "insert into core.patient_exercise_logs"
            " (organisation_id, session_completion_id, exercise_id, started_at, sort_order)"
            " values (1, 1, 1, %s, %s) returning id",
            created_at,
            number,
        )
        session_id = UUID(int=0x10000000_0000_4000_8000_000000000000 + number)
        values = {
            "session_id": session_id,
            "organisation_id": 1,
            "patient_id": 1,
            "exercise_id": 1,
            "patient_exercise_log_id": log["id"],
            "node_id": node,
            "started_at": created_at,
            "created_at": created_at,
            "token_expires_at": created_at + dt.timedelta(hours=4),
            "movement_profile": msgspec.json.encode(profile.load("deep_squat")).decode(),
            "prescription": msgspec.json.encode(Prescription(sets=1, reps=4)).decode(),
            **columns,
        }
        self.execute(
            f"insert into telemetry.sessions ({', '.join(values)}) values ({', '.join(['%s'] * len(values))})",
            *values.values(),
        )
        return SessionHeader(
            session_id=session_id,
            organisation_id=1,
            principal_id=UUID("00000000-0000-4000-8000-000000000001"),
            log_id=log["id"],
            exercise_id=1,
            started_at=created_at,
            token_expires_at=created_at + dt.timedelta(hours=4),
        )

    def row(self, header: SessionHeader) -> dict[str, Any]:
        [row] = self.execute("select * from telemetry.sessions where session_id = %s", header.session_id)
        return row

    def published(self, header: SessionHeader) -> list[SessionFinalised]:
        rows = self.execute(
            "select payload::text from bus.events where key like %s order by id", f"{header.session_id}:%"
        )
        return [payload.decode(row["payload"]) for row in rows]


@dataclass
class Node:
    """One ingest node's disk with its workers' logs."""

    data_dir: Path
    logs: list[DiskLog]

    def land(
        self, header: SessionHeader, kind: RecordKind, at_s: float, body: bytes, *, worker: int = 0, hashed: bytes = b""
    ) -> None:
        moment = header.started_at + dt.timedelta(seconds=at_s)
        payload_hash = xxhash.xxh3_128_digest(hashed) if hashed else NO_HASH
        self.logs[worker].append(header, kind, moment, payload_hash, body)

    def batch(
        self, header: SessionHeader, body: bytes, at_s: float, *, worker: int = 0, repeated: bool = False
    ) -> None:
        payload_bytes = bytes(wire.decompress(body, 1 << 24))
        kind = RecordKind.DUPLICATE if repeated else RecordKind.BATCH
        self.land(header, kind, at_s, b"" if repeated else body, worker=worker, hashed=payload_bytes)

    def batches(self, header: SessionHeader, bodies: list[bytes]) -> None:
        for second, body in enumerate(bodies, start=1):
            self.batch(header, body, second)

    def events(self, header: SessionHeader, events: list[MediaEvent], at_s: float) -> None:
        self.land(header, RecordKind.MEDIA, at_s, b"[" + b",".join(map(encode, events)) + b"]")

    def end(self, header: SessionHeader, at_s: float, reason: str = "completed") -> None:
        self.land(header, RecordKind.END, at_s, msgspec.json.encode({"reason": reason}))
        ended_at = header.started_at + dt.timedelta(seconds=at_s)
        closed.mark(self.data_dir, header.session_id, closed.End(reason=reason, ended_at=ended_at))


Finalise = Callable[[SessionHeader], Result]
