"""The safety copy as the process keeps it, in a real bucket: sealed from parts of 5 MiB, and a lost node."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from infra.stack.throwaway import Bucket
from pipelines.finalise.cli import run_sweep
from pipelines.ports.blob_store import PART_MIN_BYTES
from pipelines.pose import wire
from pipelines.simulate.recording import Recording
from tests.finalise.scene import NODE, Clinic, Node

COMMAND = [sys.executable, "-c", "from pipelines.finalise.cli import finaliser; finaliser()"]
FRAMES = 300


@pytest.fixture(scope="session")
def large_bodies(squats: Recording) -> list[bytes]:
    """Squats over and over, with noise, ten seconds a body: over 11 MiB."""
    noise = np.random.default_rng(11)
    made = []
    for number in range(84):
        rows = (np.arange(FRAMES) + number * FRAMES) % len(squats.landmarks)
        landmarks = squats.landmarks[rows] + noise.normal(0, 1e-3, (FRAMES, 33, 4)).astype(np.float32)
        landmarks[:, :, 3] = squats.landmarks[rows][:, :, 3]
        timestamp_ms = (np.arange(FRAMES) + number * FRAMES) * 1000 // 30
        made.append(wire.encode(landmarks, timestamp_ms, 30))
    assert sum(map(len, made)) > 2 * PART_MIN_BYTES + PART_MIN_BYTES // 10
    return made


@contextmanager
def _finaliser(clinic: Clinic, data_dir: Path, s3: Bucket, node_id: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        **s3.environment(),
        "RESTARTIX_DATABASE_URL": clinic.database.url("finaliser"),
        "RESTARTIX_DATA_DIR": str(data_dir),
        "RESTARTIX_NODE_ID": node_id,
        "RESTARTIX_SAFETY_COPY_AGE_S": "0.5",
        "RESTARTIX_SAFETY_COPY_INTERVAL_S": "0.1",
    }
    output = (data_dir.parent / f"{node_id}.log").open("wb")
    with output, subprocess.Popen(COMMAND, env=environment, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait(clinic: Clinic, query: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not clinic.execute(query):
        assert time.monotonic() < deadline, query
        time.sleep(0.02)


TWO_PARTS = "select 1 from telemetry.safety_copy_parts where part_number = 2"
FINALISED = "select 1 from telemetry.sessions where state = 'finalised'"


def test_a_long_session_is_sealed_from_the_parts_that_are_there(
    clinic: Clinic, node: Node, s3: Bucket, large_bodies: list[bytes]
) -> None:
    header = clinic.session(created_at=dt.datetime.now(dt.UTC) - dt.timedelta(seconds=900), movement_profile=None)
    clinic.consent("biometric", True, header.started_at - dt.timedelta(days=1))
    with _finaliser(clinic, node.data_dir, s3, NODE):
        node.batches(header, large_bodies[:80])
        _wait(clinic, TWO_PARTS)
        [upload] = s3.client().list_multipart_uploads(Bucket=s3.bucket)["Uploads"]
        sizes = [
            part["Size"]
            for part in s3.client().list_parts(Bucket=s3.bucket, Key=upload["Key"], UploadId=upload["UploadId"])[
                "Parts"
            ]
        ]
        assert min(sizes) >= PART_MIN_BYTES
        for second, body in enumerate(large_bodies[80:], start=81):
            node.batch(header, body, second)
        node.end(header, 900)
        _wait(clinic, FINALISED)
        deadline = time.monotonic() + 20  # it is written every few seconds
        while "restartix_safety_copy_parts_total 2\n" not in (told := (node.data_dir / "finaliser.prom").read_text()):
            assert time.monotonic() < deadline, told
            time.sleep(0.2)
    row = clinic.row(header)
    assert (row["batches_in_blob"], row["accepted_records"], row["incomplete"]) == (84, 84, False)
    stored = s3.client().get_object(Bucket=s3.bucket, Key=row["blob_key"], VersionId=row["blob_version_id"])
    assert stored["Body"].read() == b"".join(large_bodies)
    assert stored["ETag"].strip('"') == row["blob_etag"]
    assert row["blob_etag"].endswith("-3"), "two parts while it ran, and the rest"
    tagging = s3.client().get_object_tagging(Bucket=s3.bucket, Key=row["blob_key"])
    assert tagging["TagSet"] == [{"Key": "retention", "Value": "default"}]
    assert "Uploads" not in s3.client().list_multipart_uploads(Bucket=s3.bucket)
    assert clinic.execute("select 1 from telemetry.safety_copies") == []
    lines = (node.data_dir.parent / f"{NODE}.log").read_text().splitlines()
    assert sum(line["parts"] for line in map(json.loads, lines) if line["event"] == "safety copy") == 2


def test_a_lost_nodes_session_is_finished_by_another_process(
    clinic: Clinic, node: Node, s3: Bucket, large_bodies: list[bytes], tmp_path: Path
) -> None:
    header = clinic.session(
        created_at=dt.datetime.now(dt.UTC) - dt.timedelta(seconds=900),
        last_received_at=dt.datetime.now(dt.UTC),
        movement_profile=None,
    )
    clinic.consent("biometric", True, header.started_at - dt.timedelta(days=1))
    with _finaliser(clinic, node.data_dir, s3, NODE) as process:
        node.batches(header, large_bodies)
        _wait(clinic, TWO_PARTS)
        process.kill()
        process.wait()
    for log in node.logs:
        log.close()
    shutil.rmtree(node.data_dir)
    clinic.execute("update telemetry.nodes set lease_until = now() - interval '16 minutes'")
    assert run_sweep({"RESTARTIX_DATABASE_URL": clinic.database.url("sweeper")}).node_lost == 1
    parts = clinic.execute("select cardinality(member_hashes) members from telemetry.safety_copy_parts")
    member_count = sum(part["members"] for part in parts)
    assert 72 <= member_count < 84

    with _finaliser(clinic, tmp_path / "other", s3, "node-b"):
        _wait(clinic, FINALISED)
    row = clinic.row(header)
    assert (row["end_reason"], row["incomplete"], row["accepted_records"]) == ("node_lost", True, None)
    assert row["batches_in_blob"] == member_count
    stored = s3.client().get_object(Bucket=s3.bucket, Key=row["blob_key"], VersionId=row["blob_version_id"])
    assert stored["Body"].read() == b"".join(large_bodies[:member_count])
    [announced] = clinic.published(header)
    assert announced.pose is not None
    assert announced.pose.frame_count == member_count * FRAMES
    assert "Uploads" not in s3.client().list_multipart_uploads(Bucket=s3.bucket)
