"""Which world this process lives in: gevent's, where nothing may block the hub, or plain threads."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import psycopg.waiting

from ingest_service.requests import BodyTimeoutError, Deadline
from pipelines.landing.disk import RunInThread, run_here


class HubWouldBlockError(RuntimeError):
    """Something would hold up every request of this worker."""


def _is_cooperative() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


def thread_runner() -> RunInThread:
    """How blocking work leaves the caller's loop: by the hub's thread pool under gevent, not at all without.

    Raises ``HubWouldBlockError`` where psycopg would wait without letting other greenlets run.
    """
    if not _is_cooperative():
        return run_here
    if psycopg.waiting.wait is getattr(psycopg.waiting, "wait_c", None):
        raise HubWouldBlockError("psycopg was imported before gevent patched the standard library")
    from gevent import get_hub  # type: ignore[import-untyped]  # noqa: PLC0415 - only where gevent serves

    def run(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return get_hub().threadpool.apply(function, args, kwargs)

    return run


def lock() -> AbstractContextManager[object]:
    """A lock for what is never held while a greenlet waits: the system's own, at a tenth of the cost of gevent's."""
    if not _is_cooperative():
        return threading.Lock()
    from gevent.monkey import get_original  # type: ignore[import-untyped]  # noqa: PLC0415 - only where gevent serves

    made: AbstractContextManager[object] = get_original("threading", "Lock")()
    return made


def deadline() -> Deadline:
    """How reading from a client is given up after a time; plain threads must be given timeouts by their server."""
    if not _is_cooperative():
        return lambda _: contextlib.nullcontext()
    from gevent import Timeout  # noqa: PLC0415 - only where gevent serves

    @contextlib.contextmanager
    def within(timeout_s: float) -> Iterator[None]:
        timeout = Timeout.start_new(timeout_s, BodyTimeoutError())
        try:
            yield
        finally:
            timeout.close()

    return within
