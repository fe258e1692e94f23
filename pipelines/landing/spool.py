"""A session's spool: one file a log, records as in the log, written without fsync, redone from the log after a crash.

Belongs here: writing, scanning and removing these files. Which records are missing is recovery's business.
"""

from __future__ import annotations

import os
import shutil
from collections import OrderedDict
from collections.abc import Iterable, Set
from pathlib import Path
from uuid import UUID

from pipelines.landing import layout
from pipelines.landing.record import Record, scan


class SpoolWriter:
    """Appends to the spool files of one log, at most ``open_files_max`` of them open. Not for two threads at once."""

    def __init__(self, data_dir: Path, log: str, open_files_max: int = 1024) -> None:
        self._data_dir = data_dir
        self._log = log
        self._open_files_max = open_files_max
        self._descriptors: OrderedDict[int, int] = OrderedDict()  # by the id's number, whose hash is the quicker one
        self._unnamed: set[UUID] = set()

    def write(self, session_id: UUID, parts: list[bytes]) -> None:
        """Append ``parts``, whole or not at all (the file is cut back if the disk is full). Raises ``OSError``."""
        descriptor = self._descriptor(session_id)
        total_bytes = sum(map(len, parts))
        written_bytes = os.writev(descriptor, parts)
        if written_bytes == total_bytes:
            return
        rest = memoryview(b"".join(parts))
        try:
            while written_bytes < total_bytes:
                written_bytes += os.write(descriptor, rest[written_bytes:])
        except OSError:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written_bytes)
            raise

    def take_unnamed(self) -> set[UUID]:
        """The sessions whose file was made since the last call: their names are still to be synced."""
        unnamed, self._unnamed = self._unnamed, set()
        return unnamed

    def let_go(self, session_id: UUID) -> None:
        """Close the session's file, if it is open; the next write finds it by its name."""
        if (descriptor := self._descriptors.pop(session_id.int, None)) is not None:
            os.close(descriptor)

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def _descriptor(self, session_id: UUID) -> int:
        key = session_id.int
        descriptor = self._descriptors.get(key)
        if descriptor is not None:
            self._descriptors.move_to_end(key)
            return descriptor
        while len(self._descriptors) >= self._open_files_max:
            os.close(self._descriptors.popitem(last=False)[1])
        path = layout.spool_path(self._data_dir, session_id, self._log)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            path.parent.mkdir(mode=layout.DIRECTORY_MODE, exist_ok=True)
            self._unnamed.add(session_id)  # before the file is there: a name synced in vain harms nothing
            descriptor = os.open(path, flags | os.O_CREAT, layout.FILE_MODE)
        self._descriptors[key] = descriptor
        return descriptor


def read(path: Path) -> list[Record]:
    """The whole records of one spool file; a torn tail is left out. Empty where there is no file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return list(scan(content))


def cut_torn_tail(path: Path) -> int:
    """Cut what follows the last whole record; gives that record's offset, -1 where there is none."""
    records = read(path)
    whole_bytes = records[-1].end_position if records else 0
    if path.exists() and path.stat().st_size > whole_bytes:
        os.truncate(path, whole_bytes)
    return records[-1].offset if records else -1


def rewrite(path: Path) -> None:
    """Write a spool file anew beside itself, sync it, and put it in its own place. No error if it is not there.

    For files whose sync failed: their pages may count as written without having been, and only new ones are written.
    """
    draft = path.with_suffix(".draft")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, layout.FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def sync(data_dir: Path, session_ids: Iterable[UUID], log: str, unnamed: Set[UUID]) -> None:
    """Make the spool files of ``log`` for these sessions durable, and the names of those that are ``unnamed``: a name
    stays durable, a sync of it costs as much as one of the file. A removed session is passed over.
    """
    for session_id in session_ids:
        try:
            layout.sync_file(layout.spool_path(data_dir, session_id, log))
            if session_id in unnamed:
                layout.sync_directory(layout.session_directory(data_dir, session_id))
        except FileNotFoundError:
            continue
    if unnamed:
        layout.sync_directory(layout.spool_directory(data_dir))


def remove(data_dir: Path, session_id: UUID) -> None:
    """Delete all of a session's spool files. No error if there are none.

    Only for a session that accepts nothing more (its token has expired, or its end is marked): a worker may still hold
    the file open, and gives it up with its next segment.
    """
    shutil.rmtree(layout.session_directory(data_dir, session_id), ignore_errors=True)
