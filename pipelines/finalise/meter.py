"""What the finaliser tells Prometheus: of its safety copies, and of sessions that have ended and wait for it. A text
file, because it serves no HTTP.

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
_GAUGES = {
    "waiting": ("restartix_finaliser_waiting_sessions", "Sessions that have ended and are not finalised."),
    "oldest_s": ("restartix_finaliser_waiting_seconds", "How long ago the first of them ended; 0 where there is none."),
    "unknown": (
        "restartix_finaliser_unknown_sessions",
        "Sessions on this disk that the store does not know as its own.",
    ),
    "seen_s": ("restartix_finaliser_seen_timestamp_seconds", "When the finaliser last wrote this, as Unix time."),
}
_FAILED = ("restartix_finaliser_failed_total", "Sessions given up; each needs a person.")
_ABORTED = ("restartix_safety_copy_aborted_total", "Safety copies given up, by reason.")


class CopyMeter:
    """Counters; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._aborted: Counter[str] = Counter()
        self._gauges = dict.fromkeys(_GAUGES, 0.0)

    def waiting(self, count: int, oldest_s: float) -> None:
        """Sessions that have ended and wait; ``oldest_s``: for how long the first of them."""
        with self._lock:
            self._gauges |= {"waiting": count, "oldest_s": oldest_s}

    def unknown(self, count: int) -> None:
        """Sessions on this disk that nobody can place; nothing of them is deleted."""
        with self._lock:
            self._gauges["unknown"] = count

    def given_up(self) -> None:
        with self._lock:
            self._counts["failed"] += 1

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
            for name, (metric, description) in {**_COUNTERS, "failed": _FAILED}.items():
                lines += [*_heading(metric, description, "counter"), f"{metric} {self._counts[name]}"]
            for name, (metric, description) in _GAUGES.items():
                lines += [*_heading(metric, description, "gauge"), f"{metric} {self._gauges[name]:.3f}"]
            metric, description = _ABORTED
            lines += _heading(metric, description, "counter")
            lines += [f'{metric}{{reason="{reason}"}} {count}' for reason, count in sorted(self._aborted.items())]
            return "\n".join(lines) + "\n"

    def write(self, data_dir: Path, now_s: float) -> None:
        """Replace the file, so that a reader sees it whole. ``now_s``: Unix time. One thread. Raises ``OSError``."""
        with self._lock:
            self._gauges["seen_s"] = now_s
        draft = data_dir / "finaliser.prom.draft"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, layout.FILE_MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self.render())
        draft.replace(layout.finaliser_metrics(data_dir))


def _heading(metric: str, description: str, kind: str) -> list[str]:
    return [f"# HELP {metric} {description}", f"# TYPE {metric} {kind}"]
