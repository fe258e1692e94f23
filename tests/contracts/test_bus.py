"""The bus port's promises, over every adapter."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from infra.stack.throwaway import Database
from pipelines.adapters.memory.bus import MemoryBus
from pipelines.adapters.nats.bus import NatsConsumer
from pipelines.adapters.nats.link import NatsLink
from pipelines.adapters.nats.relay import POLICY as RELAY_POLICY
from pipelines.adapters.nats.relay import Relay
from pipelines.adapters.nats.settings import NatsSettings
from pipelines.adapters.postgres.bus import PostgresConsumer, PostgresPublisher
from pipelines.ports.bus import BusUnavailable, Consumer, Publisher, RetryPolicy
from tests.contracts.nats_server import NatsServer

TOPIC = "session.finalised"
NAME = "core_api.subscriber"
POLICY = RetryPolicy(lease_s=30, delay_base_s=2.0, delay_max_s=10.0, attempts_max=3)


class Harness(Protocol):
    """What a contract test needs from an adapter: both ends, their transactions, and time that can be moved."""

    @property
    def publisher(self) -> Publisher[Any]: ...

    def sending(self, organisation_id: int) -> AbstractContextManager[Any]: ...
    def receiving(self) -> AbstractContextManager[Any]: ...
    def consumer(self) -> Consumer[Any]: ...
    def advance(self, seconds: float) -> None: ...


class MemoryHarness:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.bus = MemoryBus({NAME: TOPIC}, lambda: self.now_s)
        self.publisher: Publisher[Any] = self.bus

    def sending(self, organisation_id: int) -> AbstractContextManager[Any]:
        del organisation_id
        return self.bus.transaction()

    def receiving(self) -> AbstractContextManager[Any]:
        return self.bus.transaction()

    def consumer(self) -> Consumer[Any]:
        return self.bus.consumer(NAME, POLICY)

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class PostgresHarness:
    publisher: Publisher[Any] = PostgresPublisher()

    def __init__(self, database: Database, stack: contextlib.ExitStack) -> None:
        self.database = database
        self.stack = stack
        self.pool = stack.enter_context(
            ConnectionPool(database.url("subscriber"), min_size=1, max_size=4, open=True, timeout=5)
        )
        with psycopg.connect(database.admin_url) as admin:
            admin.execute("insert into core.organisations (id, name) values (1, 'one'), (2, 'two')")

    @contextlib.contextmanager
    def sending(self, organisation_id: int) -> Iterator[Any]:
        with psycopg.connect(self.database.url("finaliser")) as connection:
            connection.execute("select set_config('app.org_id', %s, true)", [str(organisation_id)])
            yield connection

    @contextlib.contextmanager
    def receiving(self) -> Iterator[Any]:
        with self.pool.connection() as connection:
            yield connection

    def consumer(self) -> Consumer[Any]:
        consumer = PostgresConsumer(self.pool, self.database.url("subscriber"), NAME, POLICY)
        self.stack.callback(consumer.close)
        return consumer

    def advance(self, seconds: float) -> None:
        with psycopg.connect(self.database.admin_url) as admin:
            admin.execute(
                "update bus.deliveries set next_attempt_at = next_attempt_at - make_interval(secs => %s)", [seconds]
            )


class NatsHarness(PostgresHarness):
    """The outbox in PostgreSQL, relayed as soon as it is written. The server's clock cannot be moved, so time passes,
    at half the length: no lease or delay of ``SHORT`` outlasts ``LONGEST_S``.
    """

    SCALE = 0.5
    LONGEST_S = 3.0
    SHORT = RetryPolicy(lease_s=2, delay_base_s=POLICY.delay_base_s * SCALE, delay_max_s=2.5, attempts_max=3)

    def __init__(self, database: Database, server: NatsServer, stack: contextlib.ExitStack) -> None:
        super().__init__(database, stack)
        server.empty()
        self.link = NatsLink(NatsSettings((server.url,)), "contract")
        stack.callback(self.link.close)
        source = PostgresConsumer(self.pool, database.url("subscriber"), NAME, RELAY_POLICY)
        stack.callback(source.close)
        self.relay = Relay(source, self.link, NAME, uuid.uuid4)

    @contextlib.contextmanager
    def sending(self, organisation_id: int) -> Iterator[Any]:
        with super().sending(organisation_id) as transaction:
            yield transaction
        self.relay.drain(threading.Event())

    def consumer(self) -> Consumer[Any]:
        consumer = NatsConsumer(self.link, self.pool, self.database.url("subscriber"), NAME, self.SHORT)
        self.stack.callback(consumer.close)
        return consumer

    def advance(self, seconds: float) -> None:
        time.sleep(min(seconds * self.SCALE, self.LONGEST_S))


@pytest.fixture(params=["memory", "postgres", "nats"])
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    if request.param == "memory":
        yield MemoryHarness()
        return
    with contextlib.ExitStack() as stack:
        database = request.getfixturevalue("database")
        if request.param == "postgres":
            yield PostgresHarness(database, stack)
        else:
            yield NatsHarness(database, request.getfixturevalue("nats_server"), stack)


def _publish(harness: Harness, key: str, organisation_id: int = 1, payload: bytes = b'{"a": 1.25}') -> bool:
    with harness.sending(organisation_id) as transaction:
        return harness.publisher.publish(
            transaction, topic=TOPIC, key=key, organisation_id=organisation_id, payload=payload
        )


def test_a_published_event_is_claimed_read_and_settled_once(harness: Harness) -> None:
    consumer = harness.consumer()
    assert _publish(harness, "k:1")
    [delivery] = consumer.claim(10)
    assert (delivery.organisation_id, delivery.topic, delivery.key, delivery.attempts) == (1, TOPIC, "k:1", 1)
    with harness.receiving() as transaction:
        assert json.loads(consumer.read(transaction, delivery)) == {"a": 1.25}
        consumer.settle(transaction, delivery)
    harness.advance(1000)
    assert consumer.claim(10) == []


def test_a_key_is_published_once(harness: Harness) -> None:
    assert _publish(harness, "k:1", payload=b'{"first": true}')
    assert not _publish(harness, "k:1", payload=b'{"first": false}')
    consumer = harness.consumer()
    [delivery] = consumer.claim(10)
    with harness.receiving() as transaction:
        assert json.loads(consumer.read(transaction, delivery)) == {"first": True}


def test_an_event_exists_exactly_if_its_transaction_commits(harness: Harness) -> None:
    def crash() -> None:
        with harness.sending(1) as transaction:
            assert harness.publisher.publish(transaction, topic=TOPIC, key="k:1", organisation_id=1, payload=b"{}")
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        crash()
    assert harness.consumer().claim(10) == []
    assert _publish(harness, "k:1")
    assert len(harness.consumer().claim(10)) == 1


def test_done_means_the_work_committed(harness: Harness) -> None:
    consumer = harness.consumer()
    _publish(harness, "k:1")
    [delivery] = consumer.claim(10)

    def crash() -> None:
        with harness.receiving() as transaction:
            consumer.settle(transaction, delivery)
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        crash()
    assert consumer.claim(10) == []  # leased
    harness.advance(POLICY.lease_s)
    [again] = consumer.claim(10)
    assert again._replace(attempts=1) == delivery
    assert again.attempts == 2


def test_two_consumers_of_one_name_share_the_deliveries(harness: Harness) -> None:
    for number in range(5):
        _publish(harness, f"k:{number}")
    first, second = harness.consumer(), harness.consumer()
    one, other = first.claim(3), second.claim(10)
    assert [delivery.key for delivery in one] == ["k:0", "k:1", "k:2"]
    assert [delivery.key for delivery in other] == ["k:3", "k:4"]


def test_a_failed_delivery_waits_longer_each_time_and_then_is_a_dead_letter(harness: Harness) -> None:
    consumer = harness.consumer()
    _publish(harness, "k:1")
    states = []
    for delay_s in (2.0, 4.0, None):
        [delivery] = consumer.claim(10)
        states.append(consumer.fail(delivery, "no such table\x00"[:13]))
        if delay_s is not None:
            harness.advance(delay_s - 1)
            assert consumer.claim(10) == []
            harness.advance(1)
    assert states == ["pending", "pending", "dead"]
    harness.advance(10_000)
    assert consumer.claim(10) == []


def test_waiting_ends_with_a_publication_and_with_the_time(harness: Harness) -> None:
    consumer = harness.consumer()
    while consumer.wait(0.0):
        pass
    assert not consumer.wait(0.01)
    later = threading.Timer(0.1, lambda: _publish(harness, "k:1"))
    later.start()
    assert consumer.wait(10)
    later.join()
    assert len(consumer.claim(10)) == 1


def test_an_event_that_is_gone_is_a_lookup_error(harness: Harness) -> None:
    consumer = harness.consumer()
    _publish(harness, "k:1")
    [delivery] = consumer.claim(10)
    stranger = delivery._replace(organisation_id=2)
    with harness.receiving() as transaction, pytest.raises(LookupError):
        consumer.read(transaction, stranger)


def test_an_unreachable_store_is_unavailable() -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"
    with ConnectionPool(nowhere, min_size=0, max_size=1, open=True, timeout=0.2) as pool:
        consumer = PostgresConsumer(pool, nowhere, NAME)
        with pytest.raises(BusUnavailable):
            consumer.claim(1)
        with pytest.raises(BusUnavailable):
            consumer.wait(0.1)


def test_delays_are_bounded() -> None:
    policy = RetryPolicy(delay_base_s=1.0, delay_max_s=300.0)
    assert [policy.delay_s(attempts) for attempts in (0, 1, 2, 3, 9, 10, 10_000)] == [1, 1, 2, 4, 256, 300, 300]
