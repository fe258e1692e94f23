"""How soon a withdrawal is felt: from its commit to the first refusal at the service."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence

import psycopg

from infra.bench.contestants import ContestantFailedError, Running
from infra.bench.workload import Clinic, OpenSession
from infra.stack.loopback import HOST

_PAUSE_S = 0.002  # between two batches of the observed session
_WAIT_S = 10.0


class _Observed(threading.Thread):
    """A session that keeps sending one batch until it is refused for its consent."""

    def __init__(self, port: int, token: str, body: bytes) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection(HOST, port, timeout=_WAIT_S)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
        self._body = body
        self.accepted = threading.Event()
        self.refused_s: float | None = None
        self.unexpected: str | None = None

    def run(self) -> None:
        deadline_s = time.monotonic() + 2 * _WAIT_S
        try:
            while self.refused_s is None and self.unexpected is None and time.monotonic() < deadline_s:
                self._connection.request("POST", "/v1/pose/frames", self._body, self._headers)
                answer = self._connection.getresponse()
                content = answer.read()
                if answer.status == 403 and b"consent_withdrawn" in content:
                    self.refused_s = time.monotonic()
                elif answer.status == 204:
                    self.accepted.set()
                    time.sleep(_PAUSE_S)
                else:
                    self.unexpected = f"{answer.status} {content!r}"
        except OSError as error:
            self.unexpected = repr(error)
        finally:
            self._connection.close()


def withdrawal_times_ms(clinic: Clinic, running: Running, sessions: Sequence[OpenSession], body: bytes) -> list[float]:
    """For each session: from the moment the withdrawal's COMMIT had returned to the arrival of the first 403.

    The session sends all the while, so a time contains at most one acknowledgement and one pause besides the way of the
    news. A refusal that arrives before COMMIT returns counts as 0. Raises `ContestantFailedError`.
    """
    times_ms = []
    with psycopg.connect(clinic.database.admin_url) as connection:
        for session in sessions:
            observed = _Observed(running.port, session.token, body)
            observed.start()
            if not observed.accepted.wait(_WAIT_S):
                raise ContestantFailedError(f"a consenting session was not accepted: {observed.unexpected}")
            withdrawn_s = clinic.withdraw(connection, session)
            observed.join(2 * _WAIT_S)
            if observed.refused_s is None:
                raise ContestantFailedError(f"a withdrawn session was not refused: {observed.unexpected}")
            times_ms.append(max(0.0, observed.refused_s - withdrawn_s) * 1000)
    return times_ms
