"""Portals for the proofs: each sends one batch after the other, and sends each until it is acknowledged."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.ingest.node import Patient, batch

ATTEMPTS_MAX = 400
_RETRY_S = 0.05


class Portal(threading.Thread):
    """One patient's browser over one connection at a time.

    ``acknowledged``: bodies in the order of their 204s; ``refused``: answers other than 204, by (status, code);
    ``broken``: requests that ended without an answer; ``given_up``: bodies never acknowledged in ``ATTEMPTS_MAX``;
    ``attempts_max``: the most that one batch needed.
    """

    def __init__(self, patient: Patient, number: int, pace_s: float) -> None:
        super().__init__(name=f"portal {number}", daemon=True)
        self.patient = patient
        self.acknowledged: list[bytes] = []
        self.refused: Counter[tuple[int, str]] = Counter()
        self.broken = 0
        self.given_up: list[bytes] = []
        self.attempts_max = 0
        self.sent: set[bytes] = set()
        self._number = number
        self._pace_s = pace_s
        self._stopping = threading.Event()
        self._connection: http.client.HTTPConnection | None = None

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        place = 0
        while not self._stopping.is_set():
            body = batch(10_000 * self._number + place % 10_000, frame_count=1 + place % 12)
            self.sent.add(body)
            for attempt in range(1, ATTEMPTS_MAX + 1):
                self.attempts_max = max(self.attempts_max, attempt)
                if self._post(body):
                    self.acknowledged.append(body)
                    break
                time.sleep(_RETRY_S)
            else:
                self.given_up.append(body)
            place += 1
            self._stopping.wait(self._pace_s)
        if self._connection is not None:
            self._connection.close()

    def _post(self, body: bytes) -> bool:
        headers = {**self.patient.headers, "Content-Type": "application/octet-stream"}
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self.patient.node.port, timeout=20)
            self._connection.request("POST", "/v1/pose/frames", body, headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self.broken += 1
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            return False
        if answer.status == 204:
            return True
        self.refused[answer.status, json.loads(content)["code"]] += 1
        return False


@contextmanager
def portals(patients: Sequence[Patient], count: int, pace_s: float) -> Iterator[list[Portal]]:
    """``count`` running portals, shared out over the patients; all have stopped when the block is left."""
    running = [Portal(patients[place % len(patients)], 1 + place, pace_s) for place in range(count)]
    for portal in running:
        portal.start()
    try:
        yield running
    finally:
        for portal in running:
            portal.stop()
        for portal in running:
            portal.join(60)


def landed(running: Sequence[Portal]) -> tuple[int, int]:
    """How many batches were acknowledged, and how many of those are not on disk byte for byte. Nothing is there that
    nobody sent.
    """
    by_session: dict[object, list[Portal]] = {}
    for portal in running:
        by_session.setdefault(portal.patient.session_id, []).append(portal)
    lost = 0
    for group in by_session.values():
        found = set(group[0].patient.bodies())
        lost += len({body for portal in group for body in portal.acknowledged} - found)
        assert found <= {body for portal in group for body in portal.sent}
    return sum(len(portal.acknowledged) for portal in running), lost


def assert_all_landed(running: Sequence[Portal]) -> int:
    """As ``landed``; how many were acknowledged."""
    acknowledged, lost = landed(running)
    assert lost == 0, f"{lost} acknowledged batches are lost"
    return acknowledged
