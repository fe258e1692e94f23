"""Withheld bodies leave spool and log while the session goes on; everything else stays, byte for byte and offset."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from unittest import mock
from uuid import UUID

import pytest

from pipelines.landing import layout, reader, recovery, withhold
from pipelines.landing.disk import DiskLog, DiskOptions, open_log
from pipelines.landing.withhold import Withheld
from pipelines.ports.landing import LandedRecord, RecordKind

from .sessions import START, put

SESSION = UUID(int=1)
OPTIONS = DiskOptions(free_min_bytes=0, gather_ms=0, segment_max_age_s=0.0)
WITHHELD = Withheld(batches_from=START + timedelta(milliseconds=100))
EVENTS = b'[{"event":"play"},{"event":"pause"}]'


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DiskLog]:
    log, _ = open_log(tmp_path, started_at=START, salt=b"test", options=OPTIONS)
    yield log
    log.close()


def _records(data_dir: Path) -> list[LandedRecord]:
    return reader.read_session(data_dir, SESSION).records


def _everything_on_disk(data_dir: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(data_dir.rglob("*")) if path.is_file())


def _until_taken(log: DiskLog, data_dir: Path, secret: bytes) -> None:
    for _ in range(200):
        log.maintain()
        if secret not in _everything_on_disk(data_dir):
            return
    raise AssertionError("still there")


def test_a_living_log_takes_them_out_of_spool_and_log_though_it_idles(log: DiskLog, tmp_path: Path) -> None:
    put(log, b"before", at_ms=99)
    put(log, b"secret one", at_ms=100)
    put(log, EVENTS, at_ms=101, kind=RecordKind.MEDIA)
    put(log, b"secret two", at_ms=5000)
    put(log, b"of another", session=2, at_ms=5000)
    before = _records(tmp_path)
    withhold.ask(tmp_path, SESSION, WITHHELD)
    _until_taken(log, tmp_path, b"secret")
    after = _records(tmp_path)
    assert [record._replace(body=b"") for record in after] == [record._replace(body=b"") for record in before]
    assert [record.body for record in after] == [b"before", b"", EVENTS, b""]
    assert [record.body for record in reader.read_session(tmp_path, UUID(int=2)).records] == [b"of another"]
    assert withhold.holding(tmp_path, SESSION, WITHHELD) == []
    assert list(layout.session_directory(tmp_path, SESSION).glob("*.withheld")) == []
    put(log, b"later", at_ms=99)  # goes on in the new file
    assert [record.body for record in _records(tmp_path)][1] == b"later"


def test_media_bodies_leave_their_number(log: DiskLog, tmp_path: Path) -> None:
    put(log, EVENTS, at_ms=50, kind=RecordKind.MEDIA)
    put(log, EVENTS, at_ms=200, kind=RecordKind.MEDIA)
    withhold.ask(tmp_path, SESSION, Withheld(media_from=START + timedelta(milliseconds=100)))
    for _ in range(200):
        log.maintain()
        bodies = [record.body for record in _records(tmp_path)]
        if bodies[1] != EVENTS:
            break
    assert bodies == [EVENTS, b"[null,null]"]
    assert [withhold.event_count(body) for body in bodies] == [None, 2]


def test_asked_again_it_looks_again(log: DiskLog, tmp_path: Path) -> None:
    """A worker may have accepted more before it heard of the withdrawal."""
    put(log, b"secret one", at_ms=200)
    withhold.ask(tmp_path, SESSION, WITHHELD)
    _until_taken(log, tmp_path, b"secret")
    put(log, b"secret two", at_ms=300)
    for _ in range(5):
        log.maintain()
    assert b"secret two" in [record.body for record in _records(tmp_path)]
    withhold.ask(tmp_path, SESSION, WITHHELD)
    _until_taken(log, tmp_path, b"secret")
    withhold.settle(tmp_path, SESSION)
    assert withhold.asked(tmp_path) == {}


def test_a_closed_logs_file_is_anyones_to_rewrite_and_a_living_ones_is_not(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path, started_at=START, salt=b"test", options=OPTIONS)
    put(log, b"secret", at_ms=200)
    [path] = withhold.holding(tmp_path, SESSION, WITHHELD)
    assert not withhold.is_abandoned(tmp_path, path)
    log.close()
    assert withhold.is_abandoned(tmp_path, path)
    withhold.Rewriting(path, WITHHELD).finish()
    assert b"secret" not in _everything_on_disk(tmp_path)
    assert [record.body for record in _records(tmp_path)] == [b""]


def test_recovery_brings_nothing_back(tmp_path: Path) -> None:
    """Killed after the rewriting, with the bodies still in the log: they are not redone, and the log goes."""
    data_dir, image = tmp_path / "node", tmp_path / "image"
    options = DiskOptions(free_min_bytes=0, gather_ms=0)  # a segment that stays
    log, _ = open_log(data_dir, started_at=START, salt=b"test", options=options)
    put(log, b"before", at_ms=1)
    put(log, b"secret", at_ms=200)
    withhold.ask(data_dir, SESSION, WITHHELD)
    for _ in range(200):
        log.maintain()
        if not withhold.holding(data_dir, SESSION, WITHHELD):
            break
    assert b"secret" in _everything_on_disk(data_dir)
    shutil.copytree(data_dir, image)
    log.close()
    recovery.recover_unowned(image)
    assert b"secret" not in _everything_on_disk(image)
    assert [record.body for record in _records(image)] == [b"before", b""]


def test_what_is_torn_is_not_cut(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path, started_at=START, salt=b"test", options=OPTIONS)
    put(log, b"secret", at_ms=200)
    put(log, b"before", at_ms=1)
    log.close()
    [path] = withhold.holding(tmp_path, SESSION, WITHHELD)
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    with pytest.raises(withhold.DamagedSpoolError):
        withhold.Rewriting(path, WITHHELD).finish()
    assert path.read_bytes() == content[:-3]
    assert list(path.parent.glob("*.withheld")) == []


def test_a_disk_without_room_leaves_the_file_and_the_log_alone(log: DiskLog, tmp_path: Path) -> None:
    put(log, b"secret", at_ms=200)
    withhold.ask(tmp_path, SESSION, WITHHELD)
    full = OSError(28, "No space left on device")
    with mock.patch.object(withhold.Rewriting, "finish", side_effect=full):
        for _ in range(3):
            log.maintain()
            put(log, b"more", at_ms=1)
    assert log.failure is None
    assert b"secret" in [record.body for record in _records(tmp_path)]


def test_a_large_file_is_read_piece_by_piece(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path, started_at=START, salt=b"test", options=OPTIONS)
    bodies = [bytes([number]) * 300_000 for number in range(12)]
    for number, body in enumerate(bodies):
        put(log, body, at_ms=100 if number % 3 == 0 else 0)
    log.close()
    with mock.patch.object(withhold, "_PIECE_BYTES", 100_000):
        [path] = withhold.holding(tmp_path, SESSION, WITHHELD)
        withhold.Rewriting(path, WITHHELD).finish()
    found = {record.offset: record.body for record in _records(tmp_path)}
    assert [found[offset] for offset in sorted(found)] == [
        b"" if number % 3 == 0 else body for number, body in enumerate(bodies)
    ]
