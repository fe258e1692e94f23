"""An audit that could not ask is no audit that found nothing."""

from __future__ import annotations

from typing import Any

import pytest

from infra.dependency_audit import NOT_ASKED, VULNERABLE, read

CLEAN = {"name": "falcon", "version": "4.0", "vulns": []}
SKIPPED = {"name": "yarl", "skip_reason": "Dependency not found on PyPI"}
BAD = {"name": "old", "version": "0.1", "vulns": [{"id": "PYSEC-1"}, {"id": "PYSEC-2"}]}


@pytest.mark.parametrize(
    ("dependencies", "code"),
    [
        ([CLEAN], 0),
        ([], NOT_ASKED),
        ([CLEAN, SKIPPED], NOT_ASKED),
        ([SKIPPED], NOT_ASKED),
        ([BAD, SKIPPED], VULNERABLE),
    ],
)
def test_only_a_whole_audit_without_findings_succeeds(dependencies: list[dict[str, Any]], code: int) -> None:
    assert read({"dependencies": dependencies}).exit_code == code


def test_findings_are_named() -> None:
    assert read({"dependencies": [BAD]}).vulnerable == ["old 0.1: PYSEC-1, PYSEC-2"]
