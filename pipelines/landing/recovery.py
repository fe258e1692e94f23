"""Recovery: what a dead worker's log holds and the spool lacks is redone, then the log goes.

Idempotent: records are redone by offset, so a recovery that was itself killed is simply done again. Torn tails, in log
and spool, are cut by checksum; nothing in a torn tail was acknowledged, because acknowledging comes after the sync.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec

from pipelines.landing import closed, layout, slot, spool
from pipelines.landing.record import HEADER_BYTES, Record, encode_header, from_microseconds, scan
from pipelines.ports.landing import RecordKind

# More files than this are synced all at once: an ``fsync`` each took the most of a large recovery's time.
_ONE_BY_ONE_MAX = 32


class RecoveryReport(NamedTuple):
    """What a recovery found. ``cut_bytes``: bytes after the last whole record of a segment, never acknowledged."""

    logs: int = 0
    records_seen: int = 0
    records_redone: int = 0
    cut_bytes: int = 0

    def plus(self, other: RecoveryReport) -> RecoveryReport:
        return RecoveryReport(*(a + b for a, b in zip(self, other, strict=True)))


class EndBody(msgspec.Struct):
    """The body of an ``END`` record."""

    reason: str


def recover_unowned(data_dir: Path) -> RecoveryReport:
    """Recover every slot nobody owns, for instance of workers that are no longer started. Raises ``OSError``."""
    report = RecoveryReport()
    for directory in slot.directories(data_dir):
        if not slot.segments(directory):
            continue
        owned = slot.try_own(directory)
        if owned is None:
            continue
        try:
            report = report.plus(recover_slot(data_dir, owned))
        finally:
            owned.release()
    return report


def recover_slot(data_dir: Path, owned: slot.Slot) -> RecoveryReport:
    """Redo and delete every log left in a slot the caller owns and does not yet write to. Raises ``OSError``."""
    report = RecoveryReport()
    for log, segments in slot.segments(owned.directory).items():
        report = report.plus(_recover_log(data_dir, log, segments, rewrite=owned.spool_is_suspect))
        for _, path in segments:
            path.unlink()
        layout.sync_directory(owned.directory)
    owned.trust_spool()
    return report


def _recover_log(data_dir: Path, log: str, segments: list[tuple[int, Path]], *, rewrite: bool) -> RecoveryReport:
    last_spooled: dict[UUID, int] = {}
    ends: dict[UUID, closed.End] = {}
    seen = redone = cut_bytes = 0
    with layout.WholeSync(data_dir) as whole:
        writer = spool.SpoolWriter(data_dir, log)
        try:
            for base, path in segments:
                content = path.read_bytes()
                whole_bytes = 0
                for record in _records_in_place(content, base):
                    seen += 1
                    whole_bytes = record.end_position
                    if record.session_id not in last_spooled:
                        session_path = layout.spool_path(data_dir, record.session_id, log)
                        last_spooled[record.session_id] = spool.cut_torn_tail(session_path)
                    if record.offset > last_spooled[record.session_id]:
                        _redo(writer, record)
                        redone += 1
                    if record.kind is RecordKind.END:
                        ends.setdefault(record.session_id, _end(record))
                cut_bytes += len(content) - whole_bytes
        finally:
            writer.close()
        if rewrite:
            for session_id in last_spooled:
                spool.rewrite(layout.spool_path(data_dir, session_id, log))
        _settle(data_dir, log, last_spooled.keys(), ends, whole)
    return RecoveryReport(1, seen, redone, cut_bytes)


def _settle(
    data_dir: Path, log: str, sessions: Set[UUID], ends: Mapping[UUID, closed.End], whole: layout.WholeSync
) -> None:
    """Make the spool files durable, and such markers of ``ends`` as are missing; many files by one sync of them all."""
    at_once = len(sessions) > _ONE_BY_ONE_MAX and layout.WholeSync.is_known()
    drafts: dict[UUID, Path] = {}
    try:
        for session_id, end in ends.items():
            if not closed.is_closed(data_dir, session_id):
                drafts[session_id] = closed.draft(data_dir, session_id, end)
        if at_once:
            whole.sync()
        else:
            spool.sync(data_dir, sessions, log, unnamed=sessions)
            for drafted in drafts.values():
                layout.sync_file(drafted)
        for session_id, drafted in drafts.items():
            closed.place(data_dir, session_id, drafted)
    finally:
        for drafted in drafts.values():
            drafted.unlink(missing_ok=True)
    if ends:
        layout.sync_directory(layout.closed_directory(data_dir))


def _records_in_place(content: bytes, base: int) -> Iterator[Record]:
    position = 0
    for record in scan(content):
        if record.offset != base + position:
            return
        yield record
        position = record.end_position


def _redo(writer: spool.SpoolWriter, record: Record) -> None:
    header = encode_header(
        record.kind,
        record.offset,
        record.received_at_us,
        record.session_id.bytes,
        record.payload_hash,
        record.body,
    )
    assert len(header) == HEADER_BYTES
    writer.write(record.session_id, [header, record.body])


def _end(record: Record) -> closed.End:
    reason = msgspec.json.decode(record.body, type=EndBody).reason
    return closed.End(reason=reason, ended_at=from_microseconds(record.received_at_us))
