"""What processes used, from /proc: CPU time and resident memory of a process and all its descendants. Linux only."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Stat(NamedTuple):
    """One process: CPU time (user and system, all threads) in clock ticks; resident memory in pages."""

    pid: int
    parent_pid: int
    cpu_ticks: int
    resident_pages: int


class Usage(NamedTuple):
    """A whole tree of processes. CPU time is exact to a clock tick (10 ms) a process."""

    cpu_s: float
    resident_bytes: int


def parse_stat(text: str) -> Stat:
    """One line of /proc/PID/stat (proc(5)). A name may hold spaces and parentheses: fields begin after the last."""
    pid, _, rest = text.partition(" (")
    fields = rest.rpartition(")")[2].split()
    # proc(5) numbers fields from 1; `fields[0]` is field 3, the state.
    return Stat(int(pid), int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[21]))


def tree(stats: Iterable[Stat], root_pid: int) -> list[Stat]:
    """`root_pid` and everything it started, directly or not."""
    by_parent: dict[int, list[Stat]] = {}
    found: list[Stat] = []
    for stat in stats:
        by_parent.setdefault(stat.parent_pid, []).append(stat)
        if stat.pid == root_pid:
            found.append(stat)
    for stat in found:  # grows while it is walked
        found.extend(by_parent.get(stat.pid, ()))
    return found


def usage(root_pid: int) -> Usage:
    """What the tree under `root_pid` has used so far. Raises `ProcessLookupError` if it is gone."""
    found = tree(_all_stats(), root_pid)
    if not found:
        raise ProcessLookupError(f"no process {root_pid}")
    cpu_ticks = sum(stat.cpu_ticks for stat in found)
    return Usage(cpu_ticks / _TICKS_PER_S, sum(stat.resident_pages for stat in found) * _PAGE_BYTES)


def _all_stats() -> list[Stat]:
    stats = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            stats.append(parse_stat(path.read_text()))
    return stats
