"""Crashes: whatever was acknowledged is read back, at whatever instant the worker died and whatever it left."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.landing import closed, disk, layout, log_files, reader, recovery, slot, spool
from pipelines.landing.disk import DiskLog, DiskOptions, open_log
from pipelines.landing.record import HEADER_BYTES
from pipelines.ports.landing import (
    NO_HASH,
    LandingBusyError,
    LandingFailedError,
    LandingFullError,
    RecordKind,
)

from .sessions import START, header, put

OPTIONS = DiskOptions(free_min_bytes=0, gather_ms=0)


def _open(data_dir: Path, salt: int = 0, options: DiskOptions = OPTIONS) -> DiskLog:
    return open_log(data_dir, started_at=START, salt=salt.to_bytes(4), options=options)[0]


def _image(node: Path, image: Path) -> Path:
    """What a kill -9 at this instant would leave: the files, and nobody's lock."""
    shutil.copytree(node, image)
    return image


def _bodies(data_dir: Path, session: int = 1) -> list[bytes]:
    return [record.body for record in reader.read_session(data_dir, UUID(int=session)).records]


def _segment(data_dir: Path) -> Path:
    (path,) = sorted(layout.wal_directory(data_dir).glob("*/*.wal"))
    return path


def test_a_log_is_live_while_its_worker_lives_and_unrecovered_after(tmp_path: Path) -> None:
    node = tmp_path / "node"
    log = _open(node)
    put(log, b"one")
    assert not reader.has_unrecovered_log(node)
    image = _image(node, tmp_path / "image")
    assert reader.has_unrecovered_log(image)
    report = recovery.recover_unowned(image)
    assert (report.logs, report.records_redone, report.cut_bytes) == (1, 0, 0)
    assert not reader.has_unrecovered_log(image)
    log.close()
    assert not reader.has_unrecovered_log(node)
    assert list(layout.wal_directory(node).glob("*/*.wal")) == []
    assert _bodies(node) == _bodies(image) == [b"one"]


