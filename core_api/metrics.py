"""The service's Prometheus metrics, one instance a process; across workers through ``PROMETHEUS_MULTIPROC_DIR``.

Labels are bounded: route templates, methods, statuses and problem codes; never an id, a principal or a tenant.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

_SECONDS = (0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 5.0, 10.0)
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Everything that is counted."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "core_api_requests", "Answered requests", ["route", "method", "status"], registry=self.registry
        )
        self.refusals = Counter("core_api_refusals", "Refused requests", ["code"], registry=self.registry)
        self.request_s = Histogram(
            "core_api_request_seconds",
            "From a request's headers to its answer",
            ["route", "method"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.replayed = Counter(
            "core_api_replayed_answers", "POSTs answered from their idempotency key", registry=self.registry
        )
        self._pool = {
            name: Gauge(f"core_api_{name}", text, registry=self.registry, multiprocess_mode="livesum")
            for name, text in (
                ("pool_size", "Connections the pools have"),
                ("pool_available", "Connections nobody uses"),
                ("requests_waiting", "Requests that wait for a connection"),
            )
        }

        # Every worker sees the same debts: the last to look is right.
        self._retags = {
            name: Gauge(f"core_api_{name}", text, registry=self.registry, multiprocess_mode="mostrecent")
            for name, text in (
                ("retags_outstanding", "Sessions whose replay's tag has not followed their flag yet; NaN: not known"),
                ("retags_failing", "Of these, sessions whose tag was tried in vain; NaN: not known"),
                ("oldest_retag_timestamp_seconds", "When the oldest of them was asked for, as Unix time; NaN: none"),
            )
        }
        self.retags_unknown()

    def observe(self, route: str | None, method: str, status: int, code: str | None, duration_s: float) -> None:
        """One answered request. ``route`` is its template; None where no route matched."""
        name = route or "(none)"
        method = method if method in _METHODS else "(other)"
        self.requests.labels(name, method, str(status)).inc()
        self.request_s.labels(name, method).observe(duration_s)
        if code is not None:
            self.refusals.labels(code).inc()

    def watch(self, pool: Mapping[str, int]) -> None:
        """This worker's pool as it is now, by psycopg's names; a figure it leaves out is 0."""
        for name, gauge in self._pool.items():
            gauge.set(pool.get(name, 0))

    def retags(self, outstanding: int, failing: int, oldest_asked_at: datetime | None) -> None:
        """What the object store still owes the flags, over all tenants. None: it owes nothing."""
        oldest = math.nan if oldest_asked_at is None else oldest_asked_at.timestamp()
        for gauge, figure in zip(self._retags.values(), (outstanding, failing, oldest), strict=True):
            gauge.set(figure)

    def retags_unknown(self) -> None:
        for gauge in self._retags.values():
            gauge.set(math.nan)

    def exposition(self) -> bytes:
        """The text format, over all workers where they share a directory; others' pools as at their last request."""
        if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
