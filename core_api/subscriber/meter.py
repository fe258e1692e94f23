"""What the subscriber tells Prometheus: results by what became of them, how old they were, what waits or was given up,
and signs of life.

Labels are bounded: the four outcomes. One registry a process; safe to use from several threads.
"""

from __future__ import annotations

import datetime as dt
import math
import threading
from collections.abc import Callable
from typing import Literal, get_args
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

Outcome = Literal["applied", "not_newer", "failed", "dead"]

_AGE_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)


class SubscriberMeter:
    """``now`` is the wall clock, aware."""

    def __init__(self, now: Callable[[], dt.datetime]) -> None:
        self._now = now
        self.registry = CollectorRegistry()
        results = Counter(
            "subscriber_results", "Deliveries by what became of them", ["outcome"], registry=self.registry
        )
        self._results: dict[Outcome, Counter] = {name: results.labels(name) for name in get_args(Outcome)}
        self._age_s = Histogram(
            "subscriber_result_age_seconds",
            "From the finaliser's result to its rows",
            buckets=_AGE_S,
            registry=self.registry,
        )
        self._away = Counter("subscriber_bus_unavailable", "Looks at a bus that was away", registry=self.registry)
        self._looked_s = Gauge(
            "subscriber_looked_timestamp_seconds", "When the bus last answered, as Unix time", registry=self.registry
        )
        self._backlog = {
            name: Gauge(f"subscriber_{name}", f"{text}; NaN: {unknown}", registry=self.registry)
            for name, text, unknown in (
                ("pending", "Events not settled yet", "not known now"),
                ("oldest_pending_timestamp_seconds", "When the oldest of them was published, as Unix time", "none"),
                ("dead_letters", "Events given up and not replayed", "not known now"),
                ("oldest_dead_letter_timestamp_seconds", "When the oldest was given up, as Unix time", "none"),
            )
        }
        self.backlog_unknown()

    def applied(self, finalised_at: dt.datetime) -> None:
        self._results["applied"].inc()
        self._age_s.observe(max(0.0, (self._now() - finalised_at).total_seconds()))

    def count(self, outcome: Literal["not_newer", "failed", "dead"]) -> None:
        self._results[outcome].inc()

    def looked(self) -> None:
        """The bus answered."""
        self._looked_s.set(self._now().timestamp())

    def away(self) -> None:
        self._away.inc()

    def backlog(
        self, *, pending: int, oldest_pending_at: dt.datetime | None, dead: int, oldest_dead_at: dt.datetime | None
    ) -> None:
        """What stands now. None: there is none."""
        figures = (pending, _unix(oldest_pending_at), dead, _unix(oldest_dead_at))
        for gauge, figure in zip(self._backlog.values(), figures, strict=True):
            gauge.set(figure)

    def backlog_unknown(self) -> None:
        for gauge in self._backlog.values():
            gauge.set(math.nan)

    def serve(self, host: str, port: int) -> tuple[WSGIServer, threading.Thread]:
        """Answer ``GET /metrics`` from a thread of its own. Raises ``OSError`` where the address is taken."""
        return start_http_server(port, addr=host, registry=self.registry)


def _unix(at: dt.datetime | None) -> float:
    return math.nan if at is None else at.timestamp()
