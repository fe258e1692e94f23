"""The audit benchmark's table says where its rate was not kept."""

from __future__ import annotations

from typing import Any

import pytest

from infra.bench.audit import table


def report(per_second: float) -> dict[str, Any]:
    run = {"per_second": 199.9, "p50_ms": 2.0, "p95_ms": 3.0, "p99_ms": 4.25, "worst_ms": 9.0}
    return {"rate_per_s": 200, "connections": 16, "postgres": {"fsync": "on"}, "flush_ms": 1.5, "cpu_count": 2,
            "load_average_before": 0.1, "without_audit": run, "audited": {**run, "per_second": per_second}}  # fmt: skip


@pytest.mark.parametrize(("per_second", "is_kept"), [(199.5, True), (180.0, False)])
def test_a_rate_that_was_not_kept_is_said(per_second: float, is_kept: bool) -> None:
    shown = table(report(per_second))
    assert ("NOT kept" not in shown) is is_kept
    [line] = [line for line in shown.splitlines() if line.startswith("audited")]
    assert line.split() == ["audited", f"{per_second:g}", "2", "3", "4.25", "9"]
