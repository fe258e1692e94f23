"""The media benchmark measures real work, and its data frame gives the production totals or says so."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from infra.bench import media as bench
from infra.bench.media import Report, media
from pipelines.media.counters import Counters


def test_it_counts_what_it_simulated_and_writes_ratios(tmp_path: Path) -> None:
    out = tmp_path / "bench_media.json"
    result = CliRunner().invoke(media, ["--sessions", "100", "--rounds", "1", "--out", str(out)])
    assert result.exit_code == 0, result.output
    report = msgspec.json.decode(out.read_bytes(), type=Report)
    once, twice, long = report.measures
    assert (once.sessions, twice.events, long.sessions) == (100, 2 * once.events, 5)
    assert once.events >= 100 * 8
    assert all(row.events_per_second > 0 and row.ratio > 0 for row in report.measures)
    assert [row.views for row in report.data_frame] == [1, 100]


def test_other_totals_are_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "counted", lambda _events: Counters())
    with pytest.raises(AssertionError, match="other totals"):
        bench.measure(1, 1)
