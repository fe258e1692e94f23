"""Closed markers: the node's memory of ends it has acknowledged, so that every worker answers later data with 409.

The end itself is a record in the log; a marker lost in a crash is made again by recovery. The first end wins, and a
marker is never changed, so the same end asked again is answered the same.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from pipelines.landing import layout


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


def sessions(data_dir: Path) -> list[UUID]:
    """Every session with a marker, sorted."""
    return layout.uuid_names(layout.closed_directory(data_dir))


def remove(data_dir: Path, session_id: UUID) -> None:
    """Forget the end. No error if there is none."""
    (layout.closed_directory(data_dir) / str(session_id)).unlink(missing_ok=True)
