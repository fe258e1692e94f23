"""An audit that could not ask is no audit that found nothing."""

from __future__ import annotations

import subprocess
import tomllib
from typing import Any

import pytest

from infra import dependency_audit
from infra.dependency_audit import LOCK, NOT_ASKED, PROJECT, VULNERABLE, Report, loose, main, read, wanted

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


HASH = "--hash=sha256:" + "a" * 64
PINNED = f"falcon==4.2.0 \\\n    {HASH} \\\n    {HASH}\n    # via restartix\n"


def test_the_lock_of_this_version_leaves_nothing_open() -> None:
    asked = wanted(tomllib.loads(PROJECT.read_text()))
    assert len(asked) > 20
    assert loose(LOCK.read_text(), asked) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("yarl>=1.9 \\\n    " + HASH, "not pinned to one version of the index: yarl>=1.9"),
        ("yarl==1.* \\\n    " + HASH, "not pinned to one version of the index: yarl==1.*"),
        ("yarl==1.9", "without a SHA-256 of each file: yarl"),
        ("yarl==1.9 \\\n    --hash=md5:" + "a" * 32, "without a SHA-256 of each file: yarl"),
        ("yarl @ https://example.org/yarl.whl", "not pinned to one version of the index: yarl @ https"),
        ("-e git+https://example.org/yarl", "not pinned to one version of the index: -e git"),
        ("--index-url https://example.org", "not pinned to one version of the index: --index-url"),
    ],
)
def test_what_a_lock_leaves_open_is_named(line: str, said: str) -> None:
    [fault] = loose(PINNED + line + "\n", ["falcon[extra]>=4"])
    assert fault.startswith(said)


def test_what_is_asked_for_has_to_be_in_the_lock() -> None:
    assert loose(PINNED, ["falcon", "Yarl_x>1"]) == ["asked for and not in the lock: Yarl_x"]
    assert loose(PINNED, ["falcon @ https://example.org/f.whl"]) == [
        "asked for by address: falcon @ https://example.org/f.whl"
    ]


@pytest.mark.parametrize(
    ("asked", "alone", "where_reachable"),
    [(0, 0, 0), (NOT_ASKED, NOT_ASKED, 0), (VULNERABLE, VULNERABLE, VULNERABLE)],
)
def test_where_nobody_could_be_asked_only_the_flag_makes_it_no_failure(
    monkeypatch: pytest.MonkeyPatch, asked: int, alone: int, where_reachable: int
) -> None:
    monkeypatch.setattr(dependency_audit, "ask", lambda: asked)
    assert main([]) == alone
    assert main(["--where-reachable"]) == where_reachable


def test_an_answer_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Done:
        stdout, stderr = "", "ERROR: unreachable"

    monkeypatch.setattr(subprocess, "run", lambda *_, **__: Done())
    assert dependency_audit.ask() == NOT_ASKED
    assert "NOT AUDITED: no advisory service answered. ERROR: unreachable" in capsys.readouterr().err
    assert Report(0, [], []).exit_code == NOT_ASKED
