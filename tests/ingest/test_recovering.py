"""A worker that recovers answers from the first moment: probes, portals told to come back, and nothing is killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg

from pipelines.landing import reader

from .node import NODE_ID, ORIGIN, Node, batch, eventually

MakeNode = Callable[..., Node]
SLOW = str(Path(__file__).with_name("slow_recovery.conf.py"))


def _answers(node: Node) -> bool:
    try:
        return node.http.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_a_long_recovery_is_answered_for_and_not_killed(make_node: MakeNode, tmp_path: Path) -> None:
    """Longer than gunicorn's patience with a silent worker."""
    node = make_node().start()
    patient = node.patient("biometric")
    assert patient.post_pose(batch(1)).status_code == 204
    node.kill()
    assert eventually(lambda: reader.has_unrecovered_log(node.data_dir))  # once its workers are gone
    bounds = {"RESTARTIX_RECOVERY_WAIT_S": "0.2", "RESTARTIX_LEASE_S": "3"}
    node.config, node.extra = SLOW, {"RECOVERY_S": "4.5", "FAULTS_DIR": str(tmp_path), **bounds}
    node.start(await_ready=False)
    assert eventually(lambda: _answers(node), wait_s=20)
    began_s = time.monotonic()
    [pid] = node.worker_pids()
    ready = node.http.get("/readyz")
    assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
    assert "recovering" in ready.json()["detail"]
    for answer in (patient.post_pose(batch(2)), patient.post_media({}), patient.end()):
        assert (answer.status_code, answer.json()["code"]) == (503, "recovering")
        assert int(answer.headers["retry-after"]) > 0
        assert answer.headers["access-control-allow-origin"] == ORIGIN
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    assert node.http.options("/v1/pose/frames", headers=preflight).status_code == 204
    assert node.http.get("/v1/nowhere").json()["code"] == "not_found"
    assert node.http.get("/openapi.json").status_code == 200
    assert 'ingest_rejected_total{code="recovering"} 3.0' in node.http.get("/metrics").text
    with psycopg.connect(node.database.admin_url) as connection:
        lease = "select ready_since is null and lease_until > now() from telemetry.nodes where node_id = %s"
        assert eventually(lambda: connection.execute(lease, [NODE_ID]).fetchone() == (True,), wait_s=4)
    assert reader.has_unrecovered_log(node.data_dir)
    assert eventually(lambda: node.http.get("/readyz").status_code == 200, wait_s=20), node.log()
    assert time.monotonic() - began_s > 2.1  # it took longer than a silent worker would have been given
    assert node.worker_pids() == [pid]
    assert patient.post_pose(batch(2)).status_code == 204
    assert patient.bodies() == [batch(1), batch(2)]
    assert not reader.has_unrecovered_log(node.data_dir)


def test_a_request_waits_out_a_short_recovery(make_node: MakeNode, tmp_path: Path) -> None:
    extra = {"RECOVERY_S": "1.5", "FAULTS_DIR": str(tmp_path), "RESTARTIX_RECOVERY_WAIT_S": "10"}
    node = make_node(config=SLOW, **extra).start(await_ready=False)
    patient = node.patient("biometric")
    assert eventually(lambda: _answers(node), wait_s=20)
    assert patient.post_pose(batch(1)).status_code == 204


def test_a_worker_told_to_stop_while_it_recovers_stops(make_node: MakeNode, tmp_path: Path) -> None:
    node = make_node().start()
    patient = node.patient("biometric")
    assert patient.post_pose(batch(1)).status_code == 204
    node.kill()
    assert eventually(lambda: reader.has_unrecovered_log(node.data_dir))
    node.config, node.extra = SLOW, {"RECOVERY_S": "60", "FAULTS_DIR": str(tmp_path)}
    node.start(await_ready=False)
    assert eventually(lambda: _answers(node), wait_s=20)
    began_s = time.monotonic()
    assert node.terminate() == 0
    assert time.monotonic() - began_s < 6
    assert reader.has_unrecovered_log(node.data_dir)  # as it was: the next one recovers it


def test_a_recovery_that_fails_is_tried_again_by_another_worker(make_node: MakeNode, tmp_path: Path) -> None:
    fault = tmp_path / "recovery-eio"
    fault.touch()
    extra = {"RECOVERY_S": "0.1", "FAULTS_DIR": str(tmp_path), "RESTARTIX_RETRY_AFTER_S": "2"}
    node = make_node(config=SLOW, **extra).start(await_ready=False)

    def failed() -> bool:
        try:
            answer = node.http.get("/healthz")
        except httpx.TransportError:
            return False
        return answer.status_code == 503 and "recovery failed" in answer.json()["detail"]

    assert eventually(failed, wait_s=20)
    first = node.worker_pids()
    fault.unlink()
    node.await_ready(30)
    assert set(first).isdisjoint(node.worker_pids())
    assert "recovery_failed" in node.log()
