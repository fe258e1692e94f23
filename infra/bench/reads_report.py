"""``build/reports/bench_reads.json``: its shape, its quantiles and its verdicts. No measuring (``reads``)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from infra.bench.history import Size

TARGET_RATIO = 1.2
TARGET_VISIBLE_MS = 1000.0


class Read(msgspec.Struct, kw_only=True):
    """One read, over many targets: the request's time, and the CPU time it took in the service and in the server.

    Of a target it is the least of ``reads.ASKS`` requests: what the machine does besides only adds. ``first_p95_ms`` is
    of the first of them, before which nobody asked for the target, with whatever else the machine did. On a machine
    that does other things too, the ratio of CPU times is the one to trust: waiting for a turn is in the other.
    """

    name: str
    p50_ms: float
    p95_ms: float
    p95_ms_without_rls: float
    ratio: float
    first_p95_ms: float
    cpu_p95_ms: float
    cpu_p95_ms_without_rls: float
    cpu_ratio: float


class Report(msgspec.Struct, kw_only=True):
    """``build/reports/bench_reads.json``. Ratios are p95 with row-level security over p95 without.

    ``sequential_scans``: of tables and partitions with more than ``reads.LARGE_ROWS`` rows, during all measured
    requests.
    """

    rows: int
    plans: int
    organisations: int
    database_bytes: int
    samples: int
    reads: list[Read]
    worst_ratio: float
    worst_cpu_ratio: float
    sequential_scans: dict[str, int]
    end_to_visible_ms: dict[str, float] | None
    targets: dict[str, float]
    met: dict[str, bool | None]


def quantile_ms(seconds: list[float], percent: int) -> float:
    """The nearest-rank quantile, in ms."""
    ordered = sorted(seconds)
    rank = -(-len(ordered) * percent // 100)
    return round(1000 * ordered[max(rank, 1) - 1], 3)


def judged(
    reads: list[Read],
    size: Size,
    samples: int,
    end_to_visible_ms: dict[str, float] | None,
    scans: Mapping[str, int],
) -> Report:
    """The report with its verdicts; None where something was not measured."""
    worst = max(read.ratio for read in reads)
    return Report(
        rows=size.exercise_logs,
        plans=size.plans,
        organisations=size.organisations,
        database_bytes=size.database_bytes,
        samples=samples,
        reads=reads,
        worst_ratio=worst,
        worst_cpu_ratio=max(read.cpu_ratio for read in reads),
        sequential_scans=dict(scans),
        end_to_visible_ms=end_to_visible_ms,
        targets={"worst_ratio": TARGET_RATIO, "end_to_visible_p95_ms": TARGET_VISIBLE_MS},
        met={
            "worst_ratio": worst <= TARGET_RATIO,
            "end_to_visible_p95_ms": None
            if end_to_visible_ms is None
            else end_to_visible_ms["p95"] <= TARGET_VISIBLE_MS,
        },
    )
