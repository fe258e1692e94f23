"""The landing port on a node's disk: one log a worker, one sync for all requests that wait for it.

Callers add their record to the current group and wait for the group's one event. A single syncing thread (a greenlet
under gevent) takes the group, gives its records their offsets, and in one blocking call writes them to the log, syncs,
and copies them to the spool. ``run_in_thread`` is how that call leaves an event loop alone; without one, the syncing
thread runs it itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, ParamSpec, Protocol, TypeVar
from uuid import UUID

import msgspec

from pipelines.landing import layout, recovery, slot, spool
from pipelines.landing.record import HEADER_BYTES, encode_header, to_microseconds
from pipelines.landing.wal import CutBackFailedError, Segment, WriteAheadLog
from pipelines.ports.landing import (
    NO_HASH,
    LandingBusyError,
    LandingError,
    LandingFailedError,
    LandingFullError,
    Receipt,
    RecordKind,
    SessionHeader,
)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

P = ParamSpec("P")
T = TypeVar("T")


class RunInThread(Protocol):
    """Run a blocking function off the event loop and give its result, blocking only the calling greenlet."""

    def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...


def run_here(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    return function(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class DiskOptions:
    """Bounds of one worker's log."""

    gather_ms: float = 2.0  # how long a group waits for company before it is synced
    waiting_max_bytes: int = 32 * 1024 * 1024  # bytes that may wait for the disk
    segment_max_bytes: int = 64 * 1024 * 1024
    segment_max_age_s: float = 600.0  # bounds how long withdrawn bytes outlive their spool
    free_min_bytes: int = 1024 * 1024 * 1024  # refuse new records below this much free disk
    spool_open_files_max: int = 1024


class Commit(NamedTuple):
    """One durable group, for the metrics."""

    record_count: int
    byte_count: int
    duration_s: float


class _Waiting(NamedTuple):
    header: SessionHeader
    kind: RecordKind
    received_at_us: int
    payload_hash: bytes
    body: bytes


class _Group:
    __slots__ = ("base_offsets", "done", "error", "waiting")

    def __init__(self) -> None:
        self.waiting: list[_Waiting] = []
        self.base_offsets: list[int] = []
        self.error: LandingError | None = None
        self.done = threading.Event()


class _Encoded(NamedTuple):
    buffers: list[bytes]
    spool_parts: list[tuple[UUID, list[bytes]]]
    offsets: list[int]  # of the waiting records, in their order
    opened: set[UUID]


def new_log_name(slot_name: str, started_at: datetime, salt: bytes) -> str:
    """A name no log had before: slot, start in microseconds, and a few random bytes against a clock set back."""
    return f"{slot_name}-{to_microseconds(started_at):x}-{salt.hex()}"


