"""One connection to NATS for the threads of a process: its event loop has a thread of its own.

Belongs here: connecting, the stream and its consumers, and turning every failure into ``BusUnavailable``. Does not
belong here: what a message means. Not for a process patched by gevent: the loop's thread would be a greenlet.

The stream holds ids, never an event: at most a day, and at most ``MESSAGES_MAX``; a full one refuses what is new, and
the relay keeps it. A message goes when it is acknowledged (work queue).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from pipelines.adapters.nats.settings import NatsSettings
from pipelines.ports.bus import BusUnavailable, RetryPolicy

log = structlog.get_logger(__name__)

STREAM = "RESTARTIX_BUS"
PREFIX = "restartix.bus"
MESSAGES_MAX = 1_000_000
_KEPT_S = 86_400.0
_DUPLICATES_S = 120.0  # a message id is known for so long
_UNACKNOWLEDGED_MAX = 1000  # delivered to all subscribers together and not settled
_CONNECT_S = 2  # one try; who needs it tries again
_ANSWER_S = 5.0
_RECONNECT_S = 1

T = TypeVar("T")


class NatsLink:
    """Connects on first use and again by itself. Every method may be called from any thread but the loop's."""

    def __init__(self, settings: NatsSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nats", daemon=True)
        self._thread.start()
        self._opening = asyncio.Lock()
        self._closing = False
        self._client: Client | None = None
        self._stream: JetStreamContext | None = None
        self._subscriptions: dict[str, JetStreamContext.PullSubscription] = {}

    def ready(self) -> None:
        """Connected, and the stream is there. Raises ``BusUnavailable``."""
        self._run(self._open(), _CONNECT_S + 2 * _ANSWER_S)

    def publish(self, consumer: str, topic: str, message_id: str, body: bytes) -> None:
        """Stored by the stream when this returns; the same ``message_id`` once. Raises ``BusUnavailable``."""
        self._run(self._publish(f"{PREFIX}.{consumer}.{topic}", message_id, body), _CONNECT_S + 3 * _ANSWER_S)

    def fetch(self, consumer: str, policy: RetryPolicy, max_messages: int, wait_s: float) -> list[Msg]:
        """Up to ``max_messages`` that are due, the first of them within ``wait_s``. Raises ``BusUnavailable``."""
        coroutine = self._fetch(consumer, policy, max_messages, max(wait_s, 0.01))
        return self._run(coroutine, wait_s + _CONNECT_S + 4 * _ANSWER_S)

    def acknowledge(self, message: Msg) -> None:
        """The server knows when this returns. Raises ``BusUnavailable``."""
        self._run(self._acknowledge(message), 2 * _ANSWER_S)

    def again(self, message: Msg, delay_s: float) -> None:
        """Deliver it again after ``delay_s``. Raises ``BusUnavailable``."""
        self._run(message.nak(delay_s), _ANSWER_S)

    def drop(self, message: Msg) -> None:
        """Never deliver it again. Raises ``BusUnavailable``."""
        self._run(message.term(), _ANSWER_S)

    def close(self) -> None:
        """Ends connection and thread."""
        if self._loop.is_closed():
            return
        self._closing = True
        client = self._client
        if client is not None:
            try:
                asyncio.run_coroutine_threadsafe(client.close(), self._loop).result(_ANSWER_S)
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("nats_not_closed", error=type(error).__name__)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWER_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, T], timeout_s: float) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(timeout_s)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            future.cancel()
            raise BusUnavailable(f"NATS: {type(error).__name__}: {error}".rstrip(": ")) from error

    async def _open(self) -> JetStreamContext:
        async with self._opening:
            if self._client is None:
                self._client = await self._connect()
            if not self._client.is_connected:
                raise nats.errors.StaleConnectionError
            if self._stream is None:
                stream = self._client.jetstream(timeout=_ANSWER_S)
                await _ensure_stream(stream, self._settings.replicas)
                self._stream = stream
            return self._stream

    async def _connect(self) -> Client:
        client, credentials = Client(), self._settings.credentials
        connecting = client.connect(
            list(self._settings.servers),
            name=self._name,
            user_credentials=None if credentials is None else str(credentials),
            connect_timeout=_CONNECT_S,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_RECONNECT_S,
            pending_size=0,  # nothing is sent later: who is away is away
            reconnected_cb=self._reconnected,
            disconnected_cb=self._disconnected,
            error_cb=_complain,
        )
        try:
            await asyncio.wait_for(connecting, _CONNECT_S)  # by itself it would go on for ever
        except BaseException:
            await client.close()
            raise
        return client

    async def _publish(self, subject: str, message_id: str, body: bytes) -> None:
        stream = await self._open()
        await stream.publish(subject, body, stream=STREAM, headers={"Nats-Msg-Id": message_id})

    async def _fetch(self, consumer: str, policy: RetryPolicy, max_messages: int, wait_s: float) -> list[Msg]:
        stream = await self._open()
        subscription = self._subscriptions.get(consumer)
        if subscription is None:
            await _ensure_consumer(stream, consumer, policy)
            subscription = await stream.pull_subscribe_bind(durable=_durable(consumer), stream=STREAM)
            self._subscriptions[consumer] = subscription
        try:
            return await subscription.fetch(max_messages, timeout=wait_s)
        except nats.errors.TimeoutError:
            # Silence of a server that is away looks the same.
            await self._open()
            return []
        except nats.errors.Error:
            # The consumer or the stream is gone: they are made anew at the next look.
            self._subscriptions.pop(consumer, None)
            self._stream = None
            raise

    async def _acknowledge(self, message: Msg) -> None:
        await message.ack_sync(timeout=_ANSWER_S)

    async def _reconnected(self) -> None:
        log.info("nats_reconnected")
        # What it had may be gone with its disk.
        self._stream = None
        self._subscriptions.clear()

    async def _disconnected(self) -> None:
        if not self._closing:
            log.warning("nats_disconnected")


async def _complain(error: Exception) -> None:
    log.warning("nats_error", error=f"{type(error).__name__}: {error}")


async def _ensure_stream(stream: JetStreamContext, replicas: int) -> None:
    config = StreamConfig(
        name=STREAM,
        subjects=[f"{PREFIX}.>"],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_msgs=MESSAGES_MAX,
        max_age=_KEPT_S,
        duplicate_window=_DUPLICATES_S,
        num_replicas=replicas,
    )
    try:
        await stream.add_stream(config)
    except nats.js.errors.BadRequestError:  # there, and configured otherwise
        await stream.update_stream(config)


async def _ensure_consumer(stream: JetStreamContext, consumer: str, policy: RetryPolicy) -> None:
    """Made, or brought to ``policy``."""
    await stream.add_consumer(
        STREAM,
        ConsumerConfig(
            durable_name=_durable(consumer),
            filter_subject=f"{PREFIX}.{consumer}.>",
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=policy.lease_s,
            # One more than is tried: the last is for setting aside what nobody lived to give back.
            max_deliver=policy.attempts_max + 1,
            max_ack_pending=_UNACKNOWLEDGED_MAX,
        ),
    )


def _durable(consumer: str) -> str:
    return consumer.replace(".", "-")
