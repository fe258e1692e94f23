"""The proofs' report: what each has proved, as numbers, in one JSON file.

Every test in this folder adds to a section, by the fixture ``proved``. A section is whatever its tests call it: numbers
of several tests of one section are added up (of names in ``_max`` the largest is kept), anything else is kept as last
said. New proofs bring new sections.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PROPERTY = "proved"
REQUIRED = frozenset(
    {"crashes", "power_cuts", "restarts", "soak", "attacks", "tenancy", "withdrawal_to_403_ms", "erasure"}
)


class Proofs:
    """Collected from the test reports, so that it does not matter which process ran a test."""

    def __init__(self) -> None:
        self.sections: dict[str, dict[str, Any]] = {}
        self.failed: list[str] = []

    def add(self, properties: Iterable[tuple[str, object]]) -> None:
        """Take over what one test said it proved."""
        for name, said in properties:
            if name != PROPERTY:
                continue
            assert isinstance(said, list | tuple)
            section, figures = said
            merge(self.sections.setdefault(section, {}), figures)

    def document(self) -> dict[str, Any]:
        """``ok``: no test failed, and nothing that has to be proved is missing."""
        missing = sorted(REQUIRED - self.sections.keys())
        verdict = {"ok": not self.failed and not missing, "failed": self.failed, "missing": missing}
        return {**verdict, **{name: self.sections[name] for name in sorted(self.sections)}}

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.document(), indent=2) + "\n")


def merge(section: dict[str, Any], figures: Mapping[str, Any]) -> None:
    for name, value in figures.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            section[name] = value
        elif name.endswith("_max"):
            section[name] = max(section.get(name, value), value)
        else:
            section[name] = section.get(name, 0) + value
