"""The finaliser's benchmark measures the finaliser's own work on a real spool, and writes what was asked of it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from infra.bench.finaliser import finaliser, land, session_row, spool_to_aggregates


def test_the_report_has_the_agreed_figures(tmp_path: Path) -> None:
    out = tmp_path / "bench_finaliser.json"
    result = CliRunner().invoke(finaliser, ["--session-s", "40", "--rounds", "1", "--no-upload", "--out", str(out)])
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_bytes())
    assert set(report) == {"finaliser_seconds", "gunzip_seconds", "ratio", "upload_seconds", "peak_rss_bytes"}
    assert report["ratio"] > 1.0
    assert 0.0 < report["gunzip_seconds"] < report["finaliser_seconds"]
    assert report["peak_rss_bytes"] > 10_000_000
    assert report["upload_seconds"] is None
    assert "1200 frames; 9 of 9 repetitions counted" in result.output


def test_what_is_measured_is_the_whole_way_from_the_spool(tmp_path: Path) -> None:
    reps = land(tmp_path, 20)
    computed = spool_to_aggregates(tmp_path, session_row())
    assert computed.pose is not None
    assert computed.pose.frame_count == 600
    assert computed.pose.rep_count == reps == 4
    assert computed.blob is not None
    assert len(computed.entries) == 20
    assert all(byte_range is not None for byte_range in computed.rep_byte_ranges)
