"""A node's word that nothing of an erased session is on its disk.

Belongs here: looking, and saying so. Does not belong here: removing (the finaliser's clean-up removes the spool of an
erased session; its log's segments go when they are checkpointed).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from uuid import UUID

import structlog

from pipelines.landing import layout

_PIECE_BYTES = 1 << 20


class NodeErasures(Protocol):
    """Raises the store's errors."""

    def due(self, node_id: str, sessions_max: int = 1000) -> list[UUID]:
        """Erased sessions this node was home to and has not spoken about."""
        ...

    def confirm(self, node_id: str, session_ids: Sequence[UUID]) -> None:
        """Nothing of these is on the node's disk."""
        ...


def holding(data_dir: Path, session_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the sessions of which anything is on the disk: a spool, an end, something asked to be withheld, or a
    record in any log. Logs are searched for the bytes of the id, whatever state they are in. Raises ``OSError``.
    """
    found = {
        session_id
        for session_id in session_ids
        if layout.session_directory(data_dir, session_id).exists()
        or (layout.closed_directory(data_dir) / str(session_id)).exists()
        or (layout.withheld_directory(data_dir) / str(session_id)).exists()
    }
    needles = {session_id.bytes: session_id for session_id in session_ids if session_id not in found}
    for path in sorted(layout.wal_directory(data_dir).rglob("*")):
        if needles and path.is_file():
            for needle in _in_file(path, needles):
                found.add(needles.pop(needle))
    return found


def _in_file(path: Path, needles: dict[bytes, UUID]) -> set[bytes]:
    """Which of the 16-byte needles are in the file; a segment that is deleted meanwhile holds nothing."""
    found: set[bytes] = set()
    try:
        with path.open("rb") as file:
            tail = b""
            while piece := file.read(_PIECE_BYTES):
                window = tail + piece
                found |= {needle for needle in needles if needle in window}
                tail = window[-15:]
    except FileNotFoundError:
        return set()
    return found


def confirm(data_dir: Path, node_id: str, store: NodeErasures) -> tuple[int, int]:
    """Say of every erased session that is gone from this disk that it is. How many were confirmed, and are not yet."""
    due = store.due(node_id)
    if not due:
        return 0, 0
    held = holding(data_dir, due)
    gone = [session_id for session_id in due if session_id not in held]
    if gone:
        store.confirm(node_id, gone)
    return len(gone), len(held)


def confirm_forever(
    data_dir: Path,
    node_id: str,
    store: NodeErasures,
    *,
    interval_s: float,
    stop: threading.Event,
    log: structlog.stdlib.BoundLogger,
) -> None:
    """``confirm`` every ``interval_s`` until ``stop``; a store or disk that is away is logged and asked again."""
    while not stop.wait(interval_s):
        try:
            confirmed, waiting = confirm(data_dir, node_id, store)
        except Exception as error:
            log.warning("erasures not confirmed", error=f"{type(error).__name__}: {error}")
            continue
        if confirmed or waiting:
            log.info("erasures", confirmed=confirmed, waiting=waiting)
