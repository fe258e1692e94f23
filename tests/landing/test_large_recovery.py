"""A recovery of ten thousand sessions: few syncs, and the same result as file by file."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock
from uuid import UUID

import msgspec
import pytest

from pipelines.landing import closed, layout, reader, recovery, slot
from pipelines.landing.record import HEADER_BYTES, encode_header, to_microseconds
from pipelines.ports.landing import NO_HASH, RecordKind

from .sessions import START, header

_LOG = "w0-0-00"


def _dead_log(data_dir: Path, session_count: int, ended_count: int) -> None:
    """What a worker that was killed leaves: one segment with a batch of each session, and some ends; no spool."""
    layout.prepare(data_dir)
    owned = slot.acquire(data_dir)
    offset = 0
    with (owned.directory / slot.segment_name(_LOG, 0)).open("wb") as segment:
        for number in range(1, session_count + 1):
            records = [
                (RecordKind.OPEN, msgspec.json.encode(header(number))),
                (RecordKind.BATCH, b"batch %d" % number),
            ]
            if number <= ended_count:
                records.append((RecordKind.END, b'{"reason":"completed"}'))
            for kind, body in records:
                head = encode_header(kind, offset, to_microseconds(START), UUID(int=number).bytes, NO_HASH, body)
                segment.write(head + body)
                offset += HEADER_BYTES + len(body)
    owned.release()


def test_ten_thousand_sessions_are_synced_at_once(tmp_path: Path) -> None:
    _dead_log(tmp_path, 10_000, 500)
    with (
        mock.patch.object(os, "fsync", side_effect=os.fsync) as fsync,
        mock.patch.object(layout.WholeSync, "sync", autospec=True, side_effect=layout.WholeSync.sync) as whole,
    ):
        report = recovery.recover_unowned(tmp_path)
    assert (report.records_seen, report.records_redone) == (20_500, 20_500)
    if layout.WholeSync.is_known():
        assert whole.call_count == 1
        assert fsync.call_count < 10  # the directories
    assert not reader.has_unrecovered_log(tmp_path)
    assert len(reader.list_sessions(tmp_path)) == 10_000
    for number in (1, 5_000, 10_000):
        batch = reader.read_session(tmp_path, UUID(int=number)).records[0]
        assert batch.body == b"batch %d" % number
    assert len(closed.sessions(tmp_path)) == 500
    assert [path.name for path in layout.closed_directory(tmp_path).iterdir() if path.name.startswith(".")] == []


def test_a_sync_of_all_that_fails_leaves_the_log(tmp_path: Path) -> None:
    if not layout.WholeSync.is_known():
        pytest.skip("this system has no such call")
    _dead_log(tmp_path, 100, 100)
    failure = mock.patch.object(layout.WholeSync, "sync", side_effect=OSError(5, "Input/output error"))
    with failure, pytest.raises(OSError, match="Input/output"):
        recovery.recover_unowned(tmp_path)
    assert reader.has_unrecovered_log(tmp_path)
    assert closed.sessions(tmp_path) == []  # nothing stands that may not be on the disk
    recovery.recover_unowned(tmp_path)
    assert len(closed.sessions(tmp_path)) == 100
    assert not reader.has_unrecovered_log(tmp_path)


def test_a_marker_that_stands_is_kept(tmp_path: Path) -> None:
    _dead_log(tmp_path, 40, 40)
    standing = closed.End(reason="abandoned", ended_at=START)
    closed.mark(tmp_path, UUID(int=7), standing)
    recovery.recover_unowned(tmp_path)
    assert closed.read(tmp_path, UUID(int=7)) == standing
    other = closed.read(tmp_path, UUID(int=8))
    assert other is not None
    assert other.reason == "completed"


def test_what_the_call_says_is_told(tmp_path: Path) -> None:
    if not layout.WholeSync.is_known():
        pytest.skip("this system has no such call")
    with layout.WholeSync(tmp_path) as whole:
        whole.sync()
    with pytest.raises(OSError, match="Bad file descriptor"):
        whole.sync()
