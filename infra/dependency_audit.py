"""`python -m infra.dependency_audit`: known vulnerabilities of what requirements.lock pins, by pip-audit.

pip-audit passes over what its advisory service does not answer for, and succeeds. Here that is a failure of its own: an
audit of nothing must not look like health. Exit code 1: something is vulnerable; 3: not everything could be asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

LOCK = Path(__file__).parents[1] / "requirements.lock"
VULNERABLE, NOT_ASKED = 1, 3
_TIMEOUT_S = 600


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


def main() -> int:
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "-r", str(LOCK), "-f", "json"]
    done = subprocess.run(
        [*command, "--progress-spinner", "off"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    try:
        report = read(json.loads(done.stdout))
    except (ValueError, KeyError):
        print(f"NOT AUDITED: no advisory service answered.\n{done.stderr.strip()[-2000:]}", file=sys.stderr)
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
