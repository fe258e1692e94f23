"""Which bytes of a replay blob hold a repetition, from the member index of the same revision. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def rep_ranges(reps: Sequence[dict[str, Any]], members: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each repetition with ``byte_offset`` and ``byte_length``: the shortest run of whole members with all its frames.

    Both are None where no member overlaps it. A range is a sequence of whole gzip members, so it decompresses alone.
    Derived from the index rather than stored with the repetition, so it always fits the version the URL is pinned to.
    """
    ranges = []
    for rep in reps:
        overlapping = [
            member for member in members if member["start_ms"] <= rep["end_ms"] and member["end_ms"] >= rep["start_ms"]
        ]
        offset = min((member["byte_offset"] for member in overlapping), default=None)
        end = max((member["byte_offset"] + member["byte_length"] for member in overlapping), default=None)
        ranges.append(
            {
                "rep_number": rep["rep_number"],
                "start_ms": rep["start_ms"],
                "end_ms": rep["end_ms"],
                "byte_offset": offset,
                "byte_length": None if offset is None or end is None else end - offset,
            }
        )
    return ranges
