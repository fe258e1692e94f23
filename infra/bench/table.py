"""The ingest benchmark's report as a table for people. Pure."""

from __future__ import annotations

from infra.bench.figures import CONTESTANTS, TARGETS, IngestReport, Spread, judged

_WIDTH = 44


def table(report: IngestReport) -> str:
    """The figures, then each target with what was measured."""
    lines = [
        "",
        f"{'median of ' + str(report.workload.rounds) + ' rounds':<{_WIDTH}}{'us CPU a batch':>16}{'batches/s':>12}",
    ]
    for name in CONTESTANTS:
        label = f"service ({report.worker_class})" if name == "service" else name.replace("_", " ")
        lines.append(_row(label, report.cpu_us_per_batch[name], report.batches_per_second[name]))
    for name, figures in report.other_worker_classes.items():
        lines.append(_row(f"service ({name})", figures["cpu_us_per_batch"], figures["batches_per_second"]))
    lines += ["", f"{'rounds: least, quartiles, greatest':<{_WIDTH}}{'':>5}us CPU a batch; batches/s"]
    for name in CONTESTANTS:
        both = (report.spread[figure][name] for figure in ("cpu_us_per_batch", "batches_per_second"))
        lines.append(f"{name.replace('_', ' '):<{_WIDTH}}     " + "; ".join(map(_spread, both)))
    for name, ratio in report.ratios_of_better_quartiles.items():
        lines.append(f"{'better quartiles: ' + name:<{_WIDTH}}{_number(ratio):>16}")
    lines.append("")
    measured = judged(report.ratios, report.ack_ms, report.bytes_per_live_session, report.withdrawal_to_403_ms)
    words = {True: "met", False: "missed", None: "not measured"}
    for name, target in TARGETS.items():
        bound = ">=" if name == "batches_service_to_go_peer" else "<="
        lines.append(f"{name:<{_WIDTH}}{_number(measured[name]):>16}   {bound} {target:<8g} {words[report.met[name]]}")
    lines += ["", *report.notes]
    return "\n".join(lines)


def _row(label: str, cpu_us: float | None, per_second: float | None) -> str:
    return f"{label:<{_WIDTH}}{_number(cpu_us):>16}{_number(per_second):>12}"


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    values = (spread.least, spread.lower_quartile, spread.median, spread.upper_quartile, spread.greatest)
    return " ".join(f"{value:.0f}" for value in values)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.2f}"
