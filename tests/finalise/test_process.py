"""The finaliser as the process that runs beside a node, against a real Postgres and a real S3."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.stack.throwaway import Bucket
from tests.finalise.scene import NODE, Clinic, Node

COMMAND = [sys.executable, "-c", "from pipelines.finalise.cli import finaliser; finaliser()"]


def _environment(clinic: Clinic, node: Node, s3: Bucket) -> dict[str, str]:
    return {
        **os.environ,
        **s3.environment(),
        "RESTARTIX_DATABASE_URL": clinic.database.url("finaliser"),
        "RESTARTIX_DATA_DIR": str(node.data_dir),
        "RESTARTIX_NODE_ID": NODE,
        "RESTARTIX_FINALISER_GROWTH_POLL_S": "0.2",
    }


@pytest.fixture
def running(clinic: Clinic, node: Node, s3: Bucket, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    output = tmp_path / "finaliser.log"
    with output.open("wb") as file:
        process = subprocess.Popen(COMMAND, env=_environment(clinic, node, s3), stdout=file, stderr=subprocess.STDOUT)
        try:
            yield process, output
        finally:
            process.kill()
            process.wait()


def _wait(clinic: Clinic, condition: str, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not clinic.execute(f"select 1 from telemetry.sessions where {condition}"):
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def test_it_finalises_what_ends_and_what_comes_late_and_stops_when_told(
    *,
    clinic: Clinic,
    node: Node,
    s3: Bucket,
    bodies: list[bytes],
    running: tuple[subprocess.Popen[bytes], Path],
) -> None:
    process, output = running
    header = clinic.session(created_at=dt.datetime.now(dt.UTC))
    clinic.consent("biometric", True, header.started_at - dt.timedelta(days=1))
    node.batches(header, bodies[:5])
    node.end(header, 20)
    _wait(clinic, "state = 'finalised'")
    for second, body in enumerate(bodies[5:], start=21):
        node.batch(header, body, second)
    _wait(clinic, f"batches_in_blob = {len(bodies)}")
    row = clinic.row(header)
    stored = s3.client().get_object(Bucket=s3.bucket, Key=row["blob_key"], VersionId=row["blob_version_id"])
    assert stored["Body"].read() == b"".join(bodies)
    assert stored["ETag"].strip('"') == row["blob_etag"]
    assert stored["ContentType"] == "application/octet-stream"
    assert "ContentEncoding" not in dict(stored)
    tagging = s3.client().get_object_tagging(Bucket=s3.bucket, Key=row["blob_key"])
    assert tagging["TagSet"] == [{"Key": "retention", "Value": "default"}]

    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert lines[0]["event"] == "finaliser started"
    assert lines[-1]["event"] == "finaliser stopped"
    finalised = [line for line in lines if line["event"] == "finalised"]
    assert [line["session_id"] for line in finalised] == [str(header.session_id)] * row["revision"]


def test_killed_at_any_moment_it_goes_on_after_a_restart(
    clinic: Clinic, node: Node, s3: Bucket, bodies: list[bytes]
) -> None:
    headers = []
    for _ in range(6):
        header = clinic.session(created_at=dt.datetime.now(dt.UTC))
        headers.append(header)
    clinic.consent("biometric", True, headers[0].started_at - dt.timedelta(days=1))
    for header in headers:
        node.batches(header, bodies)
        node.end(header, 20)
    environment = _environment(clinic, node, s3)
    for finished in (1, 3):
        process = subprocess.Popen(COMMAND, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 120
            while len(clinic.execute("select 1 from telemetry.sessions where state = 'finalised'")) < finished:
                assert time.monotonic() < deadline
                time.sleep(0.005)
        finally:
            process.kill()
            process.wait()
    process = subprocess.Popen(COMMAND, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for header in headers:
            _wait(clinic, f"session_id = '{header.session_id}' and state = 'finalised'")
    finally:
        process.terminate()
        process.wait()
    for header in headers:
        row = clinic.row(header)
        assert (row["revision"], row["batches_in_blob"]) == (1, len(bodies))
        assert len(clinic.published(header)) == 1
        got = s3.client().get_object(Bucket=s3.bucket, Key=row["blob_key"], VersionId=row["blob_version_id"])
        assert got["Body"].read() == b"".join(bodies)


def test_a_missing_variable_is_named(clinic: Clinic, node: Node, s3: Bucket) -> None:
    environment = _environment(clinic, node, s3) | {"RESTARTIX_NODE_ID": ""}
    done = subprocess.run(COMMAND, env=environment, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"RESTARTIX_NODE_ID" in done.stderr
