"""The service's Prometheus metrics, one instance a process; across workers through ``PROMETHEUS_MULTIPROC_DIR``."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import deque

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from pipelines.landing.disk import Commit
from pipelines.ports.landing import RecordKind

_FAST_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 5.0)
_COMMITS_MAX = 100_000  # minutes of groups, should nobody flush


class Tally:
    """A counter that is a plain number until ``flush``: on a request's way a Prometheus counter costs tenfold."""

    __slots__ = ("_counter", "_pending")

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._pending = 0

    def add(self, count: int) -> None:
        self._pending += count

    def flush(self) -> None:
        pending, self._pending = self._pending, 0
        if pending:
            self._counter.inc(pending)


class Spread:
    """A histogram, in the same way."""

    __slots__ = ("_counts", "_histogram", "_sum")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._counts = [0] * (len(_FAST_S) + 1)
        self._sum = 0.0

    def observe(self, value_s: float) -> None:
        self._counts[bisect_left(_FAST_S, value_s)] += 1
        self._sum += value_s

    def flush(self) -> None:
        counts, self._counts = self._counts, [0] * len(self._counts)
        total, self._sum = self._sum, 0.0
        # The client has no way to add many observations at once; its fields are as the exposition's test expects.
        for bucket, count in zip(self._histogram._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        if total:
            self._histogram._sum.inc(total)


class Metrics:
    """Everything that is counted. Labels are bounded: kinds of record, problem codes. ``flush`` every few seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._pending: list[Tally | Spread] = []
        # The log's thread adds, and only ``flush`` takes: counting there would race with it.
        self.commits: deque[Commit] = deque(maxlen=_COMMITS_MAX)
        accepted = Counter("ingest_accepted", "Acknowledged requests", ["kind"], registry=self.registry)
        self.accepted: dict[RecordKind, Tally] = {
            kind: self._tally(accepted.labels(kind)) for kind in RecordKind if kind is not RecordKind.OPEN
        }
        self.rejected = Counter("ingest_rejected", "Refused requests", ["code"], registry=self.registry)
        self.received_bytes = self._counted("ingest_received_bytes", "Acknowledged body bytes")
        self.sequence_gaps = self._counted("ingest_sequence_gap", "Numbers a sender skipped")
        self.unknown_fields = self._counted("ingest_unknown_field", "Media fields left out")
        self.synced_records = self._counted("ingest_synced_record", "Records made durable")
        self.acknowledge_s = self._spread("ingest_acknowledge_seconds", "From a request's headers to its answer")
        self.sync_s = self._spread("ingest_sync_seconds", "One fdatasync")
        self.commit_s = self._spread("ingest_commit_seconds", "Write, sync and spool of one group")
        self.dropped_chores = Counter("ingest_dropped_chore", "Rows given up, queue full", registry=self.registry)
        self.open_sessions = self._gauge("ingest_open_sessions", "Sessions remembered", "livesum")
        self.waiting_requests = self._gauge("ingest_waiting_requests", "Requests being read or landed", "livesum")
        self.waiting_bytes = self._gauge("ingest_waiting_bytes", "Bytes waiting for the disk", "livesum")
        # Every worker measures the whole node.
        self.log_bytes = self._gauge("ingest_log_bytes", "Bytes of the node's logs", "livemax")
        self.spool_bytes = self._gauge("ingest_spool_bytes", "Bytes of the node's spool", "livemax")
        self.free_bytes = self._gauge("ingest_disk_free_bytes", "Free bytes of the node's disk", "livemin")
        self.consent_age_s = self._gauge("ingest_consent_age_seconds", "Age of the consent watermark", "livemax")
        self.ready = self._gauge("ingest_ready_workers", "Workers that are ready", "livesum")

    def _gauge(self, name: str, text: str, mode: str) -> Gauge:
        return Gauge(name, text, registry=self.registry, multiprocess_mode=mode)  # type: ignore[arg-type]

    def _tally(self, counter: Counter) -> Tally:
        tally = Tally(counter)
        self._pending.append(tally)
        return tally

    def _counted(self, name: str, text: str) -> Tally:
        return self._tally(Counter(name, text, registry=self.registry))

    def _spread(self, name: str, text: str) -> Spread:
        spread = Spread(Histogram(name, text, buckets=_FAST_S, registry=self.registry))
        self._pending.append(spread)
        return spread

    def flush(self) -> None:
        """Hand over what was counted since the last time."""
        while self.commits:
            commit = self.commits.popleft()
            self.sync_s.observe(commit.sync_s)
            self.commit_s.observe(commit.duration_s)
            self.synced_records.add(commit.record_count)
        for pending in self._pending:
            pending.flush()

    def exposition(self) -> bytes:
        """The text format, over all workers where they share a directory; other workers' numbers as last flushed."""
        self.flush()
        if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
