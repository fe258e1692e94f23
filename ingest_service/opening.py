"""A worker's recovery, beside its answering: when it is over, and what becomes of a worker that cannot finish it.

Belongs here: the two threads of that time. What is recovered is the landing's, what serves afterwards ``wsgi``'s.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import psycopg
import structlog

log = structlog.get_logger(__name__)


class Opening:
    """Runs ``open_service`` once. ``failure``: why it could not be finished."""

    def __init__(self, open_service: Callable[[], None], renew_lease: Callable[[], None]) -> None:
        self.failure: str | None = None
        self._open_service = open_service
        self._renew_lease = renew_lease
        self._over = threading.Event()

    def begin(self, lease_interval_s: float, give_up_after_s: float) -> None:
        """Meanwhile the lease is renewed: a node that recovers for long is alive, though not ready.

        Where it fails the worker ends ``give_up_after_s`` later, so that the server starts another.
        """
        threading.Thread(target=self._run, args=(give_up_after_s,), name="opening", daemon=True).start()
        threading.Thread(target=self._renew, args=(lease_interval_s,), name="opening lease", daemon=True).start()

    def end(self) -> None:
        self._over.set()

    def _run(self, give_up_after_s: float) -> None:
        try:
            self._open_service()
        except Exception as error:
            # Whatever it is (a disk away, an unreadable log), the next worker may be luckier; not at once, though.
            self.failure = f"recovery failed: {error}"
            log.exception("recovery_failed")
            if not self._over.wait(give_up_after_s):
                os.kill(os.getpid(), signal.SIGTERM)
        finally:
            self._over.set()

    def _renew(self, interval_s: float) -> None:
        while not self._over.wait(interval_s):
            try:
                self._renew_lease()
            except psycopg.Error as error:
                log.warning("chore_postponed", chore="lease", error=type(error).__name__)
