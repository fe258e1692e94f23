"""The application of a worker from its first moment: what it can say while it recovers its log, then the service.

Belongs here: holding requests back for a moment until the service is there, and refusing them after that. A worker
binds at once, so that probes and portals are answered however long the recovery takes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
OnRefusal = Callable[[str | None, str], list[tuple[str, str]]]


class Gate:
    """WSGI application. ``on_refusal`` is what the service's own worker asks where it refuses a request itself: given
    the ``Origin`` and the code, header fields for the answer.
    """

    def __init__(self, recovering: WsgiApp, on_refusal: OnRefusal, wait_s: float) -> None:
        self.on_refusal = on_refusal
        self._recovering = recovering
        self._wait_s = wait_s
        self._opened = threading.Event()
        self._app: WsgiApp = self._hold

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self._app(environ, start_response)

    def open(self, app: WsgiApp) -> None:
        """From now on ``app`` answers, also what is held back."""
        self._app = app
        self._opened.set()

    def _hold(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # A worker that is replaced has next to nothing to recover: nobody need be told. Probes are told at once.
        if environ["REQUEST_METHOD"] == "POST":
            self._opened.wait(self._wait_s)
        app = self._app if self._opened.is_set() else self._recovering
        return app(environ, start_response)
