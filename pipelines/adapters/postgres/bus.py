"""The bus in Postgres: an outbox row committed with the state it announces, woken by LISTEN/NOTIFY.

``Transaction`` is a ``psycopg.Connection`` inside a transaction. See ``pipelines.ports.bus`` for what is promised.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from pipelines.adapters.postgres import sql
from pipelines.ports.bus import BusUnavailable, Delivery, DeliveryState, RetryPolicy

Connection = psycopg.Connection[Any]

_SQL_PACKAGE = __package__


class PostgresPublisher:
    """``pipelines.ports.bus.Publisher`` for the finaliser's role; the tenant is the caller's transaction's."""

    def publish(self, transaction: Connection, *, topic: str, key: str, organisation_id: int, payload: bytes) -> bool:
        row = transaction.execute(
            sql.load(_SQL_PACKAGE, "bus.sql")["publish"],
            {"topic": topic, "key": key, "organisation_id": organisation_id, "payload": payload.decode()},
        ).fetchone()
        return row is not None


class PostgresConsumer:
    """``pipelines.ports.bus.Consumer`` for the subscriber's role.

    ``pool`` serves ``claim`` and ``fail`` (each commits at once); ``conninfo`` opens the one connection that listens.
    """

    def __init__(
        self, pool: ConnectionPool[Connection], conninfo: str, consumer: str, policy: RetryPolicy | None = None
    ) -> None:
        self._pool = pool
        self._conninfo = conninfo
        self._consumer = consumer
        self._policy = policy or RetryPolicy()
        self._listening: Connection | None = None
        self._sql = sql.load(_SQL_PACKAGE, "bus.sql")

    def claim(self, max_events: int) -> list[Delivery]:
        values = {"consumer": self._consumer, "max_events": max_events, "lease_s": self._policy.lease_s}
        try:
            with self._pool.connection() as connection:
                rows = connection.execute(self._sql["claim"], values).fetchall()
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise BusUnavailable(str(error)) from error
        return [Delivery(*row) for row in rows]

    def read(self, transaction: Connection, delivery: Delivery) -> bytes:
        transaction.execute(self._sql["set_tenant"], {"organisation_id": delivery.organisation_id})
        row = transaction.execute(self._sql["read"], {"event_id": delivery.event_id}).fetchone()
        if row is None:
            raise LookupError(f"event {delivery.event_id} ({delivery.topic}, {delivery.key}) is gone")
        return str(row[0]).encode()

    def settle(self, transaction: Connection, delivery: Delivery) -> None:
        transaction.execute(self._sql["settle"], {"consumer": self._consumer, "event_id": delivery.event_id})

    def fail(self, delivery: Delivery, error: str) -> DeliveryState:
        delay_s = self._policy.delay_s(delivery.attempts)
        return self.give_back(delivery, error, delay_s=delay_s, attempts_max=self._policy.attempts_max)

    def give_back(self, delivery: Delivery, error: str, *, delay_s: float, attempts_max: int) -> DeliveryState:
        """Due again after ``delay_s``, or dead where the row counts ``attempts_max`` claims. As ``fail`` otherwise."""
        values = {
            "consumer": self._consumer,
            "event_id": delivery.event_id,
            "error": error,
            "delay_s": delay_s,
            "attempts_max": attempts_max,
        }
        try:
            with self._pool.connection() as connection:
                row = connection.execute(self._sql["fail"], values).fetchone()
        except (psycopg.OperationalError, PoolTimeout) as failure:
            raise BusUnavailable(str(failure)) from failure
        if row is None or row[0] is None:
            raise LookupError(f"no delivery of event {delivery.event_id} to {self._consumer}")
        state: DeliveryState = row[0]
        return state

    def wait(self, timeout_s: float) -> bool:
        try:
            if self._listening is None:
                self._listening = psycopg.connect(self._conninfo, autocommit=True)
                self._listening.execute(self._sql["listen"])
                return True  # published before we listened: only a claim can tell
            return next(self._listening.notifies(timeout=timeout_s, stop_after=1), None) is not None
        except psycopg.OperationalError as error:
            self.close()
            raise BusUnavailable(str(error)) from error

    def close(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
