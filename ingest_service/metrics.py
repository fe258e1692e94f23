"""The service's Prometheus metrics, one instance a process; across workers through ``PROMETHEUS_MULTIPROC_DIR``."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

_FAST_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 5.0)


class Metrics:
    """Everything that is counted. Labels are bounded: kinds of record, problem codes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.accepted = Counter("ingest_accepted", "Acknowledged requests", ["kind"], registry=self.registry)
        self.rejected = Counter("ingest_rejected", "Refused requests", ["code"], registry=self.registry)
        self.received_bytes = Counter("ingest_received_bytes", "Acknowledged body bytes", registry=self.registry)
        self.sequence_gaps = Counter("ingest_sequence_gap", "Numbers a sender skipped", registry=self.registry)
        self.unknown_fields = Counter("ingest_unknown_field", "Media fields left out", registry=self.registry)
        self.acknowledge_s = Histogram(
            "ingest_acknowledge_seconds",
            "From a request's headers to its acknowledgement",
            buckets=_FAST_S,
            registry=self.registry,
        )
        self.sync_s = Histogram("ingest_sync_seconds", "One fdatasync", buckets=_FAST_S, registry=self.registry)
        self.commit_s = Histogram(
            "ingest_commit_seconds", "Write, sync and spool of one group", buckets=_FAST_S, registry=self.registry
        )
        self.synced_records = Counter("ingest_synced_record", "Records made durable", registry=self.registry)
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

    def exposition(self) -> bytes:
        """The text format, over all workers where they share a directory."""
        if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
