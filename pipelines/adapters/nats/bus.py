"""The bus over JetStream: NATS says what to look at and when again, PostgreSQL holds the event and what became of it.

``Transaction`` is a ``psycopg.Connection`` inside a transaction, as in the PostgreSQL adapter, whose rows these are: an
event is read under its organisation, ``settle`` marks its delivery in the caller's transaction, and a dead letter is
the same row that ``restartix dead-letters`` shows. Only after that transaction is known to have committed is the
message acknowledged; a process that dies between the two has it delivered again, which changes nothing.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Any

import msgspec
import psycopg
from nats.aio.msg import Msg
from psycopg_pool import ConnectionPool, PoolTimeout

from pipelines.adapters.nats.link import NatsLink
from pipelines.adapters.nats.relay import RELAYED_S, Message
from pipelines.adapters.postgres import sql
from pipelines.adapters.postgres.bus import Connection, PostgresConsumer
from pipelines.ports.bus import BusUnavailable, Delivery, DeliveryState, RetryPolicy

_SQL_PACKAGE = __package__
_CLAIM_WAIT_S = 0.05  # what is due is sent at once; so long an empty answer takes
_NEVER = 2**31 - 1


class NatsConsumer:
    """``pipelines.ports.bus.Consumer`` for the subscriber's role. ``link`` is shared and outlives it."""

    def __init__(
        self,
        link: NatsLink,
        pool: ConnectionPool[Connection],
        conninfo: str,
        consumer: str,
        policy: RetryPolicy | None = None,
    ) -> None:
        self._link = link
        self._pool = pool
        self._consumer = consumer
        self._policy = policy or RetryPolicy()
        self._rows = PostgresConsumer(pool, conninfo, consumer, self._policy)
        self._sql = sql.load(_SQL_PACKAGE, "bus.sql")
        self._fetched: deque[Msg] = deque()
        self._claimed: dict[int, Msg] = {}
        self._settled: dict[int, tuple[str, Msg]] = {}  # event -> the transaction that settles it

    def claim(self, max_events: int) -> list[Delivery]:
        self._acknowledge()
        missing = max_events - len(self._fetched)
        if missing > 0:
            self._fetched.extend(self._link.fetch(self._consumer, self._policy, missing, _CLAIM_WAIT_S))
        deliveries: list[Delivery] = []
        while self._fetched and len(deliveries) < max_events:
            delivery = self._claim(self._fetched.popleft())
            if delivery is not None:
                deliveries.append(delivery)
        return deliveries

    def read(self, transaction: Connection, delivery: Delivery) -> bytes:
        return self._rows.read(transaction, delivery)

    def settle(self, transaction: Connection, delivery: Delivery) -> None:
        self._rows.settle(transaction, delivery)
        row = transaction.execute(self._sql["current_transaction"]).fetchone()
        message = self._claimed.pop(delivery.event_id, None)
        if row is not None and message is not None:
            self._settled[delivery.event_id] = (str(row[0]), message)

    def fail(self, delivery: Delivery, error: str) -> DeliveryState:
        message = self._claimed.pop(delivery.event_id, None)
        _, settled = self._settled.pop(delivery.event_id, (None, None))
        message = message or settled
        is_last = delivery.attempts >= self._policy.attempts_max
        try:
            state = self._rows.give_back(
                delivery,
                f"{error} (delivered {delivery.attempts} times)" if is_last else error,
                # Redelivery is NATS's; the relay comes in where that fails.
                delay_s=RELAYED_S,
                attempts_max=1 if is_last else _NEVER,
            )
        except LookupError:
            if message is not None:
                self._link.drop(message)
            raise
        if message is not None:
            if state == "dead":
                self._link.drop(message)
            else:
                self._link.again(message, self._policy.delay_s(delivery.attempts))
        return state

    def wait(self, timeout_s: float) -> bool:
        if not self._fetched:
            self._fetched.extend(self._link.fetch(self._consumer, self._policy, 1, timeout_s))
        return bool(self._fetched)

    def close(self) -> None:
        """What was settled last is acknowledged if it can be; else it is delivered again and found settled."""
        try:
            self._acknowledge()
        except BusUnavailable:
            return

    def _claim(self, message: Msg) -> Delivery | None:
        """None for one that nobody lived to give back, as often as it may be tried: it is set aside."""
        content = msgspec.json.decode(message.data, type=Message)
        attempts = message.metadata.num_delivered
        delivery = Delivery(content.event_id, content.organisation_id, content.topic, content.key, attempts)
        self._claimed[delivery.event_id] = message
        if attempts <= self._policy.attempts_max:
            return delivery
        with contextlib.suppress(LookupError):  # the event is gone
            self.fail(delivery, "no attempt came to an end")
        return None

    def _acknowledge(self) -> None:
        """Tell NATS what PostgreSQL has committed. Raises ``BusUnavailable``."""
        if not self._settled:
            return
        try:
            with self._pool.connection() as connection:
                rows: list[tuple[Any, ...]] = connection.execute(
                    self._sql["transaction_states"], {"transactions": [one for one, _ in self._settled.values()]}
                ).fetchall()
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise BusUnavailable(str(error)) from error
        states = dict(rows)
        for event_id, (transaction, message) in list(self._settled.items()):
            if states[transaction] == "in progress":
                continue
            if states[transaction] == "committed":
                self._link.acknowledge(message)
            # Aborted: its lease runs out, and it is delivered again.
            del self._settled[event_id]
