"""What was counted on a request's way is what is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from ingest_service.metrics import Metrics
from pipelines.ports.landing import RecordKind


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)


def _shown(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(st.lists(st.floats(0, 20) | st.sampled_from((0.001, 0.002, 5.0)), max_size=30), st.integers(0, 3))
def test_a_spread_is_the_histogram_it_stands_for(values_s: list[float], flushes: int) -> None:
    metrics = Metrics()
    registry = CollectorRegistry()
    bounds = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 5.0)
    expected = Histogram("expected", "", buckets=bounds, registry=registry)
    for place, value_s in enumerate(values_s):
        metrics.acknowledge_s.observe(value_s)
        expected.observe(value_s)
        if place < flushes:
            metrics.flush()
    shown = _shown(metrics)
    for family in registry.collect():
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                name = sample.name.replace("expected", "ingest_acknowledge_seconds")
                assert shown[name, tuple(sorted(sample.labels.items()))] == pytest.approx(sample.value)


def test_counts_are_shown_once() -> None:
    metrics = Metrics()
    metrics.accepted[RecordKind.BATCH].add(2)
    metrics.received_bytes.add(10)
    for _ in range(2):
        shown = _shown(metrics)
        assert shown["ingest_accepted_total", (("kind", "batch"),)] == 2
        assert shown["ingest_accepted_total", (("kind", "end"),)] == 0
        assert shown["ingest_received_bytes_total", ()] == 10
    metrics.accepted[RecordKind.BATCH].add(1)
    assert _shown(metrics)["ingest_accepted_total", (("kind", "batch"),)] == 3
