"""An ingest node for tests: the service as the process it is in production, a real database, patients to serve."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import numpy as np
import psycopg

from infra.stack.keys import SigningKeys
from infra.stack.loopback import free_run
from infra.stack.throwaway import Database
from pipelines.landing import reader
from pipelines.ports.landing import LandedSession, SessionNotLandedError
from pipelines.pose import wire

ORIGIN = "https://portal.example"
NODE_ID = "node-a"
SERVICE_CONFIG = "ingest_service/gunicorn.conf.py"
_REPOSITORY = Path(__file__).parents[2]
_OCTETS = "application/octet-stream"

_SEED = """
with o as (insert into core.organisations (name) values ('Clinic') returning id),
e as (insert into core.exercises (organisation_id, name, movement_profile) select id, 'Squat', 'deep_squat' from o
      returning id, organisation_id),
t as (insert into core.treatment_plans (organisation_id, name) select id, 'Knee' from o returning id)
select e.organisation_id, e.id, t.id from e, t
"""
_PATIENT = """
with p as (insert into core.patients (organisation_id, principal_id, time_zone) values (%(org)s, %(sub)s, 'UTC')
           returning id),
pp as (insert into core.patient_treatment_plans (organisation_id, patient_id, treatment_plan_id, sessions_total,
         frequency_per_week, started_on)
       select %(org)s, id, %(plan)s, 12, 3, '2026-01-01' from p returning id, patient_id),
c as (insert into core.patient_session_completions (organisation_id, patient_treatment_plan_id, patient_id,
        session_number, started_at)
      select %(org)s, id, patient_id, 1, now() from pp returning id),
l as (insert into core.patient_exercise_logs (organisation_id, session_completion_id, exercise_id, started_at,
        sort_order)
      select %(org)s, id, %(exercise)s, now(), 1 from c returning id)
select p.id, l.id from p, l
"""
_SESSION = """
insert into telemetry.sessions (session_id, organisation_id, patient_id, exercise_id, patient_exercise_log_id, node_id,
                                started_at, token_expires_at)
