"""How much a log may still write: the disk's reserve, and a bound on the node's own bytes.

The disk is looked at every few seconds; between two looks a log counts what it writes itself, so it stops in time
however fast it is filled. Belongs here: measuring and counting. What is refused for want of room is ``disk``'s to say.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pipelines.landing import layout

# A scan stats every spool file. It may take one hundredth of a thread's time, and no more than this between two.
_SCAN_SHARE = 0.01
_SCAN_INTERVAL_MAX_S = 60.0


class DiskUse(NamedTuple):
    """Bytes at the last look; ``log_bytes`` and ``spool_bytes`` over all workers of the node."""

    log_bytes: int
    spool_bytes: int
    free_bytes: int


class Room:
    """The bytes left to one log. ``look`` blocks; the rest does not. One thread at a time may look."""

    def __init__(
        self,
        data_dir: Path,
        free_min_bytes: int,
        use_max_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._data_dir = data_dir
        self._free_min_bytes = free_min_bytes
        self._use_max_bytes = use_max_bytes
        self._monotonic = monotonic
        self._spent_bytes = 0  # ever
        self._spent_at_look_bytes = 0
        self._spent_at_scan_bytes = 0
        self._budget_bytes = 0
        self._scan_due_s = monotonic()
        self.use = DiskUse(0, 0, 0)

    @property
    def is_full(self) -> bool:
        return self._spent_bytes - self._spent_at_look_bytes >= self._budget_bytes

    def spend(self, byte_count: int) -> None:
        """Count bytes that are about to be written."""
        self._spent_bytes += byte_count

    def look(self) -> None:
        """Measure the disk anew. Raises ``OSError``."""
        spent_bytes = self._spent_bytes  # what is written while we measure counts again: the careful side
        status = os.statvfs(self._data_dir)
        free_bytes = status.f_bavail * status.f_frsize
        started_s = self._monotonic()
        log_bytes, spool_bytes = self.use.log_bytes, self.use.spool_bytes
        if started_s >= self._scan_due_s:
            log_bytes = _bytes_below(layout.wal_directory(self._data_dir))
            spool_bytes = _bytes_below(layout.spool_directory(self._data_dir))
            self._spent_at_scan_bytes = spent_bytes
            ended_s = self._monotonic()
            self._scan_due_s = ended_s + min(_SCAN_INTERVAL_MAX_S, (ended_s - started_s) / _SCAN_SHARE)
        used_bytes = log_bytes + spool_bytes + spent_bytes - self._spent_at_scan_bytes
        self.use = DiskUse(log_bytes, spool_bytes, free_bytes)
        self._budget_bytes = min(free_bytes - self._free_min_bytes, self._use_max_bytes - used_bytes)
        self._spent_at_look_bytes = spent_bytes


def _bytes_below(directory: Path) -> int:
    """The size of all files in the directories of ``directory``. What vanishes meanwhile is passed over."""
    total_bytes = 0
    for inner in os.scandir(directory):
        try:
            with os.scandir(inner.path) as entries:
                for entry in entries:
                    try:
                        total_bytes += entry.stat(follow_symlinks=False).st_size
                    except FileNotFoundError:
                        continue
        except (FileNotFoundError, NotADirectoryError):
            continue
    return total_bytes
