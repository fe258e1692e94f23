"""Bounds and faults of a node: what it does when a body stalls, a queue is full, the disk is full or broken."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from pipelines.landing import reader

from .node import ORIGIN, Node, Patient, batch, eventually

MakeNode = Callable[..., Node]
FAULTY = str(Path(__file__).with_name("faulty_disk.conf.py"))


def _raw(patient: Patient, body: bytes, declared_bytes: int | None = None) -> bytes:
    """A pose request's bytes; ``declared_bytes`` instead of the body's real length."""
    length = len(body) if declared_bytes is None else declared_bytes
    head = (
        "POST /v1/pose/frames HTTP/1.1\r\nHost: ingest\r\nContent-Type: application/octet-stream\r\n"
        f"Authorization: Bearer {patient.token}\r\nContent-Length: {length}\r\n\r\n"
    )
    return head.encode() + body


@contextmanager
def _connection(node: Node, *sent: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", node.port), timeout=15) as connection:
        for part in sent:
            connection.sendall(part)
        yield connection


def _answer(connection: socket.socket) -> bytes:
    """What comes back until the server closes, or the first answer's end."""
    received = b""
    while part := connection.recv(65536):
        received += part
        if received.startswith(b"HTTP/1.1 204") and received.endswith(b"\r\n\r\n"):
            break
    return received


def test_a_stalled_body_is_cut_off_and_gives_its_place_back(make_node: MakeNode) -> None:
    node = make_node(RESTARTIX_BODY_TIMEOUT_S="1.5", RESTARTIX_REQUESTS_MAX="2").start()
    patient = node.patient("biometric")
    stalled = _raw(patient, batch(1)[:50], len(batch(1)))
    started_s = time.monotonic()
    with _connection(node, stalled) as one, _connection(node, stalled) as two:
        time.sleep(0.3)
        answer = patient.post_pose(batch(2))
        if time.monotonic() - started_s < 1.4:  # or the machine was too slow to see both places taken
            assert (answer.status_code, answer.json()["code"]) == (503, "busy")
            assert int(answer.headers["retry-after"]) > 0
        for connection in (one, two):
            received = _answer(connection)  # ends: the server closes, it does not wait for the rest
            assert received.startswith(b"HTTP/1.1 408"), received
            assert b'"code":"body_timeout"' in received
    assert patient.post_pose(batch(2)).status_code == 204
    assert patient.bodies() == [batch(2)]


def test_a_body_that_drips_is_cut_off_in_all_the_same_time(make_node: MakeNode) -> None:
    node = make_node(RESTARTIX_BODY_TIMEOUT_S="1").start()
    patient = node.patient("biometric")
    with _connection(node, _raw(patient, b"", 10_000)) as connection:
        connection.settimeout(0.2)
        received = b""
        started_s = time.monotonic()
        while not received and time.monotonic() - started_s < 10:
            try:
                connection.sendall(b"x")
                received = connection.recv(4096)
            except TimeoutError:
                continue
        assert received.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started_s < 6


def test_a_draining_worker_is_not_ready_and_finishes_what_was_begun(make_node: MakeNode) -> None:
    node = make_node().start()
    patient = node.patient("biometric")
    sent = _raw(patient, batch(1))
    probe = b"GET /readyz HTTP/1.1\r\nHost: ingest\r\n\r\n"
    assert node.http.get("/readyz").status_code == 200  # this connection is kept, and idle
    assert node.process is not None
    with _connection(node, sent[:-100]) as begun, _connection(node, probe[:-2]) as probing:
        time.sleep(0.2)
        os.kill(node.process.pid, signal.SIGTERM)
        assert eventually(lambda: node.log().count("Handling signal: term") == 1)
        time.sleep(0.4)
        probing.sendall(probe[-2:])
        answer = _answer(probing)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b'"code":"not_ready"' in answer
        assert b"draining" in answer
        begun.sendall(sent[-100:])
        assert _answer(begun).startswith(b"HTTP/1.1 204")
        ended_s = time.monotonic()
    assert node.process.wait(30) == 0
    assert time.monotonic() - ended_s < 4  # the idle connection held nothing up
    assert patient.bodies() == [batch(1)]
    assert not reader.has_unrecovered_log(node.data_dir)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_stalls_between_two_pieces_is_a_408(make_node: MakeNode, chunked: bool) -> None:
    """The server's own bound, before the service's: the same answer, which tells a portal to send it again."""
    node = make_node(RESTARTIX_HTTP_STALL_TIMEOUT_S="0.5").start()
    patient = node.patient("biometric")
    head, _, _ = _raw(patient, b"", 5000).partition(b"Content-Length")
    framing = b"Transfer-Encoding: chunked\r\n\r\n10\r\nabc" if chunked else b"Content-Length: 5000\r\n\r\nabc"
    with _connection(node, head + framing) as connection:
        received = _answer(connection)
    assert received.startswith(b"HTTP/1.1 408"), received
    assert b'"code":"body_timeout"' in received


