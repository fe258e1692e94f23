"""Taking bodies back out of the spool: what a withdrawal of consent reaches back to, while its session goes on.

The record stays where it is, with its receipt, hash and kind, so that what was acknowledged can still be counted; its
body goes. A log's spool file is rewritten by whoever alone may write it: the log's own thread while its worker lives,
the node's finaliser after that. The finaliser knows the ledger, so it *asks*, by one file a session in
``<data_dir>/withheld``, which every living log looks at. All of it may be repeated, and be cut off at any moment.

Belongs here: what is withheld, asking for it, and rewriting a file. When, and for which session, is the finaliser's.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec

from pipelines.landing import layout, slot
from pipelines.landing.record import BODY_MAX_BYTES, HEADER_BYTES, Record, encode_header, from_microseconds, scan
from pipelines.ports.landing import RecordKind

_PIECE_BYTES = 4 * 1024 * 1024


class Withheld(msgspec.Struct, frozen=True, kw_only=True):
    """Of which receipts on no body may stay, by what the body is; None: none is withheld. Aware times."""

    batches_from: datetime | None = None
    media_from: datetime | None = None

    def reaches(self, record: Record) -> bool:
        """Whether this record's body has to go, and is still there."""
        begins_at = {RecordKind.BATCH: self.batches_from, RecordKind.MEDIA: self.media_from}.get(record.kind)
        if begins_at is None or not record.body or from_microseconds(record.received_at_us) < begins_at:
            return False
        return record.kind is RecordKind.BATCH or event_count(record.body) is None


class Ask(NamedTuple):
    """One session's wish. ``asked_ns`` differs where it was asked again."""

    withheld: Withheld
    asked_ns: int


class DamagedSpoolError(OSError):
    """A spool file does not end with a whole record though nobody writes it: rewriting would cut what follows."""


def emptied(record: Record) -> bytes:
    """What stands in a withheld record's place: nothing of a batch, and of media events how many they were."""
    if record.kind is not RecordKind.MEDIA:
        return b""
    return msgspec.json.encode([None] * len(msgspec.json.decode(record.body, type=list[msgspec.Raw])))


def event_count(body: bytes) -> int | None:
    """How many media events were withheld in this body; None where they are still there."""
    try:
        return len(msgspec.json.decode(body, type=list[None]))
    except msgspec.DecodeError:
        return None


def ask(data_dir: Path, session_id: UUID, withheld: Withheld) -> None:
    """Have every living log of the node take these bodies out of its file. Asking again has it look again."""
    directory = layout.withheld_directory(data_dir)
    directory.mkdir(mode=layout.DIRECTORY_MODE, exist_ok=True)
    draft = directory / f".{session_id}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, layout.FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(withheld))
    draft.replace(directory / str(session_id))


def asked(data_dir: Path) -> dict[UUID, Ask]:
    """What is asked for now."""
    found = {}
    for session_id in layout.uuid_names(layout.withheld_directory(data_dir)):
        path = layout.withheld_directory(data_dir) / str(session_id)
        with contextlib.suppress(FileNotFoundError):
            asked_ns = path.stat().st_mtime_ns  # before it is read: asked again meanwhile, it is looked at again
            found[session_id] = Ask(msgspec.json.decode(path.read_bytes(), type=Withheld), asked_ns)
    return found


def settle(data_dir: Path, session_id: UUID) -> None:
    """Nothing more is asked for this session. No error if nothing was."""
    (layout.withheld_directory(data_dir) / str(session_id)).unlink(missing_ok=True)


def holding(data_dir: Path, session_id: UUID, withheld: Withheld) -> list[Path]:
    """The session's spool files in which something is that is to be withheld. Raises ``OSError``."""
    return [
        path
        for path in sorted(layout.session_directory(data_dir, session_id).glob("*.spool"))
        if any(withheld.reaches(record) for record, _ in _records(path, 0))
    ]


def is_abandoned(data_dir: Path, path: Path) -> bool:
    """Whether nobody writes this spool file any more: its log is closed or recovered, and no log's name comes again."""
    return not any(path.stem in slot.segments(directory) for directory in slot.directories(data_dir))


class Rewriting:
    """One spool file, rewritten in two steps: all that is in it now, which may take long and needs nobody to wait, and
    then what came meanwhile, while nobody else writes the file.
    """

    def __init__(self, path: Path, withheld: Withheld) -> None:
        """Raises ``OSError``."""
        self._path = path
        self._withheld = withheld
        self._draft = path.with_suffix(".withheld")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._draft, flags, layout.FILE_MODE)
        self._position = 0
        try:
            self._copy()
            os.fsync(self._descriptor)
        except BaseException:
            self.abandon()
            raise

    def finish(self) -> None:
        """Only where nobody writes the file, or holds it open to write it later.

        Afterwards the file is durable under its name, whatever was before. Raises ``OSError``; the file is then as it
        was, or rewritten. Nothing happens where the session was removed meanwhile.
        """
        try:
            self._copy()
            if self._position != self._path.stat().st_size:
                raise DamagedSpoolError(f"{self._path} is damaged after {self._position} bytes")
            os.fsync(self._descriptor)
            self._draft.replace(self._path)
            layout.sync_directory(self._path.parent)
        except FileNotFoundError:
            pass
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Give up, or let go after ``finish``."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._draft.unlink(missing_ok=True)

    def _copy(self) -> None:
        """Append what the file has beyond ``_position``, up to its last whole record."""
        for record, content in _records(self._path, self._position):
            if self._withheld.reaches(record):
                body = emptied(record)
                self._write(_header(record, body) + body)
            else:
                self._write(content)
            self._position += len(content)

    def _write(self, content: bytes) -> None:
        written_bytes = os.write(self._descriptor, content)
        while written_bytes < len(content):  # a nearly full disk, or a signal
            written_bytes += os.write(self._descriptor, content[written_bytes:])


def _header(record: Record, body: bytes) -> bytes:
    return encode_header(
        record.kind, record.offset, record.received_at_us, record.session_id.bytes, record.payload_hash, body
    )


def _records(path: Path, position: int) -> Iterator[tuple[Record, bytes]]:
    """The whole records from ``position`` on, each with its bytes. Piece by piece: a spool may be large, and its writer
    may cut it back meanwhile. Raises ``FileNotFoundError``.
    """
    with path.open("rb") as file:
        file.seek(position)
        pending, last_offset = b"", -1
        while len(pending) <= HEADER_BYTES + BODY_MAX_BYTES and (piece := file.read(_PIECE_BYTES)):
            pending += piece
            begin = 0
            for record in scan(pending):
                if record.offset <= last_offset:
                    return
                yield record, pending[begin : record.end_position]
                begin, last_offset = record.end_position, record.offset
            pending = pending[begin:]
