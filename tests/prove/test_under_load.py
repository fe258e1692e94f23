"""What must hold while requests keep coming: restarts, a slow disk and a slow database, long runs.

``RESTARTIX_PROVE_SOAK_S`` is how long the soak lasts, ``RESTARTIX_PROVE_RESTARTS`` how often the node is restarted.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from pipelines.landing import reader
from tests.ingest.node import Node, Patient, batch, eventually

from .load import assert_all_landed, portals

SOAK_S = float(os.environ.get("RESTARTIX_PROVE_SOAK_S", "12"))
RESTARTS = int(os.environ.get("RESTARTIX_PROVE_RESTARTS", "2"))
FAULTY = str(Path(__file__).parents[1] / "ingest" / "faulty_disk.conf.py")
TICKING = str(Path(__file__).with_name("ticking.conf.py"))
MANY = {"RESTARTIX_BATCH_BURST": "1000000"}
_SOAK_GROWTH_MAX_BYTES = 6 * 1024 * 1024
_BATCHES_A_SESSION = 40

MakeNode = Callable[..., Node]


@pytest.mark.timeout(120 + 30 * RESTARTS)
def test_a_rolling_restart_fails_no_retry(make_node: MakeNode) -> None:
    node = make_node(workers=2, **MANY).start()
    patients = [node.patient("biometric") for _ in range(2)]
    assert node.process is not None
    with portals(patients, 4, pace_s=0.02) as running:
        for _ in range(RESTARTS):
            before = set(node.worker_pids())
            os.kill(node.process.pid, signal.SIGHUP)
            assert eventually(lambda: not before & set(node.worker_pids()), wait_s=40)  # noqa: B023 - used at once
            counts = [len(portal.acknowledged) for portal in running]
            assert eventually(
                lambda: all(
                    len(portal.acknowledged) > count + 3
                    for portal, count in zip(running, counts, strict=True)  # noqa: B023
                ),
                wait_s=40,
            )
    for portal in running:
        assert not portal.given_up
        assert not portal.refused  # nobody is told of the restart
        assert portal.attempts_max <= 2  # a connection that was closed is opened again, and that is all
    assert node.terminate() == 0
    assert not reader.has_unrecovered_log(node.data_dir)
    assert assert_all_landed(running) > 0


def test_an_end_on_one_worker_while_a_batch_is_on_its_way_on_the_other(make_node: MakeNode, tmp_path: Path) -> None:
    """Two processes over one data directory, so that it is known which worker is asked."""
    faults = tmp_path / "faults"
    faults.mkdir()
    one = make_node().start()
    slow = {"FAULTS_DIR": str(faults), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")}
    two = make_node(config=FAULTY, **slow).start()
    patient = one.patient("biometric")
    elsewhere = Patient(two, patient.organisation_id, patient.patient_id, patient.principal_id, patient.session_id, "")
    elsewhere.token = patient.token
    assert patient.post_pose(batch(1)).status_code == 204
    assert elsewhere.post_pose(batch(2)).status_code == 204
    (faults / "fdatasync-slow").touch()
    with ThreadPoolExecutor(1) as pool:
        on_its_way = pool.submit(elsewhere.post_pose, batch(3))
        time.sleep(0.2)
        ended = patient.end({"reason": "completed"})
        was_under_way = not on_its_way.done()
        assert on_its_way.result().status_code == 204
    (faults / "fdatasync-slow").unlink()
    assert ended.status_code == 202
    assert was_under_way
    for worker in (patient, elsewhere):
        assert worker.post_pose(batch(4)).status_code == 409
        assert worker.end({"reason": "abandoned"}).json() == ended.json()  # the same answer from both
    landed = patient.landed()
    assert landed is not None
    assert len(landed.consumed) == 2
    kinds = [record.kind for record in landed.records]
    assert sorted(kinds) == ["batch", "batch", "batch", "end"]
    assert {record.body for record in landed.records if record.kind == "batch"} == {batch(1), batch(2), batch(3)}


def test_nothing_blocks_the_hub(make_node: MakeNode, tmp_path: Path) -> None:
    """Syncs of half a second, the consent ledger locked, requests from all sides: a greenlet still runs in time."""
    faults, ticks = tmp_path / "faults", tmp_path / "ticks"
    faults.mkdir()
    node = make_node(config=TICKING, FAULTS_DIR=str(faults), TICKS_FILE=str(ticks), **MANY).start()
    patients = [node.patient("biometric") for _ in range(3)]
    late = [node.patient("biometric") for _ in range(4)]
    assert all(patient.post_pose(batch(1)).status_code == 204 for patient in patients)
    ticks.unlink(missing_ok=True)
    (faults / "fdatasync-slow").touch()
    started_s = time.monotonic()
    with portals(patients, 6, pace_s=0.0) as running, psycopg.connect(node.database.admin_url) as blocking:
        blocking.execute("lock table core.consents in access exclusive mode")
        with ThreadPoolExecutor(4) as pool:
            unread = [pool.submit(patient.post_pose, batch(1)) for patient in late]
            time.sleep(1.2)
            blocking.rollback()
            answers = {future.result().status_code for future in unread}
        time.sleep(1.5)
    took_s = time.monotonic() - started_s
    (faults / "fdatasync-slow").unlink()
    for portal in running:
        portal.sent.add(batch(1))
    acknowledged = assert_all_landed(running)
    assert answers <= {204, 503}
    assert 6 <= acknowledged <= 6 * (took_s / 0.5 + 1)  # each sync was slow indeed
    if ticks.exists():  # absent: the greenlet never waited longer than before
        assert float(ticks.read_text()) < 0.4


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _sit(node: Node, number: int, stop: threading.Event) -> int:
    """One session after the other, each begun, played and ended; how many batches were acknowledged."""
    acknowledged = 0
    with node.client() as client:
        while not stop.is_set():
            patient = node.patient("biometric")
            headers = {**patient.headers, "Content-Type": "application/octet-stream"}
            for place in range(_BATCHES_A_SESSION):
                body = batch(number + place, frame_count=30)
                assert client.post("/v1/pose/frames", content=body, headers=headers).status_code == 204
                acknowledged += 1
            end = client.post(f"/v1/sessions/{patient.session_id}/end", headers=patient.headers)
            assert end.status_code == 202
    return acknowledged


@pytest.mark.timeout(120 + 2 * SOAK_S)
def test_memory_stays_flat(make_node: MakeNode) -> None:
    node = make_node(RESTARTIX_SEGMENT_MAX_BYTES="2000000", **MANY).start()
    (pid,) = node.worker_pids()
    stop = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        sitting = [pool.submit(_sit, node, 1000 * number, stop) for number in range(3)]
        time.sleep(SOAK_S / 2)
        early_bytes = _resident_bytes(pid)
        time.sleep(SOAK_S / 2)
        late_bytes = _resident_bytes(pid)
        stop.set()
        acknowledged = sum(future.result() for future in sitting)
    print(f"{acknowledged} batches; {early_bytes} bytes resident after half of them, {late_bytes} at the end")
    assert acknowledged > 3 * _BATCHES_A_SESSION
    assert node.worker_pids() == [pid]
    assert late_bytes - early_bytes < _SOAK_GROWTH_MAX_BYTES
