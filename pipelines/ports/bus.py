"""The event bus: how one process's result reaches another's transaction. What an adapter promises; no implementation.

* **Atomic with the state it announces.** ``publish`` joins the caller's transaction: the event exists exactly if that
  transaction commits. An adapter to a remote broker relays from the committed row.
* **Once a (topic, key).** Publishing a key again does nothing and returns False.
* **At least once.** A claimed delivery that is neither settled nor failed before its lease ends is delivered again, so
  a consumer must tolerate repetition. ``settle`` joins the transaction that did the work: done means done.
* **Order.** Deliveries are claimed in the order of publication, but retries and several workers break it: whoever
  needs order compares revisions.
* **Bounded.** A delivery that failed ``RetryPolicy.attempts_max`` times becomes a dead letter and is kept for people.
* **Tenancy.** A ``Delivery`` carries ids only; the payload is read under the organisation it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeVar

Transaction_contra = TypeVar("Transaction_contra", contravariant=True)

DeliveryState = Literal["pending", "done", "dead"]


class BusUnavailable(Exception):  # noqa: N818 - a state of the store, not a mistake of the caller
    """The store behind the bus cannot be reached now. Nothing was claimed or changed; try again later."""


class Delivery(NamedTuple):
    """One event on its way to one consumer. ``attempts`` counts claims, this one included."""

    event_id: int
    organisation_id: int
    topic: str
    key: str
    attempts: int


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds of redelivery: exponential from ``delay_base_s`` to ``delay_max_s``, dead after ``attempts_max``."""

    lease_s: int = 60
    delay_base_s: float = 1.0
    delay_max_s: float = 300.0
    attempts_max: int = 12

    def delay_s(self, attempts: int) -> float:
        """Seconds until the next attempt after ``attempts`` have failed."""
        return float(min(self.delay_max_s, self.delay_base_s * 2.0 ** min(max(attempts, 1) - 1, 30)))


class Publisher(Protocol[Transaction_contra]):
    """The sending side."""

    def publish(
        self, transaction: Transaction_contra, *, topic: str, key: str, organisation_id: int, payload: bytes
    ) -> bool:
        """Add an event to ``transaction``; False where (topic, key) is already published. ``payload`` is JSON."""
        ...


class Consumer(Protocol[Transaction_contra]):
    """The receiving side, one a consumer name. One instance serves one thread."""

    def claim(self, max_events: int) -> list[Delivery]:
        """Take up to ``max_events`` due deliveries for the policy's lease. Raises ``BusUnavailable``."""
        ...

    def read(self, transaction: Transaction_contra, delivery: Delivery) -> bytes:
        """The payload, as JSON. Sets the tenant of ``transaction`` to the delivery's organisation first.

        Raises ``LookupError`` where the event is gone (retention or erasure removed it).
        """
        ...

    def settle(self, transaction: Transaction_contra, delivery: Delivery) -> None:
        """Mark as done when ``transaction`` commits."""
        ...

    def fail(self, delivery: Delivery, error: str) -> DeliveryState:
        """Give the delivery back after a failure: due again later, or ``"dead"``. Raises ``BusUnavailable``."""
        ...

    def wait(self, timeout_s: float) -> bool:
        """Sleep until something may be claimable; False when ``timeout_s`` passed without a sign.

        A sign may be false and may be missed across a reconnect, so always claim after waiting.
        """
        ...

    def close(self) -> None:
        """Release what ``wait`` holds. The instance is not used afterwards."""
        ...
