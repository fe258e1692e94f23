"""A connected socket under gevent: waiting for it, with a deadline. Knows no HTTP.

No timer is made for a wait: each transport says until when it may wait, and the worker looks at all of them a few
times a second (``expire``). The read watcher stays started between waits, so that a request costs no ``epoll_ctl``,
and receiving follows readiness, so that it costs no failed ``recv``.
"""

from __future__ import annotations

import _socket
import contextlib
import math
import socket
import struct
from collections.abc import Callable
from typing import Any

from gevent import get_hub, getcurrent, sleep  # type: ignore[import-untyped]

from ingest_service.http.errors import PeerGoneError, TooSlowError

_READ, _WRITE = 1, 2
_DROP = struct.pack("ii", 1, 0)
RECEIVE_MAX_BYTES = 64 * 1024


class ReceiveBuffer:
    """Where bytes arrive: one for all connections of a worker, since what arrived is taken before anyone else runs."""

    def __init__(self) -> None:
        self.data = bytearray(RECEIVE_MAX_BYTES)
        self.view = memoryview(self.data)


class Transport:
    """One connection's socket: the plain one, not gevent's, and non-blocking. Used by one greenlet at a time.

    Time is ``now()``, in seconds.
    """

    __slots__ = (
        "_awaited",
        "_buffer",
        "_deadline_s",
        "_greenlet",
        "_hub",
        "_now",
        "_overdue",
        "_read_watcher",
        "_reading",
        "_socket",
        "_write_watcher",
    )

    def __init__(self, sock: _socket.socket, buffer: ReceiveBuffer, now: Callable[[], float]) -> None:
        self._socket = sock
        self._buffer = buffer
        self._now = now
        self._hub: Any = get_hub()
        self._read_watcher: Any = self._hub.loop.io(sock.fileno(), _READ)
        self._write_watcher: Any = None
        self._reading = False
        self._awaited = 0
        self._greenlet: Any = None
        self._deadline_s = math.inf
        self._overdue = False

    def receive(self, most_bytes: int, deadline_s: float) -> int:
        """Waits, then takes up to ``most_bytes`` into the shared buffer: how many, 0 where the peer has ended.

        They are lost once anything waits: copy them first. Raises ``TooSlowError``, ``PeerGoneError``.
        """
        if not self._reading:
            self._read_watcher.start(self._on_readable)
            self._reading = True
        while True:
            self._wait(_READ, deadline_s)
            try:
                return self._socket.recv_into(self._buffer.view, min(most_bytes, RECEIVE_MAX_BYTES))
            except BlockingIOError:
                continue
            except OSError as error:
                raise PeerGoneError(str(error)) from None

    def receive_now(self, most_bytes: int) -> int:
        """What has come by now, without waiting: as ``receive``, 0 also where nothing has. Raises ``PeerGoneError``."""
        try:
            return self._socket.recv_into(self._buffer.view, min(most_bytes, RECEIVE_MAX_BYTES))
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PeerGoneError(str(error)) from None

    def send(self, data: bytes, stall_s: float, most_s: float) -> None:
        """All of ``data`` within ``most_s``, some of it every ``stall_s``.

        Raises ``TooSlowError`` and ``PeerGoneError``; after the first, closing drops what the peer has not taken.
        """
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise PeerGoneError(str(error)) from None
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:], stall_s, self._now() + most_s)

    def _send_rest(self, rest: memoryview, stall_s: float, deadline_s: float) -> None:
        watcher = self._hub.loop.io(self._socket.fileno(), _WRITE)
        self._write_watcher = watcher
        try:
            watcher.start(self._on_writable)
            while rest:
                self._wait(_WRITE, min(self._now() + stall_s, deadline_s))
                with contextlib.suppress(BlockingIOError):
                    rest = rest[self._socket.send(rest) :]
        except TooSlowError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP)
            raise
        except OSError as error:
            raise PeerGoneError(str(error)) from None
        finally:
            watcher.stop()
            watcher.close()
            self._write_watcher = None

    def let_others_run(self) -> None:
        sleep(0)

    def end_sending(self) -> None:
        """Half-close: the peer sees the end of what was sent."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for watcher in (self._read_watcher, self._write_watcher):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._socket.close()

    def expire(self, now_s: float) -> None:
        """Ends a wait that is over its time. Callable from any greenlet of the hub."""
        if now_s > self._deadline_s:
            self._hub.loop.run_callback(self._on_overdue)

    def stop_waiting(self) -> None:
        """Ends a wait for the peer's bytes as if it were over its time. Callable from any greenlet of the hub."""
        if self._awaited == _READ:
            self._deadline_s = -math.inf
            self._hub.loop.run_callback(self._on_overdue)

    def _wait(self, awaited: int, deadline_s: float) -> None:
        self._greenlet = getcurrent()
        self._deadline_s = deadline_s
        self._awaited = awaited
        try:
            while self._awaited:  # whoever else may switch to this greenlet
                self._hub.switch()
        finally:
            self._awaited = 0
            self._deadline_s = math.inf
            self._greenlet = None
        if self._overdue:
            self._overdue = False
            raise TooSlowError("the peer stalled")

    # The three below run in the hub.

    def _on_readable(self) -> None:
        if self._awaited == _READ:
            self._awaited = 0
            self._greenlet.switch()
        else:
            # Something came that nobody waits for: bytes ahead of their turn, or the peer's end. Until someone does,
            # the event would only come again and again.
            self._read_watcher.stop()
            self._reading = False

    def _on_writable(self) -> None:
        if self._awaited == _WRITE:
            self._awaited = 0
            self._greenlet.switch()

    def _on_overdue(self) -> None:
        if self._awaited and self._now() > self._deadline_s:
            self._awaited = 0
            self._overdue = True
            self._greenlet.switch()
