"""The loop around the bus: claim, apply and settle in one transaction, give back what failed, sleep until woken.

Every wait and retry is bounded; stopping finishes what was claimed. Knows the bus port only, not its adapter.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from core_api.subscriber.apply import ResultRefused
from core_api.subscriber.meter import SubscriberMeter
from pipelines.finalise.payload import SessionFinalised, decode
from pipelines.ports.bus import BusUnavailable, Consumer, Delivery

log = structlog.get_logger(__name__)

CONSUMER = "core_api.subscriber"
_AWAY_FIRST_S = 0.2
_AWAY_MAX_S = 10.0

Transaction = TypeVar("Transaction")


class Runner(Generic[Transaction]):
    """One thread's loop. ``transaction`` opens one; ``apply`` says whether it changed anything; ``meter`` counts."""

    def __init__(
        self,
        consumer: Consumer[Transaction],
        transaction: Callable[[], AbstractContextManager[Transaction]],
        apply: Callable[[Transaction, SessionFinalised], bool],
        *,
        claim_max: int,
        poll_s: float,
        meter: SubscriberMeter,
    ) -> None:
        self._consumer = consumer
        self._transaction = transaction
        self._apply = apply
        self._claim_max = claim_max
        self._poll_s = poll_s
        self._meter = meter

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set. While the bus is away, tries again ever more slowly."""
        away_s = 0.0
        while not stop.is_set():
            try:
                if self.drain(stop) == 0:
                    self._consumer.wait(self._poll_s)
                away_s = 0.0
            except BusUnavailable as error:
                self._meter.away()
                away_s = min(max(2 * away_s, _AWAY_FIRST_S), _AWAY_MAX_S)
                log.warning("bus_unavailable", error=str(error), retry_in_s=away_s)
                stop.wait(away_s)
        self._consumer.close()

    def drain(self, stop: threading.Event) -> int:
        """Handle what is due now, and say how much that was. Raises ``BusUnavailable``."""
        handled = 0
        while not stop.is_set():
            deliveries = self._consumer.claim(self._claim_max)
            self._meter.looked()
            for delivery in deliveries:
                self.handle(delivery)
            handled += len(deliveries)
            if len(deliveries) < self._claim_max:
                break
        return handled

    def handle(self, delivery: Delivery) -> None:
        """Apply one delivery, or give it back with what went wrong. Raises ``BusUnavailable``."""
        about = {"event_id": delivery.event_id, "key": delivery.key, "attempt": delivery.attempts}
        try:
            with self._transaction() as transaction:
                result = decode(self._consumer.read(transaction, delivery))
                applied = self._apply(transaction, result)
                self._consumer.settle(transaction, delivery)
        except Exception as error:
            # Whatever it is, the event must not be lost nor block those behind it: it comes back, and in the end it is
            # a dead letter for people to look at.
            self._give_back(delivery, error, about)
            return
        if applied:
            self._meter.applied(result.finalised_at)
        else:
            self._meter.count("not_newer")
        log.info("result_applied" if applied else "result_not_newer", **about)

    def _give_back(self, delivery: Delivery, error: Exception, about: dict[str, object]) -> None:
        blame = describe(error)
        try:
            state = self._consumer.fail(delivery, blame)
        except LookupError:
            log.info("event_gone", **about)
            return
        self._meter.count("dead" if state == "dead" else "failed")
        if state == "dead":
            log.error("dead_letter", error=blame, **about)
        else:
            log.warning("result_failed", error=blame, **about)


def describe(error: Exception) -> str:
    """The kind of error and where it was raised. Its text only where it is our own: another's may quote a value, and a
    value may be a patient's.
    """
    frames = [each for each in traceback.extract_tb(error.__traceback__) if "site-packages" not in each.filename]
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    text = f": {error}" if isinstance(error, ResultRefused) else ""
    return f"{type(error).__name__}{where}{text}"
