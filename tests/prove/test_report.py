"""The report says no where a proof failed, or is not there."""

from __future__ import annotations

import json
from pathlib import Path

from .report import PROPERTY, REQUIRED, Proofs


def _whole() -> Proofs:
    proofs = Proofs()
    for section in sorted(REQUIRED):
        proofs.add([(PROPERTY, (section, {"lost": 0, "done": 2})), ("other", 1)])
    return proofs


def test_the_report_adds_up_and_is_open_to_new_sections(tmp_path: Path) -> None:
    proofs = _whole()
    proofs.add(
        [(PROPERTY, ["crashes", {"lost": 0, "done": 3, "machine": "a"}]), (PROPERTY, ("something_new", {"rows": 1}))]
    )
    proofs.write(tmp_path / "deep" / "prove.json")
    written = json.loads((tmp_path / "deep" / "prove.json").read_text())
    assert written["ok"] is True
    assert written["crashes"] == {"lost": 0, "done": 5, "machine": "a"}
    assert written["something_new"] == {"rows": 1}


def test_the_report_is_not_ok_where_a_test_failed_or_a_section_is_missing() -> None:
    failed = _whole()
    failed.failed.append("tests/prove/test_x.py::test_y")
    assert failed.document()["ok"] is False
    lacking = _whole()
    del lacking.sections["soak"]
    assert lacking.document()["ok"] is False
    assert lacking.document()["missing"] == ["soak"]
