"""The benchmark measures real work: it counts what it simulated, and writes what it says."""

from __future__ import annotations

from pathlib import Path

import msgspec
from click.testing import CliRunner

from infra.bench.analysis import Report, analysis


def test_the_benchmark_counts_what_it_simulated_and_writes_ratios(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    result = CliRunner().invoke(analysis, ["--session-s", "40", "--rounds", "1", "--out", str(out)])
    assert result.exit_code == 0, result.output
    report = msgspec.json.decode(out.read_bytes(), type=Report)
    assert report.reps_counted == report.reps_simulated == 10
    assert report.batch_count == -(-report.frame_count // 30)
    assert report.compressed_bytes > report.frame_count * 33 * 4
    assert len(report.measures) == 2
    assert all(row.cpu_ms > 0 and row.gunzip_cpu_ms > 0 for row in report.measures)
