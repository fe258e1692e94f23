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
from typing import NamedTuple

import psycopg
import pytest

from pipelines.landing import reader
from tests.ingest.node import Node, Patient, batch, eventually

from .load import assert_all_landed, landed, portals

SOAK_S = float(os.environ.get("RESTARTIX_PROVE_SOAK_S", "12"))
RESTARTS = int(os.environ.get("RESTARTIX_PROVE_RESTARTS", "2"))
FAULTY = str(Path(__file__).parents[1] / "ingest" / "faulty_disk.conf.py")
TICKING = str(Path(__file__).with_name("ticking.conf.py"))
MANY = {"RESTARTIX_BATCH_BURST": "1000000"}
_SOAK_GROWTH_MAX_BYTES = 6 * 1024 * 1024
_SOAK_DESCRIPTORS_MAX = 12  # as many sessions as a segment holds, more or less
_SOAK_THREADS_MAX = 2
_BATCHES_A_SESSION = 40

MakeNode = Callable[..., Node]
Proved = Callable[..., None]


@pytest.mark.timeout(120 + 30 * RESTARTS)
def test_a_rolling_restart_fails_no_retry(make_node: MakeNode, proved: Proved) -> None:
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
    attempts_max = max(portal.attempts_max for portal in running)
    given_up = sum(len(portal.given_up) for portal in running)
    refused = sum(portal.refused.total() for portal in running)
    assert node.terminate() == 0
    acknowledged, lost = landed(running)
    proved("restarts", restarts=RESTARTS, acknowledged=acknowledged, lost=lost, refused=refused, given_up=given_up)
    proved("restarts", attempts_max=attempts_max)
    for portal in running:
        assert not portal.given_up
        assert not portal.refused  # nobody is told of the restart
        assert portal.attempts_max <= 2  # a connection that was closed is opened again, and that is all
    assert not reader.has_unrecovered_log(node.data_dir)
    assert acknowledged > 0
    assert lost == 0


def test_an_end_on_one_worker_while_a_batch_is_on_its_way_on_the_other(
    make_node: MakeNode, tmp_path: Path, proved: Proved
) -> None:
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
    (faults / "fdatasync-waits").touch()
    with ThreadPoolExecutor(1) as pool:
        on_its_way = pool.submit(elsewhere.post_pose, batch(3))
        try:
            _wait_for(faults / "fdatasync-is-waiting")
            ended = patient.end({"reason": "completed"})
            was_under_way = not on_its_way.done()
        finally:
            (faults / "fdatasync-waits").unlink()
        assert on_its_way.result().status_code == 204
    assert ended.status_code == 202
    assert was_under_way
    for worker in (patient, elsewhere):
        assert worker.post_pose(batch(4)).status_code == 409
        assert worker.end({"reason": "abandoned"}).json() == ended.json()  # the same answer from both
    session = patient.landed()
    assert session is not None
    proved("end_beside_batch", records=len(session.records), logs=len(session.consumed))
    assert len(session.consumed) == 2
    kinds = [record.kind for record in session.records]
    assert sorted(kinds) == ["batch", "batch", "batch", "end"]
    assert {record.body for record in session.records if record.kind == "batch"} == {batch(1), batch(2), batch(3)}


def _wait_for(path: Path, timeout_s: float = 30.0) -> None:
    due_s = time.monotonic() + timeout_s
    while not path.exists():
        assert time.monotonic() < due_s, f"{path.name} never came"
        time.sleep(0.01)


def test_nothing_blocks_the_hub(make_node: MakeNode, tmp_path: Path, proved: Proved) -> None:
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
    longest_s = float(ticks.read_text()) if ticks.exists() else None  # absent: it never waited longer than before
    proved("hub", acknowledged=acknowledged, longest_wait_s=longest_s)
    assert longest_s is None or longest_s < 0.4


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


class _Use(NamedTuple):
    """Of one process, at a moment or the most of several."""

    resident_bytes: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> _Use:
        counts = [sum(1 for _ in Path(f"/proc/{pid}/{name}").iterdir()) for name in ("fd", "task")]
        return cls(_resident_bytes(pid), *counts)


def _most(pid: int, seconds: float) -> _Use:
    """The most of each while ``seconds`` pass: files are opened and closed with the sessions."""
    until_s = time.monotonic() + seconds
    seen = [_Use.of(pid)]
    while time.monotonic() < until_s:
        time.sleep(min(0.25, seconds / 10))
        seen.append(_Use.of(pid))
    return _Use(*(max(column) for column in zip(*seen, strict=True)))


@pytest.mark.timeout(120 + 2 * SOAK_S)
def test_memory_files_and_threads_stay_flat(make_node: MakeNode, proved: Proved) -> None:
    node = make_node(RESTARTIX_SEGMENT_MAX_BYTES="2000000", **MANY).start()
    (pid,) = node.worker_pids()
    stop = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        sitting = [pool.submit(_sit, node, 1000 * number, stop) for number in range(3)]
        time.sleep(SOAK_S / 4)
        early = _most(pid, SOAK_S / 4)
        time.sleep(SOAK_S / 4)
        late = _most(pid, SOAK_S / 4)
        stop.set()
        acknowledged = sum(future.result() for future in sitting)
    growth = {
        "memory_growth_bytes": late.resident_bytes - early.resident_bytes,
        "descriptor_growth": late.descriptors - early.descriptors,
        "thread_growth": late.threads - early.threads,
    }
    proved("soak", seconds=SOAK_S, acknowledged=acknowledged, **growth)
    print(f"{acknowledged} batches; the most in the second and in the last quarter: {early}, {late}")
    assert acknowledged > 3 * _BATCHES_A_SESSION
    assert node.worker_pids() == [pid]
    assert growth["memory_growth_bytes"] < _SOAK_GROWTH_MAX_BYTES
    assert growth["descriptor_growth"] <= _SOAK_DESCRIPTORS_MAX
    assert growth["thread_growth"] <= _SOAK_THREADS_MAX
