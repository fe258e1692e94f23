"""From the outbox to JetStream: what is due in PostgreSQL is handed to NATS, which then sees to its delivery.

The relay claims deliveries as a consumer of the PostgreSQL bus would, for a long lease, and publishes their ids.
Settled within the lease, they are done. If not, because NATS lost them or nobody came to a verdict, they are due and
published again: so nothing depends on NATS keeping anything. Each claim has a message id of its own: a publication that
is repeated because its acknowledgement was lost is stored once, and one made anew on purpose is not taken for it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from pipelines.adapters.nats.link import NatsLink
from pipelines.ports.bus import BusUnavailable, Consumer, Delivery, RetryPolicy

log = structlog.get_logger(__name__)

# So long a delivery is NATS's alone. Longer than any delay between two attempts and the lease that follows it.
RELAYED_S = 900
POLICY = RetryPolicy(lease_s=RELAYED_S, delay_base_s=1.0, delay_max_s=30.0, attempts_max=2**31 - 1)
_CLAIM_MAX = 100
_TRIES = 2  # of one publication
_AWAY_FIRST_S = 0.2
_AWAY_MAX_S = 10.0


class Message(msgspec.Struct, frozen=True):
    """What goes over the wire: ids, as in a ``Delivery``."""

    event_id: int
    organisation_id: int
    topic: str
    key: str


class Relay:
    """``source``: the consumer's own deliveries in PostgreSQL, under ``POLICY``; ``consumer``: its name."""

    def __init__(
        self,
        source: Consumer[Any],
        link: NatsLink,
        consumer: str,
        new_id: Callable[[], uuid.UUID],
        poll_s: float = 2.0,
    ) -> None:
        self._new_id = new_id
        self._source = source
        self._link = link
        self._consumer = consumer
        self._poll_s = poll_s

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set. While either store is away, tries again ever more slowly."""
        away_s = 0.0
        while not stop.is_set():
            try:
                if self.drain(stop) == 0:
                    self._source.wait(self._poll_s)
                away_s = 0.0
            except BusUnavailable as error:
                away_s = min(max(2 * away_s, _AWAY_FIRST_S), _AWAY_MAX_S)
                log.warning("bus_unavailable", error=str(error), retry_in_s=away_s)
                stop.wait(away_s)
        self._source.close()

    def drain(self, stop: threading.Event) -> int:
        """Publish what is due, and say how much. Raises ``BusUnavailable``; what was claimed in vain is due soon."""
        published = 0
        while not stop.is_set():
            self._link.ready()  # before claiming: a claim that cannot be published only costs a lease
            claimed = self._source.claim(_CLAIM_MAX)
            for place, delivery in enumerate(claimed):
                try:
                    self._publish(delivery)
                except BusUnavailable as error:
                    self._give_back(claimed[place:], str(error))
                    raise
                published += 1
            if len(claimed) < _CLAIM_MAX:
                break
        if published:
            log.info("relayed", published=published)
        return published

    def _publish(self, delivery: Delivery) -> None:
        body = msgspec.json.encode(Message(delivery.event_id, delivery.organisation_id, delivery.topic, delivery.key))
        message_id = str(self._new_id())
        for tries_left in reversed(range(_TRIES)):
            try:
                self._link.publish(self._consumer, delivery.topic, message_id, body)
                return
            except BusUnavailable:
                if tries_left == 0:
                    raise

    def _give_back(self, deliveries: list[Delivery], error: str) -> None:
        for delivery in deliveries:
            try:
                self._source.fail(delivery, error)
            except LookupError:
                log.info("event_gone", event_id=delivery.event_id, key=delivery.key)
