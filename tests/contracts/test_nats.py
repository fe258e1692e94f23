"""What the bus through NATS promises beyond the port: nothing is lost with the server, no event goes over the wire."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import psycopg
import pytest
from psycopg_pool import ConnectionPool

from infra.stack.loopback import free_run
from infra.stack.throwaway import Database
from pipelines.adapters.nats.bus import NatsConsumer
from pipelines.adapters.nats.link import STREAM, NatsLink
from pipelines.adapters.nats.relay import Relay
from pipelines.adapters.nats.settings import NatsSettings
from pipelines.adapters.postgres.bus import Connection, PostgresConsumer
from pipelines.environment import SettingInvalid
from pipelines.ports.bus import BusUnavailable, RetryPolicy
from tests.contracts.nats_server import NatsServer, running
from tests.contracts.test_bus import NAME, TOPIC, NatsHarness

SOON = RetryPolicy(lease_s=1, delay_base_s=0.1, attempts_max=2)


class Bench(NatsHarness):
    """As in the contract suite, with a server that may be killed, and deliveries as PostgreSQL has them."""

    def __init__(self, database: Database, server: NatsServer, stack: contextlib.ExitStack) -> None:
        super().__init__(database, server, stack)
        self.server = server

    def publish(self, key: str, relayed: bool = True) -> None:
        sending = self.sending(1) if relayed else super(NatsHarness, self).sending(1)
        with sending as transaction:
            body = b'{"secret": "knee"}'
            assert self.publisher.publish(transaction, topic=TOPIC, key=key, organisation_id=1, payload=body)

    def subscriber(self, policy: RetryPolicy = SOON) -> NatsConsumer:
        return NatsConsumer(self.link, self.pool, self.database.url("subscriber"), NAME, policy)

    def settle(self, consumer: NatsConsumer) -> list[str]:
        """Settle what is due; the keys."""
        found = []
        for delivery in consumer.claim(10):
            with self.receiving() as transaction:
                consumer.read(transaction, delivery)
                consumer.settle(transaction, delivery)
            found.append(delivery.key)
        return found

    def deliveries(self) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database.admin_url) as admin:
            return admin.execute("select state, last_error from bus.deliveries order by event_id").fetchall()

    def outbox_is_due(self) -> None:
        """As when the relay's lease has run out."""
        with psycopg.connect(self.database.admin_url) as admin:
            admin.execute("update bus.deliveries set next_attempt_at = clock_timestamp() where state = 'pending'")

    def eventually(self, consumer: NatsConsumer) -> list[str]:
        """Settle what is due within a while, through a server that has just come back."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(BusUnavailable):
                self.relay.drain(threading.Event())
                if found := self.settle(consumer):
                    return found
            time.sleep(0.1)
        return []


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Iterator[Bench]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running(tmp_path))
        yield Bench(database, server, stack)


def _messages(server: NatsServer) -> list[bytes]:
    async def read() -> list[bytes]:
        client = await nats.connect(server.url)
        stream = client.jetstream()
        state = (await stream.stream_info(STREAM)).state
        found = [(await stream.get_msg(STREAM, seq)).data or b"" for seq in range(state.first_seq, state.last_seq + 1)]
        await client.close()
        return found

    return asyncio.run(read())


def test_ids_go_over_the_wire_and_never_an_event(bench: Bench) -> None:
    bench.publish("k:1")
    [message] = _messages(bench.server)
    assert json.loads(message).keys() == {"event_id", "organisation_id", "topic", "key"}
    assert b"knee" not in message


def test_a_repeated_publication_is_stored_once_and_one_made_anew_is_not(bench: Bench) -> None:
    bench.link.ready()
    for message_id in ("7:1", "7:1", "7:2"):
        bench.link.publish(NAME, TOPIC, message_id, b"{}")
    assert bench.server.waiting() == 2


def test_a_publication_whose_acknowledgement_was_lost_is_repeated_under_its_id(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[str] = []
    really = bench.link.publish

    def deaf(consumer: str, topic: str, message_id: str, body: bytes) -> None:
        published.append(message_id)
        really(consumer, topic, message_id, body)
        if len(published) == 1:
            raise BusUnavailable("no answer")

    monkeypatch.setattr(bench.link, "publish", deaf)
    bench.publish("k:1")
    assert len(published) == 2
    assert len(set(published)) == 1
    assert bench.server.waiting() == 1


def test_what_is_settled_leaves_the_stream(bench: Bench) -> None:
    consumer = bench.subscriber()
    bench.publish("k:1")
    assert bench.settle(consumer) == ["k:1"]
    assert bench.server.waiting() == 1  # committed, and not told yet
    assert consumer.claim(1) == []
    assert bench.server.waiting() == 0


def test_a_process_that_dies_between_commit_and_acknowledgement_repeats_itself_and_no_more(bench: Bench) -> None:
    bench.publish("k:1")
    assert bench.settle(bench.subscriber()) == ["k:1"]  # and is never asked again
    time.sleep(SOON.lease_s + 0.2)
    successor = bench.subscriber()
    [again] = successor.claim(10)
    assert again.attempts == 2
    with bench.receiving() as transaction:
        successor.settle(transaction, again)
    successor.close()
    assert bench.server.waiting() == 0
    assert bench.deliveries() == [("done", None)]


def test_what_was_published_while_nats_was_down_arrives(bench: Bench) -> None:
    consumer = bench.subscriber()
    bench.publish("k:1")
    assert bench.settle(consumer) == ["k:1"]
    bench.server.kill()
    bench.publish("k:2", relayed=False)
    with pytest.raises(BusUnavailable):
        bench.relay.drain(threading.Event())
    with pytest.raises(BusUnavailable):
        consumer.claim(1)
    bench.server.start()
    assert bench.eventually(consumer) == ["k:2"]


def test_what_nats_lost_with_its_disk_is_published_again(bench: Bench) -> None:
    consumer = bench.subscriber()
    bench.publish("k:1")
    bench.server.kill()
    bench.server.lose_the_disk()
    bench.server.start()
    bench.outbox_is_due()
    assert bench.eventually(consumer) == ["k:1"]
    assert bench.deliveries() == [("done", None)]


def test_what_could_not_be_published_is_due_again_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server dies between the claim and the publication: the claim's long lease must not hold it back."""

    def refuse(*_: object) -> None:
        raise BusUnavailable("gone")

    bench.publish("k:1", relayed=False)
    with monkeypatch.context() as away:
        away.setattr(bench.link, "publish", refuse)
        with pytest.raises(BusUnavailable):
            bench.relay.drain(threading.Event())
    time.sleep(1.1)
    assert bench.relay.drain(threading.Event()) == 1