def test_a_chunk_that_announces_too_much_is_a_413(make_node: MakeNode) -> None:
    node = make_node(RESTARTIX_HTTP_BODY_MAX_BYTES="300000").start()
    patient = node.patient("biometric")
    head, _, _ = _raw(patient, b"").partition(b"Content-Length")
    with _connection(node, head + b"Transfer-Encoding: chunked\r\n\r\n", b"80000\r\n") as connection:
        received = _answer(connection)
    assert received.startswith(b"HTTP/1.1 413"), received
    assert b'"code":"body_too_large"' in received


def test_what_the_worker_itself_refuses_the_portal_can_read(make_node: MakeNode) -> None:
    node = make_node().start()
    malformed = b"POST /v1/pose/frames HTTP/1.1\r\nHost: a\r\nOrigin: %s\r\nContent-Length: -1\r\n\r\n"
    with _connection(node, malformed % ORIGIN.encode()) as connection:
        received = _answer(connection)
    assert received.startswith(b"HTTP/1.1 400")
    assert b"content-type: application/problem+json" in received.lower()
    assert b"access-control-allow-origin: " + ORIGIN.encode() in received
    assert b'"code":"bad_request"' in received
    with _connection(node, malformed % b"https://elsewhere.example") as connection:
        assert b"access-control-allow-origin" not in _answer(connection)
    assert 'ingest_rejected_total{code="bad_request"} 2.0' in node.http.get("/metrics").text


@pytest.fixture
def faults(tmp_path: Path) -> Path:
    path = tmp_path / "faults"
    path.mkdir()
    return path


def _faulty(make_node: MakeNode, faults: Path, **extra: str) -> Node:
    return make_node(config=FAULTY, FAULTS_DIR=str(faults), **extra).start()


def _code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_disk_that_is_really_full_is_a_503_and_loses_nothing(make_node: MakeNode, faults: Path) -> None:
    node = _faulty(make_node, faults)
    patient = node.patient("biometric")
    assert patient.post_pose(batch(1)).status_code == 204
    fault = faults / "writev-enospc"
    fault.touch()
    for number in (2, 3):
        answer = patient.post_pose(batch(number))
        assert _code(answer) == (503, "disk_full")
        assert int(answer.headers["retry-after"]) > 0
    assert _code(patient.end()) == (503, "disk_full")
    fault.unlink()
    assert patient.post_pose(batch(3)).status_code == 204
    assert patient.bodies() == [batch(1), batch(3)]
    node.kill()
    node.start()
    assert patient.bodies() == [batch(1), batch(3)]
    assert patient.end().status_code == 202


def test_after_a_failed_sync_the_worker_never_acknowledges_again_and_is_replaced(
    make_node: MakeNode, faults: Path
) -> None:
    node = _faulty(make_node, faults, RESTARTIX_MAINTENANCE_INTERVAL_S="2")
    patient = node.patient("biometric")
    assert patient.post_pose(batch(1)).status_code == 204
    (failed,) = node.worker_pids()
    fault = faults / "fdatasync-eio"
    fault.touch()
    assert _code(patient.post_pose(batch(2))) == (503, "disk_failed")
    fault.unlink()  # the disk is well again; the log is not
    answers = [patient.post_pose(batch(3)) for _ in range(3)] if node.worker_pids() == [failed] else []
    if node.worker_pids() == [failed]:
        assert {_code(answer) for answer in answers} == {(503, "disk_failed")}
        assert _code(node.http.get("/healthz")) == (503, "disk_failed")

    def sent() -> bool:
        try:
            return patient.post_pose(batch(4)).status_code == 204
        except httpx.TransportError:
            return False

    assert eventually(sent, wait_s=30), node.log()
    assert failed not in node.worker_pids()
    assert "worker_gives_up" in node.log()
    assert not reader.has_unrecovered_log(node.data_dir)
    found = patient.bodies()
    assert found[0] == batch(1)
    assert found[-1] == batch(4)
    assert set(found) <= {batch(1), batch(2), batch(4)}  # what was refused as unknown may be there, once
