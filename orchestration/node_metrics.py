"""What ingest nodes tell Prometheus, read by a sensor: how full their disks are, and spools nobody knows.

Belongs here: the few figures an operator is warned of. Does not belong here: the metrics' making (`ingest_service`, the
finaliser).
"""

from __future__ import annotations

import math
import urllib.request
from typing import NamedTuple

TIMEOUT_S = 3.0
BODY_MAX_BYTES = 4 * 1024 * 1024


class NodeFigures(NamedTuple):
    """One node; None where it does not say."""

    spool_bytes: int | None
    log_bytes: int | None
    disk_free_bytes: int | None
    waiting_sessions: int | None
    waiting_s: float | None
    unknown_sessions: int | None
    finaliser_seen_s: float | None  # Unix time of the finaliser's last sign of life


def parse(text: str) -> NodeFigures:
    """The figures in Prometheus' text format; other metrics, and values that are not numbers, are passed over."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name.startswith("#") or "{" in name:
            continue
        try:
            number = float(value.split(" ")[0])
        except ValueError:
            continue
        if math.isfinite(number):
            found[name] = number

    def whole(metric: str) -> int | None:
        return int(found[metric]) if metric in found else None

    return NodeFigures(
        spool_bytes=whole("ingest_spool_bytes"),
        log_bytes=whole("ingest_log_bytes"),
        disk_free_bytes=whole("ingest_disk_free_bytes"),
        waiting_sessions=whole("restartix_finaliser_waiting_sessions"),
        waiting_s=found.get("restartix_finaliser_waiting_seconds"),
        unknown_sessions=whole("restartix_finaliser_unknown_sessions"),
        finaliser_seen_s=found.get("restartix_finaliser_seen_timestamp_seconds"),
    )


def fetch(url: str) -> NodeFigures:
    """Raises OSError, ValueError."""
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        return parse(answer.read(BODY_MAX_BYTES).decode("utf-8", "replace"))
