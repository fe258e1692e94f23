"""`python -m infra.dependency_audit`: known vulnerabilities of what requirements.lock pins, by pip-audit.

First what can be looked at without asking anybody: that the lock pins every dependency to one version of the index and
the hashes of its files. pip-audit then passes over what its advisory service does not answer for, and succeeds. Here
that is a failure of its own: an audit of nothing must not look like health.

Exit code 1: something is vulnerable; 3: not everything could be asked; 4: the lock leaves something open.
`--where-reachable` is for a CI that may have no way to an advisory service: what could not be asked is then said just
as loudly, and is no failure.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

LOCK = Path(__file__).parents[1] / "requirements.lock"
PROJECT = LOCK.with_name("pyproject.toml")
VULNERABLE, NOT_ASKED, LOOSE = 1, 3, 4
_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[\w,-]+\])?==([^\s;]+)(?: ; .+)?$")
_HASH = re.compile(r"^--hash=sha256:[0-9a-f]{64}$")
_TIMEOUT_S = 300


class Report(NamedTuple):
    """What was asked about, what was not, and what is vulnerable (``name version: advisories``)."""

    audited: int
    skipped: list[str]
    vulnerable: list[str]

    @property
    def exit_code(self) -> int:
        if self.vulnerable:
            return VULNERABLE
        return NOT_ASKED if self.skipped or not self.audited else 0


def read(document: dict[str, Any]) -> Report:
    """pip-audit's JSON."""
    skipped, vulnerable, audited = [], [], 0
    for each in document["dependencies"]:
        if "skip_reason" in each:
            skipped.append(each["name"])
            continue
        audited += 1
        if each["vulns"]:
            advisories = ", ".join(vulnerability["id"] for vulnerability in each["vulns"])
            vulnerable.append(f"{each['name']} {each['version']}: {advisories}")
    return Report(audited, skipped, vulnerable)


def loose(lock: str, wanted: list[str]) -> list[str]:
    """What a lock leaves open, a line each: not one version, no hash, another source than the index, or a dependency
    that is asked for (``wanted``, as in pyproject.toml) and not in it.
    """
    found, pinned = [], set()
    joined = re.sub(r"\\\n\s*", " ", lock)
    for line in joined.splitlines():
        text = line.partition(" #")[0].strip() if not line.startswith("#") else ""
        if not text:
            continue
        requirement, *hashes = re.split(r"\s+(?=--)", text)
        match = _PINNED.match(requirement.strip())
        if match is None or "*" in match[2]:
            found.append(f"not pinned to one version of the index: {requirement}")
            continue
        pinned.add(_normal(match[1]))
        if not hashes or not all(_HASH.match(each) for each in hashes):
            found.append(f"without a SHA-256 of each file: {match[1]}")
    for each in wanted:
        name = re.split(r"[\s\[<>=!~;@]", each, maxsplit=1)[0]
        if "@" in each.partition(";")[0]:
            found.append(f"asked for by address: {each}")
        if _normal(name) not in pinned:
            found.append(f"asked for and not in the lock: {name}")
    return found


def wanted(project: dict[str, Any]) -> list[str]:
    """Every dependency that pyproject.toml asks for, groups included."""
    groups = project.get("dependency-groups", {}).values()
    return [
        *project["project"]["dependencies"],
        *(each for group in groups for each in group if isinstance(each, str)),
    ]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.dependency_audit", description="Audit the dependencies.")
    parser.add_argument(
        "--where-reachable", action="store_true", help="no failure where no advisory service answers; it is said"
    )
    chosen = parser.parse_args(arguments)
    faults = loose(LOCK.read_text(), wanted(tomllib.loads(PROJECT.read_text())))
    for fault in faults:
        print(f"LOOSE: {fault}")
    if faults:
        return LOOSE
    print("requirements.lock pins every dependency to one version of the index and its hashes")
    code = ask()
    return 0 if code == NOT_ASKED and chosen.where_reachable else code


def ask() -> int:
    """Ask the advisory service about everything that is pinned; the exit code."""
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "-r", str(LOCK), "-f", "json"]
    try:
        done = subprocess.run(
            [*command, "--progress-spinner", "off"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        said, complaint = done.stdout, done.stderr.strip()
    except subprocess.TimeoutExpired:
        said, complaint = "", f"no answer within {_TIMEOUT_S} s"
    try:
        report = read(json.loads(said))
    except (ValueError, KeyError):
        print(f"NOT AUDITED: no advisory service answered. {(complaint.splitlines() or [''])[-1]}", file=sys.stderr)
        return NOT_ASKED
    for line in report.vulnerable:
        print(f"VULNERABLE: {line}")
    print(f"{report.audited} dependencies audited, {len(report.vulnerable)} vulnerable")
    if report.skipped or not report.audited:
        print(
            f"NOT AUDITED: the advisory service did not answer for {len(report.skipped)}"
            f" ({', '.join(report.skipped[:5])}, ...). This says nothing about them.",
            file=sys.stderr,
        )
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
