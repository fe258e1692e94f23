"""The report's arithmetic, and what of it is shown."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.bench import figures
from infra.bench.contestants import parse_accepted, parse_refused
from infra.bench.figures import IngestReport, Machine, Memory, Paced, Quantiles, Round, Workload
from infra.bench.table import table


def _round(contestant: str, cpu_us: float, per_second: float) -> Round:
    return Round(
        contestant=contestant,
        answered=1000,
        cpu_us_per_batch=cpu_us,
        batches_per_second=per_second,
        core_busy=1.0,
        sender_busy=0.2,
    )


ROUNDS = [
    _round("service", 160.0, 6000.0),
    _round("go_peer", 200.0, 4000.0),
    _round("service", 150.0, 6600.0),
    _round("service", 900.0, 1000.0),  # a disturbed round
    _round("go_peer", 220.0, 4400.0),
]


def test_a_disturbed_round_does_not_move_the_median() -> None:
    assert figures.median_of(ROUNDS, "service", "cpu_us_per_batch") == 160.0
    assert figures.median_of(ROUNDS, "go_peer", "batches_per_second") == 4200.0


def test_a_contestant_that_could_not_run_is_none_everywhere_and_never_zero() -> None:
    assert figures.median_of(ROUNDS, "physical_limit", "cpu_us_per_batch") is None
    cpu = {"service": 160.0, "go_peer": 200.0, "physical_limit": None}
    per_second = {"service": 6000.0, "go_peer": 4000.0, "physical_limit": None}
    found = figures.ratios(cpu, per_second)
    assert found == {
        "cpu_service_to_go_peer": 0.8,
        "batches_service_to_go_peer": 1.5,
        "cpu_service_to_physical_limit": None,
    }
    verdict = figures.met(figures.judged(found, None, None, None))
    assert verdict["cpu_service_to_physical_limit"] is None
    assert verdict["ack_p99_ms"] is None


@pytest.mark.parametrize(
    ("name", "value", "holds"),
    [
        ("cpu_service_to_go_peer", 0.80, True),
        ("cpu_service_to_go_peer", 0.801, False),
        ("batches_service_to_go_peer", 1.3, True),  # the one where more is better
        ("batches_service_to_go_peer", 1.29, False),
        ("bytes_per_live_session", 8192, True),
        ("bytes_per_live_session", 8193, False),
    ],
)
def test_a_target_is_met_up_to_its_bound(name: str, value: float, holds: bool) -> None:
    assert figures.met(dict.fromkeys(figures.TARGETS) | {name: value})[name] is holds


def test_a_spread_shows_the_disturbed_round_and_its_better_quartile_does_not() -> None:
    found = figures.spread_of(ROUNDS, "service", "cpu_us_per_batch")
    assert found == figures.Spread(150.0, 155.0, 160.0, 530.0, 900.0)
    assert figures.spread_of(ROUNDS[:1], "service", "cpu_us_per_batch") == figures.Spread(*[160.0] * 5)
    assert figures.spread_of(ROUNDS, "physical_limit", "cpu_us_per_batch") is None
    better = figures.ratios_of_better_quartiles(figures.spreads(ROUNDS))
    assert better["cpu_service_to_go_peer"] == round(155.0 / 205.0, 3)
    assert better["batches_service_to_go_peer"] == round(6300.0 / 4300.0, 3)
    assert better["cpu_service_to_physical_limit"] is None


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=400))
def test_quantiles_are_ordered_and_the_99th_leaves_at_most_one_in_a_hundred_above(values_ms: list[float]) -> None:
    found = figures.quantiles(values_ms)
    assert found.p50 <= found.p99 + 0.01
    above = sum(value > found.p99 + 0.005 for value in values_ms)
    assert above <= len(values_ms) / 100
    assert any(abs(value - found.p99) <= 0.005 + 1e-9 for value in values_ms)


def test_memory_is_the_difference_shared_out() -> None:
    assert Memory(10_000, 150, 100_000_000, 160_000_000, 0).bytes_per_session == 6000


def test_paced_runs_give_the_median_of_each_figure() -> None:
    runs = [Paced(100.0, 5.0, 20.0), Paced(101.0, 4.0, 90.0), Paced(99.0, 6.0, 30.0)]
    assert figures.median_paced(runs) == Paced(100.0, 5.0, 30.0)


def test_accepted_records_are_counted_by_kind_from_prometheus_text() -> None:
    text = (
        "# HELP ingest_accepted_total Acknowledged requests\n"
        'ingest_accepted_total{kind="batch"} 1.5e+06\n'
        'ingest_accepted_total{kind="media"} 3.0\n'
        'ingest_accepted_created{kind="duplicate"} 1.7e+09\n'
        'ingest_rejected_total{code="not_ready"} 2.0\n'
    )
    assert parse_accepted(text) == {"batch": 1_500_000.0, "duplicate": 0.0, "media": 3.0}
    assert parse_refused(text) == {"not_ready": 2.0}


def _report(ack: Quantiles | None) -> IngestReport:
    cpu = {name: figures.median_of(ROUNDS, name, "cpu_us_per_batch") for name in figures.CONTESTANTS}
    per_second = {name: figures.median_of(ROUNDS, name, "batches_per_second") for name in figures.CONTESTANTS}
    ratios = figures.ratios(cpu, per_second)
    return IngestReport(
        cpu_us_per_batch=cpu,
        batches_per_second=per_second,
        ack_ms=ack,
        bytes_per_live_session=6000,
        withdrawal_to_403_ms=None,
        ratios=ratios,
        ratios_of_better_quartiles=figures.ratios_of_better_quartiles(figures.spreads(ROUNDS)),
        spread=figures.spreads(ROUNDS),
        targets=dict(figures.TARGETS),
        met=figures.met(figures.judged(ratios, ack, 6000, None)),
        worker_class="gevent",
        other_worker_classes={},
        ack_at_70_percent={},
        memory={},
        machine=Machine("a processor", 2, 8.0, "6.1", "ext4", "3.11", None, 0.1, 0.2),
        workload=Workload(64, 30, 14_700, 512, "plain", 3, 5.0, 2.0),
        rounds=ROUNDS,
        notes=["physical limit not measured: no header"],
    )


def test_the_report_has_the_agreed_keys_and_survives_json() -> None:
    report = _report(Quantiles(4.0, 12.0))
    encoded = msgspec.json.encode(report)
    raw = msgspec.json.decode(encoded)
    assert raw["cpu_us_per_batch"] == {"service": 160.0, "go_peer": 210.0, "physical_limit": None}
    assert set(raw["batches_per_second"]) == {"service", "go_peer", "physical_limit"}
    assert raw["ack_ms"] == {"p50": 4.0, "p99": 12.0}
    assert raw["withdrawal_to_403_ms"] is None
    assert msgspec.json.decode(encoded, type=IngestReport) == report


def test_the_table_says_what_was_missed_and_what_was_not_measured() -> None:
    lines = table(_report(Quantiles(4.0, 99.0))).splitlines()

    def line(name: str) -> str:
        return next(line for line in lines if line.startswith(name))

    assert "missed" in line("ack_p99_ms")
    assert "met" in line("cpu_service_to_go_peer")
    assert "not measured" in line("cpu_service_to_physical_limit")
    assert "not measured" in line("withdrawal_to_403_p99_ms")
    assert line("physical limit").split()[-2:] == ["-", "-"]
    assert lines[-1] == "physical limit not measured: no header"
