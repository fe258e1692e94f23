"""The landing port on a node's disk: one log a worker, one sync for all requests that wait for it.

Callers add their record to the current group and wait for the group's one event. The log's own thread takes the group,
gives its records their offsets, writes them to the log, syncs, and copies them to the spool. It never serves anyone
else, so a group is taken up without a queue between.

Belongs here: groups, who waits for whom, what a fault means for them. What is written where is ``log_files``'s.
"""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from pipelines.landing import layout, recovery, slot
from pipelines.landing.group import Group, Waiting, encode
from pipelines.landing.log_files import LogFiles, is_no_room
from pipelines.landing.record import HEADER_BYTES, to_microseconds
from pipelines.landing.room import DiskUse, Room
from pipelines.landing.wal import CutBackFailedError
from pipelines.landing.world import PLAIN_THREADS, Bell, World
from pipelines.ports.landing import (
    LandingBusyError,
    LandingFailedError,
    LandingFullError,
    Receipt,
    RecordKind,
    SessionHeader,
)


@dataclass(frozen=True, slots=True)
class DiskOptions:
    """Bounds of one worker's log."""

    gather_ms: float = 2.0  # how long a group waits for company before it is synced
    waiting_max_bytes: int = 32 * 1024 * 1024  # bytes that may wait for the disk
    segment_max_bytes: int = 64 * 1024 * 1024
    segment_max_age_s: float = 600.0  # bounds how long withdrawn bytes outlive their spool
    free_min_bytes: int = 512 * 1024 * 1024  # refuse new records, all but ends, below this much free disk
    use_max_bytes: int = 256 * 1024 * 1024 * 1024  # the same, where logs and spool of the node take this much
    spool_open_files_max: int = 1024