class DiskLog:
    """``LandingLog`` over one slot. Make it with ``open_log``."""

    def __init__(
        self,
        *,
        data_dir: Path,
        owned: slot.Slot,
        log: str,
        options: DiskOptions,
        run_in_thread: RunInThread,
        on_commit: Callable[[Commit], None],
    ) -> None:
        self._data_dir = data_dir
        self._slot = owned
        self._options = options
        self._run_in_thread = run_in_thread
        self._on_commit = on_commit
        self._wal = WriteAheadLog(owned.directory, log)
        self._spool = spool.SpoolWriter(data_dir, log, options.spool_open_files_max)
        self._segment_started_s = time.monotonic()
        self._known: set[UUID] = set()  # sessions whose header is in the active segment
        self._lock = threading.Lock()
        self._checkpointing = threading.Lock()
        self._group = _Group()
        self._wake = threading.Event()
        self._waiting_bytes = 0
        self._closing = False
        self._rotate = False
        self._failure: str | None = None
        self._full = False
        self._syncer = threading.Thread(target=self._sync_until_closed, name=f"sync {log}", daemon=True)
        self._syncer.start()

    @property
    def name(self) -> str:
        return self._wal.log

    @property
    def failure(self) -> str | None:
        """Why this log will never acknowledge again; None while it works."""
        return self._failure

    @property
    def full(self) -> bool:
        return self._full

    @property
    def waiting_bytes(self) -> int:
        return self._waiting_bytes

    def append(
        self, header: SessionHeader, kind: RecordKind, received_at: datetime, payload_hash: bytes, body: bytes
    ) -> Receipt:
        record_bytes = HEADER_BYTES + len(body)
        with self._lock:
            if self._failure is not None or self._closing:
                raise LandingFailedError(self._failure or "the log is closed")
            if self._full:
                raise LandingFullError("less disk is free than the reserve")
            if self._waiting_bytes + record_bytes > self._options.waiting_max_bytes:
                raise LandingBusyError(f"{self._waiting_bytes} bytes wait for the disk")
            self._waiting_bytes += record_bytes
            group = self._group
            place = len(group.waiting)
            group.waiting.append(_Waiting(header, kind, to_microseconds(received_at), payload_hash, body))
            if place == 0:
                self._wake.set()
        group.done.wait()
        if group.error is not None:
            raise group.error
        return Receipt(self._wal.log, group.base_offsets[place])

    def maintain(self) -> None:
        """Look at the free disk, rotate an old or large segment, checkpoint sealed ones. Call every few seconds."""
        self._full = self._run_in_thread(_free_bytes, self._data_dir) < self._options.free_min_bytes
        old = time.monotonic() - self._segment_started_s > self._options.segment_max_age_s
        if self._wal.active_bytes and (old or self._wal.active_bytes > self._options.segment_max_bytes):
            self._rotate = True
            self._wake.set()
        self.checkpoint()

    def checkpoint(self) -> None:
        """Make the spool durable as far as the sealed segments go, and delete them."""
        with self._checkpointing:
            sealed = list(self._wal.sealed)
            if not sealed or self._failure is not None:
                return
            try:
                self._run_in_thread(self._checkpoint_blocking, sealed)
            except OSError as error:
                # A failed sync may have dropped the pages it failed on, and a second would report success.
                self._fail(f"checkpoint failed: {error}")
                with contextlib.suppress(OSError):
                    self._slot.suspect_spool()

    def close(self) -> None:
        with self._lock:
            if self._closing:
                return
            self._closing = True
        self._wake.set()
        self._syncer.join()
        with self._checkpointing:
            try:
                if self._failure is None:
                    self._checkpoint_blocking([*self._wal.sealed, self._wal.active])
                else:
                    self._wal.abandon()
            finally:
                self._spool.close()
                self._slot.release()

    def _checkpoint_blocking(self, sealed: list[Segment]) -> None:
        sessions: set[UUID] = set().union(*(segment.sessions for segment in sealed))
        spool.sync(self._data_dir, sorted(sessions), self._wal.log)
        self._wal.delete(sealed)

    def _sync_until_closed(self) -> None:
        while True:
            self._wake.wait()
            if self._options.gather_ms and not self._closing:
                time.sleep(self._options.gather_ms / 1000)
            with self._lock:
                self._wake.clear()
                group, self._group = self._group, _Group()
                closing = self._closing
            if group.waiting:
                self._commit(group)
            if self._rotate and self._failure is None:
                self._rotate_now()
            if closing:
                return

    def _commit(self, group: _Group) -> None:
        started_s = time.monotonic()
        try:
            if self._failure is not None:
                raise CutBackFailedError(errno.EIO, self._failure)
            encoded = self._encode(group)
            spool_error = self._run_in_thread(self._commit_blocking, encoded)
        except CutBackFailedError as error:
            self._fail(str(error))
            group.error = LandingFailedError(str(error))
        except OSError as error:
            if error.errno in _NO_ROOM:
                group.error = LandingFullError(str(error))
            else:
                self._fail(str(error))
                group.error = LandingFailedError(str(error))
        except Exception as error:
            # Whatever it is, the syncing thread must live on, or later callers would wait for ever.
            self._fail(repr(error))
            group.error = LandingFailedError(repr(error))
        else:
            self._known |= encoded.opened
            group.base_offsets = encoded.offsets
            if spool_error is not None:
                # The records are durable in the log, so they are acknowledged; a successor will redo them.
                self._fail(f"spool failed: {spool_error}")
        finally:
            byte_count = sum(HEADER_BYTES + len(waiting.body) for waiting in group.waiting)
            with self._lock:
                self._waiting_bytes -= byte_count
            group.done.set()
        if group.error is None:
            self._on_commit(Commit(len(group.waiting), byte_count, time.monotonic() - started_s))

    def _commit_blocking(self, encoded: _Encoded) -> str | None:
        self._wal.commit(encoded.buffers, {session_id for session_id, _ in encoded.spool_parts})
        try:
            for session_id, parts in encoded.spool_parts:
                self._spool.write(session_id, parts)
        except OSError as error:
            return str(error)
        return None

    def _encode(self, group: _Group) -> _Encoded:
        encoded = _Encoded([], [], [], set())
        offset = self._wal.durable_offset
        for waiting in group.waiting:
            session_id = waiting.header.session_id
            parts: list[bytes] = []
            if session_id not in self._known and session_id not in encoded.opened:
                body = msgspec.json.encode(waiting.header)
                moment_us = waiting.received_at_us
                parts = [encode_header(RecordKind.OPEN, offset, moment_us, session_id.bytes, NO_HASH, body), body]
                offset += HEADER_BYTES + len(body)
                encoded.opened.add(session_id)
            encoded.offsets.append(offset)
            head = encode_header(
                waiting.kind, offset, waiting.received_at_us, session_id.bytes, waiting.payload_hash, waiting.body
            )
            parts += (head, waiting.body) if waiting.body else (head,)
            offset += HEADER_BYTES + len(waiting.body)
            encoded.buffers.extend(parts)
            encoded.spool_parts.append((session_id, parts))
        return encoded

    def _rotate_now(self) -> None:
        self._rotate = False
        try:
            self._run_in_thread(self._rotate_blocking)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                self._fail(f"rotation failed: {error}")
            return  # stays in the old segment; the next look at the disk refuses new records
        self._segment_started_s = time.monotonic()
        self._known.clear()  # so that every segment can be redone on its own

    def _rotate_blocking(self) -> None:
        self._wal.rotate()
        # An open file outlives its removal: without this, erased bytes would stay on the disk for as long.
        self._spool.close()

    def _fail(self, why: str) -> None:
        self._failure = self._failure or why


def _free_bytes(data_dir: Path) -> int:
    status = os.statvfs(data_dir)
    return status.f_bavail * status.f_frsize


def open_log(
    data_dir: Path,
    *,
    started_at: datetime,
    salt: bytes,
    options: DiskOptions,
    run_in_thread: RunInThread = run_here,
    on_commit: Callable[[Commit], None] = lambda _: None,
) -> tuple[DiskLog, recovery.RecoveryReport]:
    """Own a slot, recover what dead workers left on this node, and begin a new log.

    Raises ``OSError`` where recovery cannot be finished, ``slot.NoFreeSlotError`` where there are too many workers.
    """
    layout.prepare(data_dir)
    report = recovery.recover_unowned(data_dir)
    owned = slot.acquire(data_dir)
    try:
        report = report.plus(recovery.recover_slot(data_dir, owned))
        log = new_log_name(owned.name, started_at, salt)
        disk_log = DiskLog(
            data_dir=data_dir,
            owned=owned,
            log=log,
            options=options,
            run_in_thread=run_in_thread,
            on_commit=on_commit,
        )
    except BaseException:
        owned.release()
        raise
    disk_log.maintain()
    return disk_log, report