def test_a_lost_spool_is_redone_from_the_log(tmp_path: Path) -> None:
    node = tmp_path / "node"
    log = _open(node)
    for place in range(5):
        put(log, f"body {place}".encode(), session=1 + place % 2)
    image = _image(node, tmp_path / "image")
    before = {session: reader.read_session(node, UUID(int=session)) for session in (1, 2)}
    log.close()
    shutil.rmtree(layout.spool_directory(image))
    layout.prepare(image)
    assert recovery.recover_unowned(image).records_redone == 5 + 2  # the headers too
    for session in (1, 2):
        assert reader.read_session(image, UUID(int=session)) == before[session]


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_power_cut_at_any_byte(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """The log is durable up to what was acknowledged; beyond it, and in the spool, any prefix may be all there is."""
    root = tmp_path_factory.mktemp("cut")
    node = root / "node"
    log = _open(node)
    sizes = data.draw(st.lists(st.integers(0, 300), min_size=1, max_size=8))
    ends: list[tuple[int, int]] = []
    for place, size in enumerate(sizes):
        receipt = put(log, bytes([place]) * size, session=1 + place % 2)
        ends.append((receipt.offset + HEADER_BYTES + size, place))
    image = _image(node, root / "image")
    log.close()
    segment = _segment(image)
    cut = data.draw(st.integers(0, segment.stat().st_size))
    os.truncate(segment, cut)
    with segment.open("ab") as file:
        file.write(data.draw(st.sampled_from([b"", bytes(400), os.urandom(400)])))
    for path in layout.spool_directory(image).glob("*/*.spool"):
        # The spool is written after the log's sync, so it never holds more than the log does.
        shutil.copy(path, path.with_suffix(".full"))
        keep = data.draw(st.integers(0, path.stat().st_size))
        os.truncate(path, keep)
        path.with_suffix(".full").unlink()
    twice = _image(image, root / "twice")
    recovery.recover_unowned(image)
    durable = [place for end, place in ends if end <= cut]
    for session in (1, 2):
        expected = [bytes([place]) * sizes[place] for place in durable if 1 + place % 2 == session]
        if expected:
            found = _bodies(image, session)
            assert found[: len(expected)] == expected
    # A recovery that is itself killed before it deletes the log is done again and gives the same.
    _recover_without_deleting(twice)
    recovery.recover_unowned(twice)
    assert [reader.read_session(twice, s) for s in _with_records(twice)] == [
        reader.read_session(image, s) for s in _with_records(image)
    ]


def _with_records(data_dir: Path) -> list[UUID]:
    return [
        session_id
        for session_id in reader.list_sessions(data_dir)
        if any(spool.read(path) for path in layout.session_directory(data_dir, session_id).iterdir())
    ]


def _recover_without_deleting(data_dir: Path) -> None:
    copy = data_dir.with_suffix(".wal")
    shutil.copytree(layout.wal_directory(data_dir), copy)
    recovery.recover_unowned(data_dir)
    shutil.rmtree(layout.wal_directory(data_dir))
    shutil.copytree(copy, layout.wal_directory(data_dir))


def test_a_successor_takes_the_slot_and_recovers_it(tmp_path: Path) -> None:
    node = tmp_path / "node"
    log = _open(node)
    put(log, b"one")
    image = _image(node, tmp_path / "image")
    log.close()
    for path in layout.spool_directory(image).glob("*/*.spool"):
        path.unlink()
    successor, report = open_log(image, started_at=START, salt=b"next", options=OPTIONS)
    assert report.records_redone == 2
    assert successor.name != log.name
    assert successor.name.startswith("w0-")
    put(successor, b"two", at_ms=1)
    assert _bodies(image) == [b"one", b"two"]
    assert not reader.has_unrecovered_log(image)
    successor.close()


def test_two_workers_own_two_slots(tmp_path: Path) -> None:
    one, two = _open(tmp_path, 1), _open(tmp_path, 2)
    assert {one.name.split("-")[0], two.name.split("-")[0]} == {"w0", "w1"}
    one.close()
    two.close()


def test_an_end_that_was_acknowledged_is_marked_again(tmp_path: Path) -> None:
    node = tmp_path / "node"
    log = _open(node)
    put(log, b"one")
    log.append(header(1), RecordKind.END, START, NO_HASH, b'{"reason":"abandoned"}')
    image = _image(node, tmp_path / "image")
    log.close()
    assert reader.closed_sessions(image) == []
    recovery.recover_unowned(image)
    assert reader.closed_sessions(image) == [UUID(int=1)]
    assert closed.read(image, UUID(int=1)) == closed.End(reason="abandoned", ended_at=START)


def test_the_first_end_stands(tmp_path: Path) -> None:
    layout.prepare(tmp_path)
    first = closed.End(reason="completed", ended_at=START)
    assert closed.read(tmp_path, UUID(int=1)) is None
    assert closed.mark(tmp_path, UUID(int=1), first) == first
    assert closed.mark(tmp_path, UUID(int=1), closed.End(reason="abandoned", ended_at=START)) == first
    assert closed.is_closed(tmp_path, UUID(int=1))
    assert [path.name for path in layout.closed_directory(tmp_path).iterdir()] == [str(UUID(int=1))]
    closed.remove(tmp_path, UUID(int=1))
    assert not closed.is_closed(tmp_path, UUID(int=1))


def test_rotation_and_checkpoint_keep_everything_and_free_the_log(tmp_path: Path) -> None:
    node = tmp_path / "node"
    log = _open(node, options=_small_segments())
    for place in range(30):
        put(log, bytes([place]) * 500, session=1 + place % 3)
        log.maintain()
    put(log, b"last")
    segments = list(layout.wal_directory(node).glob("*/*.wal"))
    assert 1 <= len(segments) <= 3
    assert not reader.has_unrecovered_log(node)
    image = _image(node, tmp_path / "image")
    recovery.recover_unowned(image)
    for session in (1, 2, 3):
        expected = [bytes([place]) * 500 for place in range(30) if 1 + place % 3 == session]
        assert _bodies(image, session) == expected + ([b"last"] if session == 1 else [])
    log.close()


def test_a_removed_spool_is_given_up_with_the_next_segment(tmp_path: Path) -> None:
    log = _open(tmp_path, options=_small_segments())
    put(log, b"x" * 2000)
    spool.remove(tmp_path, UUID(int=1))
    log.maintain()
    log.maintain()

    def open_spools() -> list[str]:
        paths = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - entries vanish
        return [str(path.readlink()) for path in paths if path.is_symlink() and ".spool" in str(path.readlink())]

    deadline_s = time.monotonic() + 5
    while open_spools() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert open_spools() == []
    put(log, b"later", session=1)
    assert _bodies(tmp_path) == [b"later"]
    log.close()


def test_rotations_asked_for_in_haste_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = _open(tmp_path, options=_small_segments())
    real = slot.hold_segment

    def ask_again(descriptor: int) -> None:
        log._rotate = True  # as maintain does while the rotation is under way
        real(descriptor)

    put(log, b"x" * 2000)
    monkeypatch.setattr(slot, "hold_segment", ask_again)
    log.maintain()
    for _ in range(3):
        put(log, b"y")
    assert log.failure is None
    log.close()


def _small_segments() -> DiskOptions:
    return DiskOptions(free_min_bytes=0, gather_ms=0, segment_max_bytes=1500)


def test_files_are_private(tmp_path: Path) -> None:
    node = tmp_path / "node"
    log = _open(node)
    put(log, b"one")
    closed.mark(node, UUID(int=1), closed.End(reason="completed", ended_at=START))
    for path in node.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    log.close()


def _fail_with(number: int) -> Callable[..., int]:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_full_disk_refuses_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "node"
    log = _open(node)
    put(log, b"before")
    real = os.writev

    def half(descriptor: int, buffers: list[bytes]) -> int:
        return real(descriptor, [b"".join(buffers)[: sum(map(len, buffers)) // 2]])

    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", half)
        patch.setattr(os, "write", _fail_with(errno.ENOSPC))
        with pytest.raises(LandingFullError):
            put(log, b"lost")
    receipt = put(log, b"after")
    assert _bodies(node) == [b"before", b"after"]
    image = _image(node, tmp_path / "image")
    shutil.rmtree(layout.spool_directory(image))
    layout.prepare(image)
    recovery.recover_unowned(image)
    assert _bodies(image) == [b"before", b"after"]
    assert reader.read_session(image, UUID(int=1)).consumed[log.name] == receipt.offset + HEADER_BYTES + 5
    log.close()


@pytest.mark.parametrize("bound", [DiskOptions(free_min_bytes=2**62), DiskOptions(free_min_bytes=0, use_max_bytes=0)])
def test_below_the_reserve_only_ends_are_taken(tmp_path: Path, bound: DiskOptions) -> None:
    log = _open(tmp_path, options=bound)
    assert log.full
    for kind in (RecordKind.BATCH, RecordKind.DUPLICATE, RecordKind.MEDIA):
        with pytest.raises(LandingFullError):
            put(log, b"refused", kind=kind)
    put(log, b'{"reason":"completed"}', kind=RecordKind.END)
    assert [record.kind for record in reader.read_session(tmp_path, UUID(int=1)).records] == ["end"]
    log.close()


def test_the_nodes_own_bytes_are_bounded_also_between_two_looks(tmp_path: Path) -> None:
    options = DiskOptions(free_min_bytes=0, gather_ms=0, use_max_bytes=50_000)
    log = _open(tmp_path, options=options)
    taken = 0
    with pytest.raises(LandingFullError):
        while True:
            put(log, bytes([taken]) * 928, session=1 + taken % 3)
            taken += 1
    assert taken == 25  # 1,000 bytes a record in the log, and again in the spool
    log.close()
    other = _open(tmp_path, 2, options)
    assert other.use.spool_bytes > 25_000
    assert not other.full
    put(other, b"the log's copy has gone")
    other.close()


def test_a_failed_sync_is_never_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = _open(tmp_path)
    put(log, b"before")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", _fail_with(errno.EIO))
        with pytest.raises(LandingFailedError):
            put(log, b"unknown")
    with pytest.raises(LandingFailedError):
        put(log, b"refused although the disk is well again")
    assert log.failure is not None
    assert _bodies(tmp_path) == [b"before"]
    log.close()
    assert reader.has_unrecovered_log(tmp_path)
    recovery.recover_unowned(tmp_path)
    assert _bodies(tmp_path)[0] == b"before"


def test_a_failing_spool_loses_nothing_that_was_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = _open(tmp_path)
    put(log, b"before")
    with monkeypatch.context() as patch:
        patch.setattr(spool.SpoolWriter, "write", _fail_with(errno.EIO))
        put(log, b"acknowledged")
    with pytest.raises(LandingFailedError):
        put(log, b"refused")
    log.close()
    assert reader.has_unrecovered_log(tmp_path)
    successor = _open(tmp_path, 2)
    assert _bodies(tmp_path) == [b"before", b"acknowledged"]
    successor.close()


def test_a_spool_short_of_room_is_caught_up_once_there_is_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "node"
    log = _open(node, options=_small_segments())
    put(log, b"before")
    with monkeypatch.context() as patch:
        patch.setattr(spool.SpoolWriter, "write", _fail_with(errno.ENOSPC))
        put(log, b"acknowledged" * 200)
        assert log.full
        for kind in (RecordKind.BATCH, RecordKind.END):
            with pytest.raises(LandingFullError):
                put(log, b"refused", kind=kind)
        log.maintain()  # must not give up the only copy
    image = _image(node, tmp_path / "image")
    recovery.recover_unowned(image)
    assert _bodies(image) == [b"before", b"acknowledged" * 200]
    assert log.failure is None
    deadline_s = time.monotonic() + 5
    while log.full and time.monotonic() < deadline_s:
        log.maintain()
        time.sleep(0.01)
    put(log, b"after")
    assert _bodies(node) == [b"before", b"acknowledged" * 200, b"after"]
    log.close()
    assert not reader.has_unrecovered_log(node)


def test_a_log_closed_while_its_spool_is_behind_is_left_to_recovery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = _open(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(spool.SpoolWriter, "write", _fail_with(errno.ENOSPC))
        put(log, b"acknowledged")
        log.close()
    assert reader.has_unrecovered_log(tmp_path)
    recovery.recover_unowned(tmp_path)
    assert _bodies(tmp_path) == [b"acknowledged"]


@pytest.mark.parametrize(("whole", "name"), [(layout, "sync_file"), (layout.WholeSync, "sync")])
def test_a_failed_checkpoint_keeps_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: object, name: str
) -> None:
    if whole is layout.WholeSync:
        if not layout.WholeSync.is_known():
            pytest.skip("this system does not tell of errors by one sync of all")
        monkeypatch.setattr(log_files, "ONE_BY_ONE_MAX", 0)
    log = _open(tmp_path, options=_small_segments())
    with monkeypatch.context() as patch:
        patch.setattr(whole, name, _fail_with(errno.EIO))
        put(log, b"x" * 2000)
        deadline_s = time.monotonic() + 5
        while log.failure is None and time.monotonic() < deadline_s:
            log.maintain()
            time.sleep(0.01)
    assert log.failure is not None
    log.close()
    assert reader.has_unrecovered_log(tmp_path)
    assert sum(path.stat().st_size for path in layout.wal_directory(tmp_path).glob("*/*.wal")) > 2000
    # The spool reads well from memory, and yet may not be on the disk: recovery must write it anew.
    (path,) = layout.spool_directory(tmp_path).glob("*/*.spool")
    before = path.stat().st_ino
    recovery.recover_unowned(tmp_path)
    assert path.stat().st_ino != before
    assert _bodies(tmp_path) == [b"x" * 2000]
    assert sorted(entry.name for entry in path.parent.iterdir()) == [path.name]
    assert not list(layout.wal_directory(tmp_path).glob("*/suspect"))


def test_waiting_bytes_are_bounded(tmp_path: Path) -> None:
    log = _open(tmp_path, options=DiskOptions(free_min_bytes=0, waiting_max_bytes=100))
    with pytest.raises(LandingBusyError):
        put(log, b"x" * 100)
    put(log, b"x")
    assert log.waiting_bytes == 0
    log.close()


def test_any_other_fault_answers_everyone_and_ends_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = _open(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "encode", _fail_with(errno.EINVAL))
        with pytest.raises(LandingFailedError):
            put(log, b"one")
    with pytest.raises(LandingFailedError):
        put(log, b"two")
    log.close()


def test_slots_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "SLOT_COUNT_MAX", 1)
    log = _open(tmp_path)
    with pytest.raises(slot.NoFreeSlotError):
        _open(tmp_path, 2)
    log.close()


_WRITER = """
import sys
from pathlib import Path
from pipelines.landing.disk import DiskOptions, open_log
from tests_sessions import START, put
log, report = open_log(Path(sys.argv[1]), started_at=START, salt=sys.argv[2].encode(), options=DiskOptions(
    free_min_bytes=0, gather_ms=0, segment_max_bytes=20_000))
for place in range(10**9):
    body = f"{sys.argv[2]}.{place}.".encode() * 40
    put(log, body, session=1 + place % 3, at_ms=place)
    print(place, flush=True)
    if place % 7 == 0:
        log.maintain()
"""


def test_killed_writers_lose_nothing_they_acknowledged(tmp_path: Path) -> None:
    node = tmp_path / "node"
    shutil.copy(Path(__file__).with_name("sessions.py"), tmp_path / "tests_sessions.py")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    acknowledged: list[bytes] = []
    for generation in range(4):
        name = f"{generation:04d}"
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(node), name], stdout=subprocess.PIPE, env=environment, text=True
        )
        assert process.stdout is not None
        places = [int(process.stdout.readline()) for _ in range(50 + 17 * generation)]
        process.send_signal(signal.SIGKILL)
        places += [int(line) for line in process.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]
        acknowledged += [f"{name}.{place}.".encode() * 40 for place in places]
        assert reader.has_unrecovered_log(node)
    recovery.recover_unowned(node)
    found = [body for session in (1, 2, 3) for body in _bodies(node, session)]
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found)
    assert len(found) <= len(acknowledged) + 4  # at most one unacknowledged record a killed writer
    assert not reader.has_unrecovered_log(node)