class Commit(NamedTuple):
    """One durable group, for the metrics. ``duration_s``: from taking it up to waking its callers."""

    record_count: int
    byte_count: int
    sync_s: float  # the sync alone
    duration_s: float


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
        on_commit: Callable[[Commit], None],
        world: World,
    ) -> None:
        self._options = options
        self._world = world
        self._on_commit = on_commit
        self._files = LogFiles(data_dir, owned, log, options.spool_open_files_max)
        self._wal = self._files.wal
        self._segment_started_s = time.monotonic()
        self._known: set[UUID] = set()  # sessions whose header is in the active segment
        self._lock = world.new_lock()
        self._checkpointing = threading.Lock()
        self._group = Group(world.new_done())
        self._room = Room(data_dir, options.free_min_bytes, options.use_max_bytes)
        self._is_behind = False
        self._bell = Bell(world.new_lock())
        self._waiting_bytes = 0
        self._closing = False
        self._rotate = False
        self._withhold = False
        self._failure: str | None = None
        self._ended = world.new_done()
        world.start_thread(self._sync_until_closed, f"sync {log}")

    @property
    def name(self) -> str:
        return self._wal.log

    @property
    def failure(self) -> str | None:
        """Why this log will never acknowledge again; None while it works."""
        return self._failure

    @property
    def full(self) -> bool:
        """Whether only ends are taken, or nothing at all."""
        return self._is_behind or self._room.is_full

    @property
    def use(self) -> DiskUse:
        """The node's disk as last looked at."""
        return self._room.use

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
            # The reserve is there for ends: a session must be able to close on a full node.
            if self._is_behind or (self._room.is_full and kind is not RecordKind.END):
                raise LandingFullError("less disk is free than the reserve, or more used than the bound")
            if self._waiting_bytes + record_bytes > self._options.waiting_max_bytes:
                raise LandingBusyError(f"{self._waiting_bytes} bytes wait for the disk")
            self._waiting_bytes += record_bytes
            self._room.spend(2 * record_bytes)  # in the log and in the spool
            group = self._group
            place = len(group.waiting)
            group.total_bytes += record_bytes
            group.waiting.append(Waiting(header, kind, to_microseconds(received_at), payload_hash, body))
            if place == 0:
                self._bell.ring()
        group.done.wait()
        if group.error is not None:
            raise group.error
        return Receipt(self._wal.log, group.offsets[place])

    def maintain(self) -> None:
        """Look at the free disk, rotate an old or large segment, checkpoint sealed ones. Call every few seconds."""
        self._world.run_in_thread(self._room.look)
        if self._is_behind:
            self._bell.ring()
        old = time.monotonic() - self._segment_started_s > self._options.segment_max_age_s
        if self._wal.active_bytes and (old or self._wal.active_bytes > self._options.segment_max_bytes):
            self._rotate = True
            self._bell.ring()
        if self._failure is None and not self._closing and self._world.run_in_thread(self._files.begin_withholding):
            self._withhold = True
            self._bell.ring()
        self.checkpoint()

    def checkpoint(self) -> None:
        """Make the spool durable as far as the sealed segments go, and delete them."""
        with self._checkpointing:
            sealed = list(self._wal.sealed)
            if not sealed or self._failure is not None or self._is_behind:
                return
            try:
                self._world.run_in_thread(self._files.checkpoint, sealed)
            except OSError as error:
                # A failed sync may have dropped the pages it failed on, and a second would report success.
                self._fail(f"checkpoint failed: {error}")
                with contextlib.suppress(OSError):
                    self._files.suspect_spool()

    def close(self) -> None:
        with self._lock:
            if self._closing:
                return
            self._closing = True
        self._bell.ring()
        self._ended.wait()
        with self._checkpointing:
            self._files.close(complete=self._failure is None and not self._is_behind)

    def _sync_until_closed(self) -> None:
        closing = False
        while not closing:
            self._bell.wait()
            if self._options.gather_ms and not self._closing:
                self._world.sleep(self._options.gather_ms / 1000)
            fresh = Group(self._world.new_done())
            with self._lock:
                group, self._group = self._group, fresh
                closing = self._closing
            try:
                if self._is_behind and self._failure is None:
                    self._note_spooling(self._files.catch_up())
                if group.waiting:
                    self._commit(group)
                if self._rotate and self._failure is None and not self._is_behind:
                    self._rotate_now()
                if self._withhold and self._failure is None and not self._is_behind:
                    self._withhold_now()
            except Exception as error:
                # Whatever it is, this thread must live on, or later callers would wait for ever.
                self._fail(repr(error))
                group.error = group.error or LandingFailedError(repr(error))
                group.done.set()
        self._ended.set()

    def _commit(self, group: Group) -> None:
        """Make the group durable, or say why not; its callers are woken in any case."""
        started_s = time.monotonic()
        sync_s = 0.0
        try:
            if self._failure is not None:
                raise CutBackFailedError(errno.EIO, self._failure)
            encoded = encode(group.waiting, self._wal.durable_offset, self._known)
            sync_s, spool_error = self._files.commit(encoded.buffers, encoded.spool_parts)
        except CutBackFailedError as error:
            self._fail(str(error))
            group.error = LandingFailedError(str(error))
        except OSError as error:
            if is_no_room(error):
                group.error = LandingFullError(str(error))
            else:
                self._fail(str(error))
                group.error = LandingFailedError(str(error))
        except Exception as error:
            self._fail(repr(error))
            group.error = LandingFailedError(repr(error))
        else:
            self._known |= encoded.opened
            group.offsets = encoded.offsets
            self._note_spooling(spool_error)  # acknowledged all the same: the records are durable in the log
        finally:
            byte_count = group.total_bytes
            with self._lock:
                self._waiting_bytes -= byte_count
            group.done.set()
        if group.error is None:
            self._on_commit(Commit(len(group.waiting), byte_count, sync_s, time.monotonic() - started_s))

    def _note_spooling(self, error: OSError | None) -> None:
        """A spool short of room is caught up once there is some, and nothing is taken until then. Any other fault of
        it ends this log, and recovery redoes what is missing.
        """
        self._is_behind = error is not None and is_no_room(error)
        if error is not None and not self._is_behind:
            self._fail(f"spool failed: {error}")

    def _rotate_now(self) -> None:
        self._rotate = False
        if not self._wal.active_bytes:
            return  # asked for twice: an empty segment's successor would have its name
        try:
            self._files.rotate()
        except OSError as error:
            if not is_no_room(error):
                self._fail(f"rotation failed: {error}")
            return  # stays in the old segment; the next look at the disk refuses new records
        self._segment_started_s = time.monotonic()
        self._known.clear()  # so that every segment can be redone on its own

    def _withhold_now(self) -> None:
        self._withhold = False
        try:
            self._files.finish_withholding()
        except OSError as error:
            if not is_no_room(error):
                self._fail(f"withholding failed: {error}")

    def _fail(self, why: str) -> None:
        self._failure = self._failure or why


def open_log(
    data_dir: Path,
    *,
    started_at: datetime,
    salt: bytes,
    options: DiskOptions,
    on_commit: Callable[[Commit], None] = lambda _: None,
    world: World = PLAIN_THREADS,
) -> tuple[DiskLog, recovery.RecoveryReport]:
    """Own a slot, recover what dead workers left on this node, and begin a new log.

    ``on_commit`` is called by the log's thread.

    Raises ``OSError`` where recovery cannot be finished, ``slot.NoFreeSlotError`` where there are too many workers.
    """
    layout.prepare(data_dir)
    report = world.run_in_thread(recovery.recover_unowned, data_dir)
    owned = slot.acquire(data_dir)
    try:
        report = report.plus(world.run_in_thread(recovery.recover_slot, data_dir, owned))
        log = new_log_name(owned.name, started_at, salt)
        disk_log = DiskLog(
            data_dir=data_dir,
            owned=owned,
            log=log,
            options=options,
            on_commit=on_commit,
            world=world,
        )
    except BaseException:
        owned.release()
        raise
    disk_log.maintain()
    return disk_log, report