def test_what_nobody_lives_to_give_back_becomes_a_dead_letter(bench: Bench) -> None:
    """Redelivery is bounded also where every attempt kills its process, and the letter is where all the others are."""
    bench.publish("k:1")
    for attempts in (1, 2):
        [delivery] = bench.subscriber().claim(10)
        assert delivery.attempts == attempts
        time.sleep(SOON.lease_s + 0.2)
    assert bench.subscriber().claim(10) == []
    assert bench.deliveries() == [("dead", "no attempt came to an end (delivered 3 times)")]
    assert bench.server.waiting() == 0


def test_a_dead_letter_that_is_replayed_comes_through_nats_again(bench: Bench) -> None:
    consumer = bench.subscriber()
    bench.publish("k:1")
    for _ in range(SOON.attempts_max):
        [delivery] = consumer.claim(10)
        consumer.fail(delivery, "broken")
        time.sleep(0.3)
    assert [state for state, _ in bench.deliveries()] == ["dead"]
    with psycopg.connect(bench.database.url("subscriber")) as operator:
        operator.execute("select bus.replay_dead_letters(%s, array[%s]::bigint[])", [NAME, delivery.event_id])
    assert bench.relay.drain(threading.Event()) == 1
    assert bench.settle(consumer) == ["k:1"]


def test_an_event_that_was_erased_leaves_the_stream(bench: Bench) -> None:
    consumer = bench.subscriber()
    bench.publish("k:1")
    with psycopg.connect(bench.database.admin_url) as admin:
        admin.execute("delete from bus.events")
    [delivery] = consumer.claim(10)
    with pytest.raises(LookupError):
        consumer.fail(delivery, "gone")
    assert bench.server.waiting() == 0


def test_a_server_that_is_not_there_is_unavailable(database: Database) -> None:
    link = NatsLink(NatsSettings((f"nats://127.0.0.1:{free_run(1)}",)), "nowhere")
    try:
        with pytest.raises(BusUnavailable, match="NATS"):
            link.ready()
        with ConnectionPool[Connection](database.url("subscriber"), min_size=1, max_size=1, open=True) as pool:
            source = PostgresConsumer(pool, database.url("subscriber"), NAME)
            with pytest.raises(BusUnavailable, match="NATS"):
                Relay(source, link, NAME, uuid.uuid4).drain(threading.Event())
    finally:
        link.close()


def test_settings_are_read_and_named() -> None:
    assert NatsSettings.from_env({}) is None
    environ = {"RESTARTIX_BUS_URL": "nats://a:4222, tls://b:4222", "RESTARTIX_NATS_REPLICAS": "3"}
    assert NatsSettings.from_env(environ) == NatsSettings(("nats://a:4222", "tls://b:4222"), None, 3)
    with pytest.raises(SettingInvalid, match="RESTARTIX_BUS_URL"):
        NatsSettings.from_env({"RESTARTIX_BUS_URL": "postgres://a"})
    with pytest.raises(SettingInvalid, match="RESTARTIX_NATS_REPLICAS"):
        NatsSettings.from_env({"RESTARTIX_NATS_REPLICAS": "7"})
