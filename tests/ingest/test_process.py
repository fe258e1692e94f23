"""The service as a process: killed, stopped, blind, full, over its rates."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg

from pipelines.landing import reader
from pipelines.pose import wire

from .node import NODE_ID, Node, Patient, batch, eventually, heartbeat

MakeNode = Callable[..., Node]


def _post_until_stopped(patient: Patient, stop: threading.Event, worker: int) -> list[bytes]:
    """What was acknowledged, sending one new batch after the other over an own connection."""
    acknowledged = []
    headers = {**patient.headers, "Content-Type": "application/octet-stream"}
    with patient.node.client() as http:
        for number in range(500):  # stays below the rate
            if stop.is_set():
                break
            body = batch(10_000 * worker + number, frame_count=1 + number % 20)
            try:
                answer = http.post("/v1/pose/frames", content=body, headers=headers)
            except httpx.TransportError:
                break
            assert answer.status_code == 204, answer.text
            acknowledged.append(body)
    return acknowledged


def test_after_kill_every_acknowledged_batch_is_there(make_node: MakeNode) -> None:
    node = make_node(workers=2).start()
    patients = [node.patient("biometric") for _ in range(3)]
    acknowledged: list[set[bytes]] = [set() for _ in patients]
    for generation in range(3):
        stop = threading.Event()
        with ThreadPoolExecutor(6) as pool:
            sending = [
                pool.submit(_post_until_stopped, patients[place % 3], stop, 10 * generation + place)
                for place in range(6)
            ]
            time.sleep(0.8 + 0.3 * generation)
            node.kill()
            stop.set()
            for place, sent in enumerate(sending):
                acknowledged[place % 3] |= set(sent.result())
        assert reader.has_unrecovered_log(node.data_dir)
        node.start()
        assert not reader.has_unrecovered_log(node.data_dir)
        for patient, expected in zip(patients, acknowledged, strict=True):
            assert expected <= set(patient.bodies())
    assert sum(map(len, acknowledged)) > 50


def test_a_killed_worker_is_replaced_and_its_log_recovered(make_node: MakeNode) -> None:
    node = make_node().start()
    patient = node.patient("biometric")
    assert patient.post_pose(batch(1)).status_code == 204
    for pid in node.worker_pids():
        os.kill(pid, signal.SIGKILL)

    def sent() -> bool:
        try:
            return patient.post_pose(batch(2)).status_code == 204
        except httpx.TransportError:
            return False

    assert eventually(sent, wait_s=20)
    assert not reader.has_unrecovered_log(node.data_dir)
    assert patient.bodies()[0] == batch(1)
    assert set(patient.bodies()) == {batch(1), batch(2)}


def test_a_stopped_node_leaves_nothing_to_recover(make_node: MakeNode) -> None:
    node = make_node(workers=2).start()
    patient = node.patient("biometric")
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(_post_until_stopped, patient, stop, 1)
        time.sleep(0.3)
        assert node.terminate() == 0
        acknowledged = sending.result()
    assert acknowledged
    assert set(patient.bodies()) == set(acknowledged)
    assert not reader.has_unrecovered_log(node.data_dir)
    assert list(node.data_dir.glob("wal/*/*.wal")) == []
    for path in (*node.data_dir.glob("spool/*/*"), *node.data_dir.glob("wal/*/*")):
        assert path.stat().st_mode & 0o077 == 0


def test_two_workers_share_a_session_and_its_end(make_node: MakeNode) -> None:
    node = make_node(workers=2).start()
    patient = node.patient("biometric")

    def post(number: int) -> int:
        with node.client() as http:  # a connection each, so that both workers get some
            headers = {**patient.headers, "Content-Type": "application/octet-stream"}
            return http.post("/v1/pose/frames", content=batch(number % 20), headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(post, range(60))) == {204}
    landed = patient.landed()
    assert landed is not None
    assert len(landed.records) == 60
    assert len(landed.consumed) == 2
    assert {record.body for record in landed.records if record.body} == {batch(number) for number in range(20)}
    assert {record.payload_hash for record in landed.records} == {
        wire.decode(batch(number)).payload_hash for number in range(20)
    }
    assert patient.end().status_code == 202
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(post, range(20))) == {409}


def test_rate(make_node: MakeNode) -> None:
    node = make_node(RESTARTIX_BATCH_BURST="3", RESTARTIX_BATCH_RATE_PER_S="2").start()
    patient, other = node.patient("biometric", "analytics"), node.patient("biometric")
    assert [patient.post_pose(batch(number)).status_code for number in range(3)] == [204] * 3
    answer = patient.post_media(heartbeat(patient.session_id))
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_exceeded")
    assert int(answer.headers["retry-after"]) > 0
    assert other.post_pose(batch(1)).status_code == 204
    assert eventually(lambda: patient.post_pose(batch(9)).status_code == 204, wait_s=3)
    assert patient.end().status_code == 202  # an end is never over the rate


def test_blind_to_consent_it_fails_closed_and_comes_back(make_node: MakeNode) -> None:
    node = make_node(RESTARTIX_CONSENT_MAX_AGE_S="2").start()
    patient = node.patient("biometric")
    assert patient.post_pose(batch(1)).status_code == 204
    name = node.database.name
    server_url = node.database.admin_url.rpartition("/")[0] + "/postgres"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'alter database "{name}" allow_connections false'.encode())
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
        assert eventually(lambda: patient.post_pose(batch(2)).status_code == 503, wait_s=5)
        answer = patient.post_pose(batch(2))
        assert answer.json()["code"] == "consent_unknown"
        assert int(answer.headers["retry-after"]) > 0
        assert node.http.get("/readyz").json()["code"] == "not_ready"
        assert node.http.get("/healthz").status_code == 200
        assert patient.end({"reason": "abandoned"}).status_code == 202  # in the log, whatever PostgreSQL does
        connection.execute(f'alter database "{name}" allow_connections true'.encode())
    assert eventually(lambda: node.http.get("/readyz").status_code == 200, wait_s=10)
    assert eventually(lambda: patient.row("state, end_reason") == ("ended", "abandoned"), wait_s=10)
    assert set(patient.bodies()) <= {batch(1), batch(2)}  # until the watermark was too old, the last knowledge held


def test_news_missed_while_disconnected_is_read_again(make_node: MakeNode) -> None:
    node = make_node().start()
    patient = node.patient("biometric")
    assert patient.post_pose(batch(1)).status_code == 204
    with psycopg.connect(node.database.admin_url) as connection:
        # In one transaction: the feed is cut off before the withdrawal can be seen.
        row = (patient.organisation_id, patient.patient_id, patient.principal_id)
        connection.execute(
            "insert into core.consents (organisation_id, patient_id, purpose, granted, effective_at, recorded_by)"
            " values (%s, %s, 'biometric', false, now(), %s)",
            row,
        )
        feeds = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like '%consent feed'"
        assert connection.execute(feeds).fetchall() == [(True,)]
    assert eventually(lambda: patient.post_pose(batch(2)).status_code == 403, wait_s=5)


def test_below_the_disk_reserve_it_refuses_and_says_so(make_node: MakeNode) -> None:
    node = make_node(RESTARTIX_DISK_RESERVE_BYTES=str(2**60)).start(await_ready=False)
    patient = node.patient("biometric")

    def is_up() -> bool:
        try:
            return "consent" not in node.http.get("/readyz").json()["detail"]
        except httpx.TransportError:
            return False

    assert eventually(is_up, wait_s=20)
    answer = patient.post_pose(batch(1))
    assert (answer.status_code, answer.json()["code"]) == (503, "disk_full")
    assert int(answer.headers["retry-after"]) > 0
    assert node.http.get("/readyz").json()["detail"] == "the disk is full"
    # The reserve is for ends: what is there can be closed, finalised and removed, which makes room.
    assert patient.end().status_code == 202
    assert patient.bodies("end") == [b'{"reason":"completed"}']


def test_a_node_without_room_for_another_session(make_node: MakeNode) -> None:
    node = make_node(RESTARTIX_OPEN_SESSIONS_MAX="1").start()
    one, two = node.patient("biometric"), node.patient("biometric")
    assert one.post_pose(batch(1)).status_code == 204
    answer = two.post_pose(batch(1))
    assert (answer.status_code, answer.json()["code"]) == (503, "sessions_full")
    assert one.post_pose(batch(2)).status_code == 204


def test_the_lease_is_renewed(make_node: MakeNode) -> None:
    node = make_node(RESTARTIX_LEASE_S="3").start()

    def lease() -> tuple[bool, bool]:
        with psycopg.connect(node.database.admin_url) as connection:
            query = "select ready_since is not null, lease_until > now() from telemetry.nodes where node_id = %s"
            found = connection.execute(query, [NODE_ID]).fetchone()
            assert found is not None
            return found[0], found[1]

    assert eventually(lambda: lease() == (True, True), wait_s=5)
    time.sleep(3.2)
    assert lease() == (True, True)


def test_a_withdrawal_reaches_the_worker_quickly(make_node: MakeNode) -> None:
    node = make_node().start()
    delays_s = []
    for _ in range(5):
        patient = node.patient("biometric", "analytics")
        assert patient.post_pose(batch(1)).status_code == 204
        patient.consent("biometric", granted=False)
        committed_s = time.monotonic()
        assert eventually(lambda: patient.post_pose(batch(2)).status_code == 403, wait_s=2)  # noqa: B023 - used at once
        delays_s.append(time.monotonic() - committed_s)
    # The echo's rhythm is a second: at that pace the news would have come by chance, not by notification.
    assert sorted(delays_s)[2] < 0.5
