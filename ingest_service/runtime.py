"""Which world this process lives in: gevent's, where nothing may block the hub, or plain threads."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import psycopg.waiting

from ingest_service.requests import BodyTimeoutError, Deadline
from pipelines.landing.world import PLAIN_THREADS, RunInThread, World


class HubWouldBlockError(RuntimeError):
    """Something would hold up every request of this worker."""


def _is_cooperative() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


def world() -> World:
    """What a log needs of the world it runs in.

    Raises ``HubWouldBlockError`` where psycopg would wait without letting other greenlets run.
    """
    if not _is_cooperative():
        return PLAIN_THREADS
    if psycopg.waiting.wait is getattr(psycopg.waiting, "wait_c", None):
        raise HubWouldBlockError("psycopg was imported before gevent patched the standard library")
    from ingest_service.hub_world import HubWorld  # noqa: PLC0415 - only where gevent serves

    return HubWorld()


def thread_runner() -> RunInThread:
    """How blocking work leaves the caller's loop: by the hub's thread pool under gevent, not at all without."""
    return world().run_in_thread


def deadline() -> Deadline:
    """How reading from a client is given up after a time; plain threads must be given timeouts by their server."""
    if not _is_cooperative():
        return lambda _: contextlib.nullcontext()
    from gevent import Timeout  # type: ignore[import-untyped]  # noqa: PLC0415 - only where gevent serves

    @contextlib.contextmanager
    def within(timeout_s: float) -> Iterator[None]:
        timeout = Timeout.start_new(timeout_s, BodyTimeoutError())
        try:
            yield
        finally:
            timeout.close()

    return within
