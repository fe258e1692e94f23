"""What the finaliser counts of its safety copies, for Prometheus: a text file, because it serves no HTTP.

The file is ``<data_dir>/finaliser.prom`` in the exposition format, replaced whole; the node's ingest
service passes it on in its ``/metrics``. Counters begin at 0 with the process.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path
from typing import Literal

from pipelines.landing import layout

Reason = Literal["not_beginning", "consent", "settled", "stray", "expired"]

_COUNTERS = {
    "parts": ("restartix_safety_copy_parts_total", "Parts of running sessions that reached the blob store."),
    "bytes": ("restartix_safety_copy_bytes_total", "Bytes of those parts."),
    "completed": ("restartix_safety_copy_completed_total", "Safety copies that became the sealed blob."),
    "restored": ("restartix_safety_copy_restored_total", "Safety copies completed because a node's disk was lost."),
}
_ABORTED = ("restartix_safety_copy_aborted_total", "Safety copies given up, by reason.")


class CopyMeter:
    """Counters; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._aborted: Counter[str] = Counter()

    def uploaded(self, size_bytes: int) -> None:
        with self._lock:
            self._counts["parts"] += 1
            self._counts["bytes"] += size_bytes

    def completed(self) -> None:
        with self._lock:
            self._counts["completed"] += 1

    def restored(self) -> None:
        with self._lock:
            self._counts["restored"] += 1

    def aborted(self, reason: Reason) -> None:
        with self._lock:
            self._aborted[reason] += 1

    def render(self) -> str:
        """The counters in Prometheus' text format."""
        with self._lock:
            lines = []
            for name, (metric, description) in _COUNTERS.items():
                lines += [
                    f"# HELP {metric} {description}",
                    f"# TYPE {metric} counter",
                    f"{metric} {self._counts[name]}",
                ]
            metric, description = _ABORTED
            lines += [f"# HELP {metric} {description}", f"# TYPE {metric} counter"]
            lines += [f'{metric}{{reason="{reason}"}} {count}' for reason, count in sorted(self._aborted.items())]
            return "\n".join(lines) + "\n"

    def write(self, data_dir: Path) -> None:
        """Replace the file, so that a reader sees it whole. Raises ``OSError``."""
        draft = data_dir / "finaliser.prom.draft"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, layout.FILE_MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self.render())
        draft.replace(layout.finaliser_metrics(data_dir))
