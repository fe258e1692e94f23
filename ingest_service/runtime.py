"""Which world this process lives in: gevent's, where nothing may block the hub, or plain threads."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import psycopg.waiting

from pipelines.landing.disk import RunInThread, run_here


class HubWouldBlockError(RuntimeError):
    """Something would hold up every request of this worker."""


def thread_runner() -> RunInThread:
    """How blocking work leaves the caller's loop: by the hub's thread pool under gevent, not at all without.

    Raises ``HubWouldBlockError`` where psycopg would wait without letting other greenlets run.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("socket"):
        return run_here
    if psycopg.waiting.wait is getattr(psycopg.waiting, "wait_c", None):
        raise HubWouldBlockError("psycopg was imported before gevent patched the standard library")
    from gevent import get_hub  # type: ignore[import-untyped]  # noqa: PLC0415 - only where gevent serves

    def run(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return get_hub().threadpool.apply(function, args, kwargs)

    return run
