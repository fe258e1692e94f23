"""Numeric work beside the hub: a request that computes for a while must not keep the others waiting.

The work runs in a thread of the calling hub's pool and only its greenlet waits. Few at a time, because each holds a
whole session's frames in memory; who finds them all busy for too long is told to come again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from gevent import get_hub  # type: ignore[import-untyped]

from core_api.errors import Problem

AT_ONCE = 1  # a worker process
WAIT_S = 10.0

Done = TypeVar("Done")


class HeavyWork:
    """At most ``at_once`` pieces of work in this process."""

    def __init__(self, at_once: int = AT_ONCE, wait_s: float = WAIT_S) -> None:
        self._turns = threading.BoundedSemaphore(at_once)
        self._wait_s = wait_s

    def run(self, work: Callable[[], Done]) -> Done:
        """What ``work`` gives, or raises. It must use numbers and bytes alone: no connection, no lock, no logger.

        Raises ``Problem`` 503 where no turn comes in time.
        """
        if not self._turns.acquire(timeout=self._wait_s):
            raise Problem(503, "busy_computing", "other sessions are being read", headers={"Retry-After": "5"})
        try:
            done: Done = get_hub().threadpool.apply(work)
        finally:
            self._turns.release()
        return done
