"""Closed markers: the node's memory of ends it has acknowledged, so that every worker answers later data with 409.

The end itself is a record in the log; a marker lost in a crash is made again by recovery. The first end wins, and a
marker is never changed, so the same end asked again is answered the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from pipelines.landing import layout

# Less than an end takes from its marker to its answer (a sync lies between), so who was told of it is not surprised.
_LOOK_INTERVAL_S = 0.002
_STAMP_UNCERTAIN_NS = 50_000_000  # ten milliseconds are the coarsest


class End(msgspec.Struct, frozen=True, kw_only=True):
    """An acknowledged end. ``reason``: completed, abandoned or consent_withdrawn."""

    reason: str
    ended_at: datetime


def mark(data_dir: Path, session_id: UUID, end: End) -> End:
    """Mark the session as ended, durably; gives the end that stands, which is the first one marked.

    Raises ``OSError``.
    """
    drafted = draft(data_dir, session_id, end)
    try:
        layout.sync_file(drafted)
        is_first = place(data_dir, session_id, drafted)
        # The log that could make it again may be given up at any moment from now on.
        layout.sync_directory(layout.closed_directory(data_dir))
    finally:
        drafted.unlink(missing_ok=True)
    return end if is_first else read(data_dir, session_id) or end


def draft(data_dir: Path, session_id: UUID, end: End) -> Path:
    """A marker beside its place, not synced. Raises ``OSError``, and leaves nothing then."""
    path = layout.closed_directory(data_dir) / f".{session_id}.{uuid4().hex}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, layout.FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(end))
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return path


def place(data_dir: Path, session_id: UUID, drafted: Path) -> bool:
    """Put a synced draft in its place; False if another end stands there. The directory is still to be synced."""
    try:
        os.link(drafted, layout.closed_directory(data_dir) / str(session_id))  # unlike a rename, refuses to replace
    except FileExistsError:
        return False
    return True


def read(data_dir: Path, session_id: UUID) -> End | None:
    """The end that was marked, None while the session is open."""
    try:
        content = (layout.closed_directory(data_dir) / str(session_id)).read_bytes()
    except FileNotFoundError:
        return None
    return msgspec.json.decode(content, type=End)


def is_closed(data_dir: Path, session_id: UUID) -> bool:
    return is_marked(marker(data_dir, session_id))


def marker(data_dir: Path, session_id: UUID) -> str:
    """The marker's path, for who asks ``is_marked`` often: making it costs more than looking."""
    return str(layout.closed_directory(data_dir) / str(session_id))


def is_marked(path: str) -> bool:
    return os.access(path, os.F_OK)


class Watch:
    """Whether any marker may have been made: one look at the directory for all who ask within a moment."""

    def __init__(
        self,
        data_dir: Path,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._directory = layout.closed_directory(data_dir)
        self._monotonic = monotonic
        self._wall_ns = wall_ns
        self._looked_s = -_LOOK_INTERVAL_S
        self._changed_ns = 0
        self._state = 0

    def state(self) -> int:
        """A number that is another one after any marker was made or removed, ``_LOOK_INTERVAL_S`` later at most: who
        has not found a marker need not look again while it is the same. Raises ``OSError``.
        """
        now_s = self._monotonic()
        if now_s - self._looked_s >= _LOOK_INTERVAL_S:
            changed_ns = self._directory.stat().st_mtime_ns
            # The system's stamps are as coarse as its ticks: for that long a second change may have the first's stamp.
            if changed_ns != self._changed_ns or abs(self._wall_ns() - changed_ns) < _STAMP_UNCERTAIN_NS:
                self._state += 1
            self._changed_ns = changed_ns
            self._looked_s = now_s
        return self._state


def sessions(data_dir: Path) -> list[UUID]:
    """Every session with a marker, sorted."""
    return layout.uuid_names(layout.closed_directory(data_dir))


def remove(data_dir: Path, session_id: UUID) -> None:
    """Forget the end. No error if there is none."""
    (layout.closed_directory(data_dir) / str(session_id)).unlink(missing_ok=True)
