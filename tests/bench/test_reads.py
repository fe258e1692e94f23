"""The benchmark of the reads: its arithmetic, and that it measures every read on a small history."""

from __future__ import annotations

import pytest

from infra.bench.history import Size, fill
from infra.bench.reads import PATHS, measure, sequential_scans
from infra.bench.reads_report import Read, judged, quantile_ms
from infra.stack.throwaway import Database


def read(ratio: float) -> Read:
    return Read(
        name="x",
        p50_ms=1,
        p95_ms=ratio,
        p95_ms_without_rls=1,
        ratio=ratio,
        first_p95_ms=1,
        cpu_p95_ms=1,
        cpu_p95_ms_without_rls=1,
        cpu_ratio=1,
    )


def test_a_quantile_is_the_nearest_rank() -> None:
    seconds = [each / 1000 for each in range(1, 101)]
    assert (quantile_ms(seconds, 50), quantile_ms(seconds, 95), quantile_ms(seconds[:1], 95)) == (50, 95, 1)


@pytest.mark.parametrize(("ratio", "p95_ms", "met"), [(1.2, 1000.0, True), (1.21, 1000.1, False)])
def test_the_worst_read_decides(ratio: float, p95_ms: float, met: bool) -> None:
    report = judged([read(1.0), read(ratio)], Size(1, 1, 1, 1), 1, {"p50": 1, "p95": p95_ms}, {})
    assert report.worst_ratio == ratio
    assert report.met == {"worst_ratio": met, "end_to_visible_p95_ms": met}
    assert judged([read(1.0)], Size(1, 1, 1, 1), 1, None, {}).met["end_to_visible_p95_ms"] is None


@pytest.mark.timeout(240)  # dbt makes the marts
def test_every_read_is_measured_on_a_small_history(database: Database) -> None:
    said: list[str] = []
    size = fill(database, 2000, said.append)
    assert size.exercise_logs >= 2000
    found = measure(database, size, 2, 1, said.append)
    assert [each.name for each in found] == list(PATHS)
    assert all(0 < each.cpu_p95_ms <= each.first_p95_ms + each.p95_ms for each in found)
    large = sequential_scans(database.admin_url)
    assert not [name for name in large if name.startswith(("core.", "telemetry."))], "nothing of these is large here"
