"""A patient goes silent: the sweep closes the session, its node finalises it, the subscriber applies it, and everybody
sees an incomplete session; then the night's reconciliation holds the stored figures against the blob.

Real PostgreSQL, real S3, the landing log of a node on a disk, and the jobs as Dagster runs them.
"""

from __future__ import annotations

import datetime as dt
import secrets
import threading
import time
from pathlib import Path

import dagster as dg
import numpy as np
import psycopg
import pytest
from psycopg_pool import ConnectionPool

from core_api.cli import run_subscriber
from core_api.subscriber.settings import SubscriberSettings
from infra.stack.throwaway import Bucket, Database
from pipelines.adapters.postgres.bus import PostgresPublisher
from pipelines.adapters.postgres.safety_copy_store import PostgresSafetyCopyStore
from pipelines.adapters.postgres.session_store import PostgresSessionStore
from pipelines.adapters.s3.blob_store import S3BlobStore
from pipelines.adapters.s3.settings import S3Settings
from pipelines.finalise.disk import NodeDisk
from pipelines.finalise.finaliser import Finaliser
from pipelines.finalise.meter import CopyMeter
from pipelines.finalise.safety_copy import CopyRules, SafetyCopies
from pipelines.landing.disk import DiskOptions, open_log
from pipelines.pose import wire
from pipelines.simulate.performance import Performance, perform
from tests.finalise.scene import CLINIC, NODE, ORGANISATION, Clinic, Node

REPS = 4


def _bodies() -> list[bytes]:
    """Four deep squats as the portal sends them: a body a second."""
    squats = perform(Performance(exercise="deep_squat", reps=REPS, tempo_s=3.0, seed=7))
    seconds = squats.timestamp_ms // 1000
    return [
        wire.encode(squats.landmarks[seconds == second], squats.timestamp_ms[seconds == second], 30)
        for second in np.unique(seconds)
    ]


def _finalise(database: Database, s3: Bucket, node: Node) -> None:
    """What the node's finaliser does with every session that has ended."""
    blobs = S3BlobStore(s3.client(), S3Settings.from_env(s3.environment()))
    with ConnectionPool(database.url("finaliser"), min_size=1, max_size=4, timeout=10, open=True) as pool:
        store = PostgresSessionStore(pool, PostgresPublisher())
        rules = CopyRules(dt.timedelta(seconds=30), 5 * 1024 * 1024)
        copies = SafetyCopies(PostgresSafetyCopyStore(pool), blobs, rules, CopyMeter())
        finaliser = Finaliser(NodeDisk(node.data_dir), store, blobs, copies, lambda: dt.datetime.now(dt.UTC))
        for one in store.pending(NODE, 10):
            assert finaliser.finalise(ORGANISATION, one.session_id).verdict == "finalised"


def _apply(database: Database) -> None:
    """What the subscriber does with every result on the bus."""
    stop, outcome = threading.Event(), list[bool]()
    settings = SubscriberSettings(database_url=database.url("subscriber"), poll_s=0.1)
    thread = threading.Thread(target=lambda: outcome.append(run_subscriber(settings, stop)))
    thread.start()
    try:
        deadline = time.monotonic() + 20
        with psycopg.connect(database.admin_url, autocommit=True) as connection:
            while connection.execute("select 1 from bus.deliveries where state = 'pending'").fetchone():
                assert time.monotonic() < deadline, "not applied"
                time.sleep(0.05)
    finally:
        stop.set()
        with psycopg.connect(database.admin_url, autocommit=True) as connection:
            connection.execute("notify bus")
        thread.join(20)
    assert outcome == [True]


def _checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


@pytest.mark.timeout(300)
def test_a_silent_session_becomes_a_visible_incomplete_one_and_the_books_close(
    with_bucket: dg.Definitions, database: Database, s3: Bucket, tmp_path: Path
) -> None:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute(CLINIC)
    clinic = Clinic(database)
    began = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=10)
    for purpose in ("biometric", "analytics"):
        clinic.consent(purpose, True, began - dt.timedelta(days=1))
    header = clinic.session(began, last_received_at=began + dt.timedelta(minutes=5))
    clinic.execute(
        "update telemetry.nodes set ready_since = now() - interval '1 hour', lease_until = now() + interval '1 hour'"
    )
    options = DiskOptions(gather_ms=0.0, free_min_bytes=0)
    log, _ = open_log(tmp_path / "node", started_at=began, salt=secrets.token_bytes(4), options=options)
    node = Node(tmp_path / "node", [log])
    node.batches(header, _bodies())

    swept = with_bucket.resolve_job_def("sweep").execute_in_process()
    assert swept.success
    assert clinic.row(header)["state"] == "ended"
    _finalise(database, s3, node)
    _apply(database)
    log.close()

    row = clinic.row(header)
    assert (row["state"], row["end_reason"], row["incomplete"]) == ("finalised", "timeout", True)
    assert row["applied_revision"] == row["revision"] == 1
    [shown] = clinic.execute("select rep_count, incomplete, end_reason from telemetry.pose_session_metrics")
    assert shown == {"rep_count": REPS, "incomplete": True, "end_reason": "timeout"}
    [exercise] = clinic.execute("select incomplete, actual_reps from core.patient_exercise_logs where actual_reps > 0")
    assert exercise == {"incomplete": True, "actual_reps": REPS}

    reconciled = _checks(with_bucket.resolve_job_def("reconciliation").execute_in_process())
    assert all(check.passed for check in reconciled.values()), reconciled
    assert reconciled["repetitions_recomputed"].metadata["equal"].value == 1
    assert reconciled["accounting_closes"].metadata["accepted_batches"].value == len(_bodies())
    stored = _checks(with_bucket.resolve_job_def("retention").execute_in_process())
    assert all(check.passed for check in stored.values()), stored

    clinic.execute("delete from telemetry.pose_rep_metrics where rep_number = 1")
    clinic.execute("delete from telemetry.blob_members where ordinal = 1")
    broken = _checks(with_bucket.resolve_job_def("reconciliation").execute_in_process())
    assert not broken["repetitions_recomputed"].passed
    assert broken["repetitions_recomputed"].metadata["differing"].value == 1
    assert not broken["accounting_closes"].passed
    assert broken["accounting_closes"].metadata["members_differ"].value == 1
