"""Slots: the lock-owned places of logs. A worker owns one slot for its life; a successor finds its logs there.

All locks are the kernel's (``flock``), so they fall with the process however it dies. The slot's lock says who may
write and recover there; the lock on each segment says that its log is alive, and a segment nobody holds is unrecovered.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections import defaultdict
from pathlib import Path

from pipelines.landing import layout

SLOT_COUNT_MAX = 256
_SEGMENT_NAME = re.compile(r"(?P<log>[0-9a-z-]+)\.(?P<base>\d{20})\.wal")


class NoFreeSlotError(Exception):
    """More workers than slots: something starts workers without end."""


class Slot:
    """An owned slot. ``name`` is like ``w3``."""

    def __init__(self, directory: Path, descriptor: int) -> None:
        self.directory = directory
        self.name = directory.name
        self._descriptor = descriptor

    def suspect_spool(self) -> None:
        """Note for recovery that a sync of the spool failed: what it reads there may not be on the disk."""
        (self.directory / "suspect").touch(layout.FILE_MODE)
        layout.sync_directory(self.directory)

    @property
    def spool_is_suspect(self) -> bool:
        return (self.directory / "suspect").exists()

    def trust_spool(self) -> None:
        (self.directory / "suspect").unlink(missing_ok=True)

    def release(self) -> None:
        os.close(self._descriptor)


def segment_name(log: str, base: int) -> str:
    return f"{log}.{base:020d}.wal"


def segments(directory: Path) -> dict[str, list[tuple[int, Path]]]:
    """Per log in a slot, its segments as (base offset, path) in order."""
    found: defaultdict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in sorted(directory.iterdir()):
        if match := _SEGMENT_NAME.fullmatch(path.name):
            found[match["log"]].append((int(match["base"]), path))
    return dict(found)


def directories(data_dir: Path) -> list[Path]:
    try:
        return sorted(path for path in layout.wal_directory(data_dir).iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def try_own(directory: Path) -> Slot | None:
    """Own this slot if nobody does."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, layout.FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return Slot(directory, descriptor)


def acquire(data_dir: Path) -> Slot:
    """The first free slot, made where it is not there. Raises ``NoFreeSlotError``."""
    for number in range(SLOT_COUNT_MAX):
        directory = layout.wal_directory(data_dir) / f"w{number}"
        if not directory.exists():
            directory.mkdir(mode=layout.DIRECTORY_MODE, exist_ok=True)
            layout.sync_directory(directory.parent)
        if (owned := try_own(directory)) is not None:
            return owned
    raise NoFreeSlotError(f"all {SLOT_COUNT_MAX} slots under {layout.wal_directory(data_dir)} are owned")


def hold_segment(descriptor: int) -> None:
    """Mark an open segment as a living log's, until the descriptor is closed. Waits out a reader's look at the lock."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_held(path: Path) -> bool:
    """Whether a living log holds this segment; a segment that has just gone counts as held, it was checkpointed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def has_unrecovered_log(data_dir: Path) -> bool:
    return any(
        not _is_held(path)
        for directory in directories(data_dir)
        for log_segments in segments(directory).values()
        for _, path in log_segments
    )
