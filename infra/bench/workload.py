"""What is sent: bodies as a patient's browser makes them, and sessions that may send them.

Belongs here: simulating bodies, seeding sessions into the database, minting their tokens, the files the sender reads.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import psycopg

from infra.stack.keys import SigningKeys
from infra.stack.throwaway import Database
from pipelines.pose import wire
from pipelines.simulate.performance import Performance, perform

NODE_ID = "bench-node"
EXERCISE = "deep_squat"
_TEMPO_S = 4.0

# What a fetch() from the portal's page sends besides what the contract asks for (Chrome 126 on Linux).
BROWSER_HEADERS = (
    "Connection: keep-alive\r\n"
    'sec-ch-ua: "Not/A)Brand";v="8", "Chromium";v="126", "Google Chrome";v="126"\r\n'
    "sec-ch-ua-mobile: ?0\r\n"
    'sec-ch-ua-platform: "Linux"\r\n'
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36\r\n"
    "Accept: */*\r\n"
    "Origin: https://portal.example\r\n"
    "Sec-Fetch-Site: cross-site\r\n"
    "Sec-Fetch-Mode: cors\r\n"
    "Sec-Fetch-Dest: empty\r\n"
    "Referer: https://portal.example/\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n"
)
PLAIN_HEADERS = "Accept: */*\r\nOrigin: https://portal.example\r\nUser-Agent: bench\r\n"

_CLINIC = """
with o as (insert into core.organisations (name) values ('Clinic') returning id),
e as (insert into core.exercises (organisation_id, name, movement_profile) select id, 'Squat', 'deep_squat' from o
      returning id, organisation_id),
t as (insert into core.treatment_plans (organisation_id, name) select id, 'Knee' from o returning id),
n as (insert into telemetry.nodes (node_id, ingest_url, seen_at, lease_until)
      values (%s, 'http://127.0.0.1', now(), now()))
select e.organisation_id, e.id, t.id from e, t
"""
_WITHDRAW = """
insert into core.consents (organisation_id, patient_id, purpose, granted, effective_at, recorded_by)
values (%s, %s, 'biometric', false, now(), %s)
"""


class OpenSession(NamedTuple):
    """A session that may send, and its token."""

    session_id: UUID
    principal_id: UUID
    patient_id: int
    token: str


@dataclass(frozen=True, slots=True)
class Clinic:
    """Where sessions are opened: one organisation of a migrated database."""

    database: Database
    keys: SigningKeys
    organisation_id: int
    exercise_id: int
    plan_id: int

    @classmethod
    def found(cls, database: Database, keys: SigningKeys) -> Clinic:
        with psycopg.connect(database.admin_url) as connection:
            row = connection.execute(_CLINIC, [NODE_ID]).fetchone()
            assert row is not None
            return cls(database, keys, *row)

    def open_sessions(self, count: int) -> list[OpenSession]:
        """`count` patients who consent to pose tracking, each with one open session and its token."""
        query = (resources.files("infra.bench") / "sql" / "seed_sessions.sql").read_bytes()
        parameters = {
            "organisation": self.organisation_id,
            "plan": self.plan_id,
            "exercise": self.exercise_id,
            "node": NODE_ID,
            "principals": [uuid4() for _ in range(count)],
            "sessions": [uuid4() for _ in range(count)],
        }
        with psycopg.connect(self.database.admin_url) as connection:
            rows = connection.execute(query, parameters).fetchall()
        return [OpenSession(sid, sub, patient, self._token(sid, sub, log)) for sid, sub, patient, log in rows]

    def withdraw(self, connection: psycopg.Connection, session: OpenSession) -> float:
        """Withdraw the patient's consent; the time (monotonic) at which the commit had returned."""
        connection.execute(_WITHDRAW, [self.organisation_id, session.patient_id, session.principal_id])
        connection.commit()
        return time.monotonic()

    def _token(self, session_id: UUID, principal_id: UUID, log_id: int) -> str:
        now_s = int(time.time())
        return self.keys.mint(
            {
                "iss": "restartix-core-api",
                "aud": "telemetry",
                "sub": str(principal_id),
                "sid": str(session_id),
                "org": self.organisation_id,
                "log": log_id,
                "exr": self.exercise_id,
                "nod": NODE_ID,
                "sta": now_s * 1000,
                "iat": now_s,
                "exp": now_s + 4 * 3600,
            }
        )


def simulate_bodies(count: int, frames_per_batch: int, seed: int) -> list[bytes]:
    """`count` distinct bodies: one patient's exercise, cut as her browser would cut it."""
    needed_s = count * frames_per_batch / 30
    recording = perform(Performance(exercise=EXERCISE, reps=int(needed_s / _TEMPO_S) + 2, tempo_s=_TEMPO_S, seed=seed))
    return [
        wire.encode(
            recording.landmarks[start : start + frames_per_batch],
            recording.timestamp_ms[start : start + frames_per_batch],
            recording.fps,
        )
        for start in range(0, count * frames_per_batch, frames_per_batch)
    ]


def write_corpus(path: Path, bodies: Sequence[bytes]) -> None:
    """The sender's corpus: each body after its length, uint32 little-endian."""
    path.write_bytes(b"".join(len(body).to_bytes(4, "little") + body for body in bodies))


def write_tokens(path: Path, sessions: Sequence[OpenSession]) -> None:
    path.write_text("".join(f"{session.token}\n" for session in sessions))
    path.chmod(0o600)
