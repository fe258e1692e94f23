"""The ingest benchmark's report and its arithmetic. Pure: nothing here measures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import msgspec

CONTESTANTS = ("service", "go_peer", "physical_limit")
TARGETS: Mapping[str, float] = {
    "cpu_service_to_go_peer": 0.80,
    "batches_service_to_go_peer": 1.3,
    "cpu_service_to_physical_limit": 3.0,
    "ack_p99_ms": 50.0,
    "bytes_per_live_session": 8192.0,
    "withdrawal_to_403_p99_ms": 100.0,
}
_AT_LEAST = ("batches_service_to_go_peer",)


class Round(msgspec.Struct, kw_only=True):
    """One contestant saturated once. `core_busy`: its CPU time over the time that passed, 1.0 being its whole core;
    `sender_busy` the same of the load generator on the other."""

    contestant: str
    answered: int
    cpu_us_per_batch: float
    batches_per_second: float
    core_busy: float
    sender_busy: float


class Paced(msgspec.Struct):
    """Acknowledgement times at a fixed rate, from when each request was due."""

    rate_per_s: float
    p50: float
    p99: float


class Spread(msgspec.Struct):
    """A figure over rounds, from the least to the greatest. Where a machine is shared, rounds in which it was elsewhere
    lie at one end, so the least and the quartile beside it say more of the contestant than the median does."""

    least: float
    lower_quartile: float
    median: float
    upper_quartile: float
    greatest: float


class Memory(msgspec.Struct):
    """Resident memory before and after `sessions` sessions had `batches_each` distinct batches accepted. `resends`:
    batches that were answered 503 and sent again until they were accepted."""

    sessions: int
    batches_each: int
    before_bytes: int
    after_bytes: int
    resends: int

    @property
    def bytes_per_session(self) -> int:
        return round((self.after_bytes - self.before_bytes) / self.sessions)


class Quantiles(msgspec.Struct):
    p50: float
    p99: float


class Machine(msgspec.Struct):
    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    filesystem: str
    python: str
    go: str | None
    load_average_before: float
    load_average_after: float


class Workload(msgspec.Struct):
    connections: int
    frames_per_batch: int
    body_bytes_mean: int
    distinct_bodies: int
    request_headers: str
    rounds: int
    measure_s: float
    gather_ms: float


class IngestReport(msgspec.Struct, kw_only=True):
    """build/reports/bench_ingest.json. None: not measured here, and `notes` says why."""

    cpu_us_per_batch: dict[str, float | None]
    batches_per_second: dict[str, float | None]
    ack_ms: Quantiles | None
    bytes_per_live_session: int | None
    withdrawal_to_403_ms: Quantiles | None
    ratios: dict[str, float | None]
    ratios_of_better_quartiles: dict[str, float | None]
    spread: dict[str, dict[str, Spread | None]]
    targets: dict[str, float]
    met: dict[str, bool | None]
    worker_class: str
    other_worker_classes: dict[str, dict[str, float | None]]
    ack_at_70_percent: dict[str, Paced]
    memory: dict[str, Memory]
    machine: Machine
    workload: Workload
    rounds: list[Round]
    notes: list[str]


def median_of(rounds: Sequence[Round], contestant: str, figure: str) -> float | None:
    """The median of one figure over a contestant's rounds; None without any."""
    values = [getattr(row, figure) for row in rounds if row.contestant == contestant]
    return round(statistics.median(values), 2) if values else None


def spread_of(rounds: Sequence[Round], contestant: str, figure: str) -> Spread | None:
    """The figure's quartiles, interpolated, over a contestant's rounds; None without any."""
    values = sorted(getattr(row, figure) for row in rounds if row.contestant == contestant)
    if not values:
        return None
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return Spread(*(round(value, 2) for value in (values[0], *quartiles, values[-1])))


def spreads(rounds: Sequence[Round]) -> dict[str, dict[str, Spread | None]]:
    """Every contestant's, of what is compared."""
    return {
        figure: {name: spread_of(rounds, name, figure) for name in CONTESTANTS}
        for figure in ("cpu_us_per_batch", "batches_per_second")
    }


def ratios_of_better_quartiles(spread: Mapping[str, Mapping[str, Spread | None]]) -> dict[str, float | None]:
    """The ratios over each contestant's better quarter of rounds: the lower of its CPU, the upper of its rate."""
    cpu, rate = spread["cpu_us_per_batch"], spread["batches_per_second"]
    return ratios(
        {name: None if found is None else found.lower_quartile for name, found in cpu.items()},
        {name: None if found is None else found.upper_quartile for name, found in rate.items()},
    )


def quotient(numerator: float | None, denominator: float | None) -> float | None:
    return None if numerator is None or not denominator else round(numerator / denominator, 3)


def quantiles(values_ms: Sequence[float]) -> Quantiles:
    """Median and 99th percentile (nearest rank: with fewer than 100 values, the greatest)."""
    ordered = sorted(values_ms)
    rank = -(-99 * len(ordered) // 100)
    return Quantiles(round(statistics.median(ordered), 2), round(ordered[rank - 1], 2))


def median_paced(runs: Sequence[Paced]) -> Paced:
    """The median run's figures, each by itself."""
    return Paced(
        round(statistics.median(run.rate_per_s for run in runs), 1),
        round(statistics.median(run.p50 for run in runs), 2),
        round(statistics.median(run.p99 for run in runs), 2),
    )


def ratios(cpu_us: Mapping[str, float | None], per_second: Mapping[str, float | None]) -> dict[str, float | None]:
    return {
        "cpu_service_to_go_peer": quotient(cpu_us["service"], cpu_us["go_peer"]),
        "batches_service_to_go_peer": quotient(per_second["service"], per_second["go_peer"]),
        "cpu_service_to_physical_limit": quotient(cpu_us["service"], cpu_us["physical_limit"]),
    }


def met(figures: Mapping[str, float | None]) -> dict[str, bool | None]:
    """Which targets hold; None where the figure is missing."""
    return {name: _holds(name, figures[name]) for name in TARGETS}


def judged(
    ratios_: Mapping[str, float | None], ack: Quantiles | None, memory: int | None, withdrawal: Quantiles | None
) -> dict[str, float | None]:
    """The figure of each target."""
    return {
        **ratios_,
        "ack_p99_ms": None if ack is None else ack.p99,
        "bytes_per_live_session": memory,
        "withdrawal_to_403_p99_ms": None if withdrawal is None else withdrawal.p99,
    }


def _holds(name: str, value: float | None) -> bool | None:
    if value is None:
        return None
    return value >= TARGETS[name] if name in _AT_LEAST else value <= TARGETS[name]
