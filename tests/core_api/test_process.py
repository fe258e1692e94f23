"""The service as it is run: gunicorn with gevent workers, over real sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import DictRow, dict_row

from core_api.encryption import ColumnCipher
from infra.stack.keys import SigningKeys, column_key_file
from infra.stack.loopback import free_run
from infra.stack.throwaway import Bucket, Database
from pipelines.adapters.key_file import KeyFile
from pipelines.adapters.s3.blob_store import S3BlobStore
from pipelines.adapters.s3.settings import S3Settings
from tests.core_api.clinics import Api, Clinic, clinic_spec, make_clinic
from tests.core_api.test_personal_reference import consenting, squats

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def serving(environment: dict[str, str], log_path: Path) -> Iterator[str]:
    port = free_run(1)
    command = [sys.executable, "-m", "gunicorn", "-c", "core_api/gunicorn.conf.py", "-b", f"127.0.0.1:{port}"]
    with (
        log_path.open("wb") as log,
        subprocess.Popen([*command, "core_api.wsgi:app"], cwd=ROOT, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 60
            while not is_ready(url):
                assert process.poll() is None and time.monotonic() < deadline, log_path.read_text()
                time.sleep(0.1)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    assert process.returncode == 0


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def environment(
    tmp_path: Path, database: Database, s3: Bucket, session_keys: SigningKeys, identity: SigningKeys
) -> dict[str, str]:
    return {
        **os.environ,
        **s3.environment(),
        "RESTARTIX_DATABASE_URL": database.url("core_api"),
        "RESTARTIX_SESSION_SIGNING_KEY": str(session_keys.pem_path),
        "RESTARTIX_IDENTITY_JWKS": str(identity.jwks_path),
        "RESTARTIX_KEY_FILE": str(column_key_file(tmp_path / "column.key")),
        "RESTARTIX_POOL_MAX_CONNECTIONS": "4",
        "RESTARTIX_CORE_API_WORKERS": "1",
    }


def test_many_slow_requests_wait_side_by_side(
    environment: dict[str, str], database: Database, identity: SigningKeys, tmp_path: Path
) -> None:
    """While one tenant's plan row is locked, its writers wait and everybody else is served: nothing blocks the hub."""
    key_file = KeyFile.read(Path(environment["RESTARTIX_KEY_FILE"]), os.urandom)
    connect = psycopg.connect(database.url("core_api"), row_factory=dict_row)
    with connect as connection:
        typed: Connection[DictRow] = connection
        clinic = make_clinic(
            typed, ColumnCipher(key_file, os.urandom), clinic_spec("North Clinic", started_on=date(2026, 1, 1))
        )
    token = identity.mint(
        {
            "sub": str(clinic.patient),
            "org": clinic.organisation_id,
            "role": "patient",
            "aud": "core-api",
            "exp": int(datetime.now(UTC).timestamp()) + 600,
        }
    )
    headers = {"Authorization": f"Bearer {token}"}
    plan = f"/v1/patient-treatment-plans/{clinic.plan_id}"
    with (
        serving(environment, tmp_path / "core_api.log") as url,
        httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=20) as client,
        ThreadPoolExecutor(3) as threads,
    ):
        with psycopg.connect(database.admin_url) as holder:
            holder.execute("select 1 from core.patient_treatment_plans where id = %s for update", [clinic.plan_id])
            waiting = [threads.submit(client.post, f"{plan}/sessions", json={}, headers=new_key()) for _ in range(3)]
            time.sleep(0.3)
            assert client.get(f"{plan}/progress").status_code == 200  # the pool's fourth connection
            assert client.get("/healthz").status_code == 200
            assert not any(each.done() for each in waiting)
        assert sorted(each.result().status_code for each in waiting) == [200, 200, 201]
        chunked = client.post(
            f"{plan}/sessions", content=iter([b'{"pain_level', b'_before": 12}']), headers={**AS_JSON, **new_key()}
        )
        assert (chunked.status_code, chunked.json()["code"]) == (422, "invalid_body")
        metrics = client.get("/metrics").text
        assert 'core_api_requests_total{method="GET",route="/healthz",status="200"}' in metrics
        assert "core_api_pool_size 4.0" in metrics
        large = client.post(
            f"{plan}/sessions", content=iter([b" " * 40_000, b" " * 40_000]), headers={**AS_JSON, **new_key()}
        )
        assert (large.status_code, large.json()["code"]) == (413, "body_too_large")
    log = (tmp_path / "core_api.log").read_text()
    assert '"event": "request"' in log
    assert token not in log


AS_JSON = {"Content-Type": "application/json"}


def new_key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


def test_learning_a_reference_leaves_the_worker_to_others(  # noqa: PLR0917 - pytest fills them in
    environment: dict[str, str], api: Api, clinic: Clinic, database: Database, s3: Bucket, tmp_path: Path
) -> None:
    """In the one gevent worker: reading and computing a long replay takes a while, and nobody waits for it."""
    blobs = S3BlobStore(s3.client(), S3Settings(bucket=s3.bucket, endpoint_url=s3.endpoint_url, encryption="none"))
    object.__setattr__(api.deps, "blobs", blobs)
    scene = consenting(api, clinic, database)
    session_id = scene.start()
    scene.finalise(session_id, squats(reps=150))  # seven and a half minutes
    path, token = f"/v1/sessions/{session_id}/reference", api.specialist(clinic)
    headers = {"Authorization": f"Bearer {token}"}
    with (
        serving(environment, tmp_path / "core_api.log") as url,
        httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        tag = {"If-Match": client.get(path).headers["etag"]}
        began = time.monotonic()
        marking = threads.submit(lambda: (client.put(path, headers=tag), time.monotonic() - began))
        waits_s = []
        while not marking.done():
            asked = time.monotonic()
            assert client.get("/healthz").status_code == 200
            waits_s.append(time.monotonic() - asked)
        marked, took_s = marking.result()
        assert marked.status_code == 200, marked.text
        assert (marked.json()["is_reference"], marked.json()["rep_count"]) == (True, 150)
        # Were it computed on the hub, one of the others would have waited for nearly all of it.
        assert len(waits_s) >= 5
        assert max(waits_s) < took_s / 2, (max(waits_s), took_s)
        again = client.put(path, headers=tag)
        assert (again.status_code, again.json()["code"]) == (412, "if_match_failed")
