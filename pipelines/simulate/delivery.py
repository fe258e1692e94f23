"""Getting one request through: bounded retries, waiting as told or for a random while, and the account of it all.

Belongs here: what a patient's browser does about one request. Does not belong here: which requests (``player.py``).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import httpx

from pipelines.simulate.portal import problem

RETRIED: Final = frozenset({429, 502, 503, 504})
BACKOFF_BASE_S: Final = 0.25
BACKOFF_MAX_S: Final = 15.0
RETRY_AFTER_MAX_S: Final = 60.0
WITHDRAWN: Final = frozenset({"consent_withdrawn", "consent_missing"})


@dataclass(slots=True)
class PlayReport:
    """What one played session sent and what became of it, as the patient's side knows it."""

    session_id: UUID
    batches: int = 0  # distinct pose batches sent at least once
    sent: int = 0  # posts of pose batches: repeats on purpose and refused ones too, automatic retries not
    acknowledged: int = 0  # posts of pose batches answered 204, repeats too
    duplicates: int = 0  # of these, for bytes acknowledged before
    last_acknowledged_ms: int | None = None  # the greatest frame time acknowledged
    refused_after_withdrawal: int = 0  # posts of either stream answered consent_withdrawn or consent_missing
    rejected: Counter[str] = field(default_factory=Counter)  # code -> posts, of either stream or the end
    media_events_sent: int = 0
    media_events_acknowledged: int = 0
    retries: int = 0  # requests repeated after 429, 5xx or a lost connection
    given_up: int = 0  # requests that had no answer after all retries
    end_state: str | None = None  # what the service answered to the end; None where none was sent
    bytes_sent: int = 0
    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)  # acknowledged pose batches, each its last attempt

    def latency_ms(self, share: float) -> float | None:
        """The latency that ``share`` of the acknowledged batches did not exceed."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

    def as_dict(self) -> dict[str, object]:
        """For JSON: every figure, latencies as quantiles."""
        names = [name for name in self.__dataclass_fields__ if name != "latencies_ms"]
        figures: dict[str, object] = {name: getattr(self, name) for name in names}
        figures |= {"session_id": str(self.session_id), "rejected": dict(self.rejected)}
        figures |= {"latency_p50_ms": self.latency_ms(0.5), "latency_p99_ms": self.latency_ms(0.99)}
        return figures


@dataclass(frozen=True, slots=True)
class Outcome:
    """``status`` None: no answer at all. ``code`` None: success."""

    status: int | None
    code: str | None
    answer: httpx.Response | None
    latency_ms: float


@dataclass(slots=True)
class Delivery:
    """One session's requests to the ingest service. Time, waiting and chance come from outside."""

    client: httpx.Client
    token: str = field(repr=False)
    report: PlayReport
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    rng: random.Random
    max_retries: int = 8

    def post(self, url: str, body: bytes, content_type: str, headers: dict[str, str] | None = None) -> Outcome:
        """Send until it is answered for good, at most ``max_retries`` times over. Counts nothing but retries."""
        told = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type, **(headers or {})}
        outcome = Outcome(None, "unreachable", None, 0.0)
        for attempt in range(self.max_retries + 1):
            began = self.clock()
            self.report.bytes_sent += len(body)
            try:
                response = self.client.post(url, content=body, headers=told)
            except httpx.TransportError as error:
                outcome = Outcome(None, type(error).__name__, None, 0.0)
                wait_s = None
            else:
                code = None if response.is_success else problem(response).code
                outcome = Outcome(response.status_code, code, response, 1000 * (self.clock() - began))
                if response.status_code not in RETRIED:
                    return outcome
                wait_s = _retry_after_s(response)
            if attempt < self.max_retries:
                self.report.retries += 1
                self.sleep(self._backoff_s(attempt) if wait_s is None else wait_s + self._backoff_s(0))
        self.report.given_up += 1
        return outcome

    def _backoff_s(self, attempt: int) -> float:
        """Jittered, so that patients cut off together do not come back together."""
        longest_s: float = min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2**attempt)
        return self.rng.uniform(0.5, 1.0) * longest_s


def _retry_after_s(response: httpx.Response) -> float | None:
    told: str = response.headers.get("Retry-After", "")
    return min(float(told), RETRY_AFTER_MAX_S) if told.isdecimal() else None
