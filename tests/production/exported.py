"""What each process serves to Prometheus, read off its own metrics: names, types, labels and a histogram's bounds."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from core_api.metrics import Metrics as CoreApiMetrics
from core_api.subscriber.meter import SubscriberMeter
from ingest_service.metrics import Metrics as IngestMetrics
from pipelines.finalise.meter import CopyMeter

# Put there by Prometheus itself: which target a sample is of, and whether it answers.
TARGET_LABELS = frozenset({"job", "instance"})


@dataclass
class Series:
    """One name a query may use, e.g. ``ingest_sync_seconds_bucket``; ``kind`` is its family's."""

    kind: str
    labels: set[str] = field(default_factory=set)
    bounds: set[float] = field(default_factory=set)


def exported() -> dict[str, Series]:
    """By name. Every label is touched once, so that the pages have a sample of everything they can have."""
    pages = [_ingest(), _core_api(), _finaliser(), _subscriber()]
    found: dict[str, Series] = {"up": Series("gauge")}
    for page in pages:
        for family in text_string_to_metric_families(page):
            assert family.samples, f"{family.name} has no sample: touch its labels"
            for sample in family.samples:
                series = found.setdefault(sample.name, Series(family.type))
                series.labels |= set(sample.labels)
                if "le" in sample.labels:
                    series.bounds.add(float(sample.labels["le"]))
    return found


def _text(registry: CollectorRegistry) -> str:
    return generate_latest(registry).decode()


def _ingest() -> str:
    metrics = IngestMetrics()
    metrics.rejected.labels("busy").inc()
    return metrics.exposition().decode()


def _core_api() -> str:
    metrics = CoreApiMetrics()
    metrics.observe("/v1/patients", "GET", 503, "not_ready", 0.1)
    return _text(metrics.registry)


def _finaliser() -> str:
    meter = CopyMeter()
    meter.aborted("stray")
    return meter.render()


def _subscriber() -> str:
    return _text(SubscriberMeter(lambda: dt.datetime.now(dt.UTC)).registry)
