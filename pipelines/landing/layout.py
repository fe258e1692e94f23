"""Where things lie in a node's data directory, and how files there are made: private, and known to the directory.

::

    wal/<slot>/lock                    held while a worker owns the slot
    wal/<slot>/<log>.<base>.wal        segments of a log; <base> is the offset of the first byte after the file header
    spool/<session_id>/<log>.spool     the same records, by session
    closed/<session_id>                an end that was acknowledged
    withheld/<session_id>              bodies that are to be taken out of the session's spool files

A log's name is new at every start of a worker, so an offset never means two things.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import Self
from uuid import UUID

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def wal_directory(data_dir: Path) -> Path:
    return data_dir / "wal"


def finaliser_metrics(data_dir: Path) -> Path:
    """What the node's finaliser counts, in Prometheus' text format; it serves no HTTP, the ingest service does."""
    return data_dir / "finaliser.prom"


def spool_directory(data_dir: Path) -> Path:
    return data_dir / "spool"


def session_directory(data_dir: Path, session_id: UUID) -> Path:
    return spool_directory(data_dir) / str(session_id)


def spool_path(data_dir: Path, session_id: UUID, log: str) -> Path:
    return session_directory(data_dir, session_id) / f"{log}.spool"


def closed_directory(data_dir: Path) -> Path:
    return data_dir / "closed"


def withheld_directory(data_dir: Path) -> Path:
    return data_dir / "withheld"


def prepare(data_dir: Path) -> None:
    """Make the three directories, durably. May be repeated."""
    data_dir.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    for directory in (wal_directory(data_dir), spool_directory(data_dir), closed_directory(data_dir)):
        directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    sync_directory(data_dir)


def sync_directory(directory: Path) -> None:
    """A file that was synced is only found after a power cut if its directory was synced too."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class WholeSync:
    """One sync of everything on a file system, for who has written more files than are worth an ``fsync`` each.

    To be made before the writing: errors of writing back are told from then on. ``with`` closes it. Linux since 5.8.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)

    @staticmethod
    def is_known() -> bool:
        """Whether this system has the call, and tells of errors by it: before, Linux's ``syncfs`` never failed."""
        release = re.match(r"(\d+)\.(\d+)", os.uname().release)
        if sys.platform != "linux" or release is None:
            return False
        return (int(release[1]), int(release[2])) >= (5, 8) and hasattr(_libc(), "syncfs")

    def sync(self) -> None:
        """Raises ``OSError``."""
        if _libc().syncfs(self._descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def uuid_names(directory: Path) -> list[UUID]:
    """The entries that are named by a UUID, sorted; drafts and strangers are passed over."""
    found: list[UUID] = []
    try:
        names = [path.name for path in directory.iterdir()]
    except FileNotFoundError:
        return found
    for name in names:
        try:
            session_id = UUID(name)
        except ValueError:
            continue
        if str(session_id) == name:
            found.append(session_id)
    return sorted(found)