values (%(sid)s, %(org)s, %(patient)s, %(exercise)s, %(log)s, %(node)s, now(), now() + interval '4 hours')
"""
_CONSENT = """
insert into core.consents (organisation_id, patient_id, purpose, granted, effective_at, recorded_by)
values (%s, %s, %s, %s, now(), %s)
"""


def batch(number: int = 0, frame_count: int = 3) -> bytes:
    """A small valid batch, different for each ``number``."""
    rng = np.random.default_rng(number)
    landmarks = rng.random((frame_count, 33, 4)).astype(np.float32)
    timestamps = (1000 * (number % 10_000) + 33 * np.arange(frame_count)).astype(np.uint32)
    return wire.encode(landmarks, timestamps, 30)


def heartbeat(session_id: UUID, position_seconds: float = 10.0) -> dict[str, Any]:
    return {
        "event": "heartbeat",
        "session_id": str(session_id),
        "timestamp": "2026-03-02T08:00:10Z",
        "data": {"position_seconds": position_seconds, "watched_duration_seconds": position_seconds},
    }


@dataclass
class Patient:
    """A patient with one open exercise session and its token."""

    node: Node
    organisation_id: int
    patient_id: int
    principal_id: UUID
    session_id: UUID
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "Origin": ORIGIN}

    def post_pose(self, body: bytes, **headers: str) -> httpx.Response:
        sent = {**self.headers, "Content-Type": _OCTETS, **headers}
        return self.node.http.post("/v1/pose/frames", content=body, headers=sent)

    def post_media(self, events: object) -> httpx.Response:
        return self.node.http.post("/v1/media/events", json=events, headers=self.headers)

    def end(self, body: object = None, session_id: UUID | None = None) -> httpx.Response:
        path = f"/v1/sessions/{session_id or self.session_id}/end"
        if body is None:
            return self.node.http.post(path, headers=self.headers)
        return self.node.http.post(path, json=body, headers=self.headers)

    def consent(self, purpose: str, *, granted: bool) -> None:
        """A ledger row, committed when this returns."""
        with psycopg.connect(self.node.database.admin_url) as connection:
            row = (self.organisation_id, self.patient_id, purpose, granted, self.principal_id)
            connection.execute(_CONSENT, row)

    def landed(self) -> LandedSession | None:
        try:
            return reader.read_session(self.node.data_dir, self.session_id)
        except SessionNotLandedError:
            return None

    def bodies(self, kind: str = "batch") -> list[bytes]:
        landed = self.landed()
        return [] if landed is None else [record.body for record in landed.records if record.kind == kind]

    def row(self, columns: str) -> tuple[Any, ...]:
        with psycopg.connect(self.node.database.admin_url) as connection:
            query = f"select {columns} from telemetry.sessions where session_id = %s"
            found = connection.execute(query.encode(), [self.session_id]).fetchone()
            assert found is not None
            return found


@dataclass
class Node:
    """A data directory, a database, and the service's processes over them while ``start``ed."""

    database: Database
    keys: SigningKeys
    data_dir: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    config: str = SERVICE_CONFIG
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.port = free_run(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = self.client()
        with psycopg.connect(self.database.admin_url) as connection:
            found = connection.execute(_SEED).fetchone()
            assert found is not None
            self.organisation_id, self.exercise_id, self.plan_id = found
            connection.execute(
                "insert into telemetry.nodes (node_id, ingest_url, seen_at, lease_until) values (%s, %s, now(), now())"
                " on conflict do nothing",
                [NODE_ID, self.url],
            )

    def client(self) -> httpx.Client:
        """A client of its own connections. Plain HTTP: loading certificates would cost more than most tests."""
        return httpx.Client(base_url=self.url, timeout=10, verify=False)

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "RESTARTIX_DATABASE_URL": self.database.url("ingest"),
            "RESTARTIX_DATA_DIR": str(self.data_dir),
            "RESTARTIX_NODE_ID": NODE_ID,
            "RESTARTIX_INGEST_URL": self.url,
            "RESTARTIX_JWKS": str(self.keys.jwks_path),
            "RESTARTIX_PORTAL_ORIGINS": ORIGIN,
            "RESTARTIX_TOUCH_INTERVAL_S": "0.2",
            "RESTARTIX_DISK_RESERVE_BYTES": "0",
            "RESTARTIX_BIND": f"127.0.0.1:{self.port}",
            "WEB_CONCURRENCY": str(self.workers),
            "PYTHONWARNINGS": "error",
            **self.extra,
        }

    def start(self, *, await_ready: bool = True) -> Node:
        gunicorn = str(Path(sys.executable).with_name("gunicorn"))
        command = [gunicorn, "-c", self.config, "ingest_service.wsgi:app"]
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with (self.data_dir.parent / "ingest.log").open("ab") as output:
            self.process = subprocess.Popen(
                command, cwd=_REPOSITORY, env=self.environment(), stdout=output, stderr=output, start_new_session=True
            )
        if await_ready:
            self.await_ready()
        return self

    def log(self) -> str:
        return (self.data_dir.parent / "ingest.log").read_text()

    def await_ready(self, wait_s: float = 30) -> None:
        deadline_s = time.monotonic() + wait_s
        while time.monotonic() < deadline_s:
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            with contextlib.suppress(httpx.TransportError):
                # Each worker's log is there once it serves; any of them may answer.
                serving_count = len(list(self.data_dir.glob("wal/*/*.wal")))
                if serving_count >= self.workers and self.http.get("/readyz").status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"not ready within {wait_s} s\n{self.log()}")

    def worker_pids(self) -> list[int]:
        assert self.process is not None
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def kill(self) -> None:
        """kill -9 to the master and all workers at once; they are gone when this returns, and their locks with them."""
        assert self.process is not None
        workers = self.worker_pids()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert eventually(lambda: not any(map(_lives, workers)))

    def terminate(self, wait_s: float = 30) -> int:
        """SIGTERM, as a supervisor sends it; gives the exit status."""
        assert self.process is not None
        self.http.close()  # gunicorn waits for idle connections as well
        self.http = self.client()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(wait_s)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.kill()
        self.http.close()

    def claims(self, principal_id: UUID, session_id: UUID, log_id: int) -> dict[str, Any]:
        now_s = int(time.time())
        return {
            "iss": "restartix-core-api",
            "aud": "telemetry",
            "sub": str(principal_id),
            "sid": str(session_id),
            "org": self.organisation_id,
            "log": log_id,
            "exr": self.exercise_id,
            "nod": NODE_ID,
            "sta": int(datetime.now(UTC).timestamp() * 1000),
            "iat": now_s,
            "exp": now_s + 4 * 3600,
        }

    def patient(self, *purposes: str, **claims: object) -> Patient:
        """A new patient who consents to ``purposes``, with an open session; ``claims`` replace the token's."""
        principal_id, session_id = uuid4(), uuid4()
        with psycopg.connect(self.database.admin_url) as connection:
            seed = {"org": self.organisation_id, "sub": principal_id, "plan": self.plan_id}
            found = connection.execute(_PATIENT, {**seed, "exercise": self.exercise_id}).fetchone()
            assert found is not None
            patient_id, log_id = found
            session = {"sid": session_id, "patient": patient_id, "exercise": self.exercise_id, "log": log_id}
            connection.execute(_SESSION, {**session, "org": self.organisation_id, "node": NODE_ID})
        token = self.keys.mint({**self.claims(principal_id, session_id, log_id), **claims})
        patient = Patient(self, self.organisation_id, patient_id, principal_id, session_id, token)
        for purpose in purposes:
            patient.consent(purpose, granted=True)
        return patient


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(holds: Any, wait_s: float = 10.0) -> bool:  # noqa: ANN401 - any predicate
    """Whether ``holds()`` becomes true within ``wait_s``."""
    deadline_s = time.monotonic() + wait_s
    while time.monotonic() < deadline_s:
        if holds():
            return True
        time.sleep(0.02)
    return bool(holds())


def running(node: Node) -> Iterator[Node]:
    try:
        yield node.start()
    finally:
        node.stop()
