"""The bus in memory. ``Transaction`` is a ``MemoryTransaction``: what it publishes and settles happens at commit."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipelines.ports.bus import Delivery, DeliveryState, RetryPolicy


@dataclass(slots=True)
class _Event:
    event_id: int
    topic: str
    key: str
    organisation_id: int
    payload: bytes


@dataclass(slots=True)
class _DeliveryRow:
    state: DeliveryState = "pending"
    attempts: int = 0
    next_attempt_at_s: float = 0.0
    last_error: str | None = None


@dataclass(slots=True)
class MemoryTransaction:
    """Collects effects; ``MemoryBus.transaction`` applies them on a clean exit and drops them on an exception."""

    effects: list[Callable[[], None]] = field(default_factory=list)
    published: set[tuple[str, str]] = field(default_factory=set)


class MemoryBus:
    """Publisher and store. ``now_s`` is a monotonic clock in seconds; ``consumers`` maps a name to its topic."""

    def __init__(self, consumers: dict[str, str], now_s: Callable[[], float]) -> None:
        self._consumers = consumers
        self._now_s = now_s
        self._events: list[_Event] = []
        self._deliveries: dict[tuple[str, int], _DeliveryRow] = {}
        self._changed = threading.Condition()
        self._sequence = 0

    @contextlib.contextmanager
    def transaction(self) -> Iterator[MemoryTransaction]:
        transaction = MemoryTransaction()
        yield transaction
        with self._changed:
            for effect in transaction.effects:
                effect()

    def publish(
        self, transaction: MemoryTransaction, *, topic: str, key: str, organisation_id: int, payload: bytes
    ) -> bool:
        known = any((event.topic, event.key) == (topic, key) for event in self._events)
        if known or (topic, key) in transaction.published:
            return False
        transaction.published.add((topic, key))
        event = _Event(len(self._events) + 1, topic, key, organisation_id, payload)

        def commit() -> None:
            event.event_id = len(self._events) + 1
            self._events.append(event)
            for consumer, consumed_topic in self._consumers.items():
                if consumed_topic == topic:
                    self._deliveries[consumer, event.event_id] = _DeliveryRow(next_attempt_at_s=self._now_s())
            self._sequence += 1
            self._changed.notify_all()

        transaction.effects.append(commit)
        return True

    def consumer(self, name: str, policy: RetryPolicy | None = None) -> MemoryConsumer:
        return MemoryConsumer(self, name, policy or RetryPolicy())

    def _due(self, consumer: str, max_events: int, lease_s: float) -> list[Delivery]:
        with self._changed:
            now_s = self._now_s()
            claimed = []
            for event in self._events:
                row = self._deliveries.get((consumer, event.event_id))
                if row is None or row.state != "pending" or row.next_attempt_at_s > now_s:
                    continue
                row.attempts += 1
                row.next_attempt_at_s = now_s + lease_s
                claimed.append(Delivery(event.event_id, event.organisation_id, event.topic, event.key, row.attempts))
                if len(claimed) >= max_events:
                    break
            return claimed

    def _payload(self, delivery: Delivery) -> bytes:
        for event in self._events:
            if event.event_id == delivery.event_id and event.organisation_id == delivery.organisation_id:
                return event.payload
        raise LookupError(f"event {delivery.event_id} ({delivery.topic}, {delivery.key}) is gone")

    def _row(self, consumer: str, event_id: int) -> _DeliveryRow:
        try:
            return self._deliveries[consumer, event_id]
        except KeyError:
            raise LookupError(f"no delivery of event {event_id} to {consumer}") from None


class MemoryConsumer:
    """``pipelines.ports.bus.Consumer`` over a ``MemoryBus``."""

    def __init__(self, bus: MemoryBus, name: str, policy: RetryPolicy) -> None:
        self._bus = bus
        self._name = name
        self._policy = policy
        self._seen_sequence = -1

    def claim(self, max_events: int) -> list[Delivery]:
        return self._bus._due(self._name, max_events, self._policy.lease_s)

    def read(self, transaction: MemoryTransaction, delivery: Delivery) -> bytes:
        del transaction  # memory has no tenants to set
        return self._bus._payload(delivery)

    def settle(self, transaction: MemoryTransaction, delivery: Delivery) -> None:
        def commit() -> None:
            row = self._bus._row(self._name, delivery.event_id)
            row.state, row.last_error = "done", None

        transaction.effects.append(commit)

    def fail(self, delivery: Delivery, error: str) -> DeliveryState:
        row = self._bus._row(self._name, delivery.event_id)
        dead = row.attempts >= self._policy.attempts_max
        row.state = "dead" if dead else "pending"
        row.next_attempt_at_s = self._bus._now_s() + self._policy.delay_s(delivery.attempts)
        row.last_error = error
        return row.state

    def wait(self, timeout_s: float) -> bool:
        with self._bus._changed:
            changed = self._bus._changed.wait_for(lambda: self._bus._sequence != self._seen_sequence, timeout_s)
            self._seen_sequence = self._bus._sequence
            return changed

    def close(self) -> None:
        return
