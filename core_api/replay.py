"""Which bytes of a replay blob hold a stretch of time, from the member index of the same revision. Pure.

The blob is gzip members one after the other, each a second or so of frames, so any run of whole members decompresses
alone: a viewer that wants one repetition fetches that run with one ranged GET.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class ByteRun(NamedTuple):
    """Whole members, one after the other: bytes ``[offset, offset + length)`` of the blob."""

    offset: int
    length: int

    @property
    def http_range(self) -> str:
        """The ``Range`` header that fetches it (RFC 9110, 14.1.2: the last byte is included)."""
        return f"bytes={self.offset}-{self.offset + self.length - 1}"


def byte_run(members: Sequence[dict[str, Any]], start_ms: int, end_ms: int) -> ByteRun | None:
    """The shortest run of whole members with every frame in ``[start_ms, end_ms]``; None where no member reaches in."""
    overlapping = [each for each in members if each["start_ms"] <= end_ms and each["end_ms"] >= start_ms]
    if not overlapping:
        return None
    offset = min(each["byte_offset"] for each in overlapping)
    return ByteRun(offset, max(each["byte_offset"] + each["byte_length"] for each in overlapping) - offset)


def cycle_of(rep: dict[str, Any]) -> tuple[int, int]:
    """First and last millisecond of a repetition's cycle: the movement with its share of the rest, so that a viewer
    sees where it came from. A result stored before there were cycles has none: its start and end were the cycle's.
    """
    start_ms, end_ms = rep["cycle_start_ms"], rep["cycle_end_ms"]
    return rep["start_ms"] if start_ms is None else start_ms, rep["end_ms"] if end_ms is None else end_ms


def rep_ranges(reps: Sequence[dict[str, Any]], members: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each repetition with ``byte_offset`` and ``byte_length`` of its cycle, both None where no member overlaps it.

    Derived from the index rather than stored with the repetition, so it always fits the version the URL is pinned to.
    """
    ranges = []
    for rep in reps:
        run = byte_run(members, *cycle_of(rep))
        ranges.append(
            {
                "rep_number": rep["rep_number"],
                "start_ms": rep["start_ms"],
                "end_ms": rep["end_ms"],
                "byte_offset": None if run is None else run.offset,
                "byte_length": None if run is None else run.length,
            }
        )
    return ranges
