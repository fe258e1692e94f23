"""The finaliser's loop: finds sessions that ended or grew, and has each finalised, a few at a time, until told to stop.

Belongs here: discovery, back-off and progress. Does not belong here: what finalising is (``finaliser``).

Everything remembered here is a shortcut: after a restart it is found again from the disk and the session store.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

import structlog

from pipelines.finalise.cleanup import CleanupReport, Keeping, clean
from pipelines.finalise.disk import NodeDisk, SpoolSizes
from pipelines.finalise.finaliser import Finaliser, Result
from pipelines.finalise.meter import CopyMeter
from pipelines.finalise.settings import FinaliserSettings
from pipelines.finalise.withdrawn import Withholding
from pipelines.ports.blob_store import BlobStoreUnavailable, PreconditionFailed
from pipelines.ports.session_store import (
    NodeSession,
    PendingSession,
    SessionStore,
    SessionStoreUnavailable,
    StaleRevisionError,
)

# Not the session's fault: a store is away, or another attempt got there first. Tried again without being counted.
_TRANSIENT = (SessionStoreUnavailable, BlobStoreUnavailable, PreconditionFailed, StaleRevisionError, OSError)
_ASKED_MAX = 1000  # sessions asked about in one statement
_QUEUED_MAX = 10_000  # waiting here; the rest is found again later
_SPOOLED_POLL_S = 60.0
_LOST_POLL_S = 60.0
_LOST_LEASE_S = 600  # a lost node's session is this finaliser's for so long; every look renews it
_PROGRESS_S = 10.0
_METER_S = 5.0


class _Task(NamedTuple):
    session_id: UUID
    organisation_id: int
    is_lost: bool


@dataclass
class _Retry:
    task: _Task
    due_s: float
    failures: int
    began_s: float  # the first failure


@dataclass
class _Timers:
    """When each slow question was last asked, in seconds of the monotonic clock."""

    last_s: dict[str, float] = field(default_factory=dict)

    def due(self, name: str, every_s: float, now_s: float) -> bool:
        if now_s - self.last_s.get(name, float("-inf")) < every_s:
            return False
        self.last_s[name] = now_s
        return True


class Runner:
    """One node's finaliser. ``now`` is the wall clock (aware), ``monotonic_s`` measures delays."""

    def __init__(
        self,
        *,
        settings: FinaliserSettings,
        disk: NodeDisk,
        store: SessionStore,
        finaliser: Finaliser,
        meter: CopyMeter,
        now: Callable[[], dt.datetime],
        monotonic_s: Callable[[], float],
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._settings = settings
        self._disk = disk
        self._store = store
        self._finaliser = finaliser
        self._meter = meter
        self._now = now
        self._monotonic_s = monotonic_s
        self._log = log
        self._queue: dict[UUID, _Task] = {}
        self._running: dict[Future[Result], tuple[_Task, SpoolSizes]] = {}
        self._retries: dict[UUID, _Retry] = {}
        # Sessions with nothing to do: the spool as it was before it was read. Growth makes them asked about again.
        self._settled: dict[UUID, SpoolSizes] = {}
        self._unasked: set[UUID] = set()  # on the disk, state not known yet
        self._unknown: set[UUID] = set()  # on the disk, and not this node's in the store
        self._checked_withdrawals: dict[UUID, dt.datetime] = {}
        self._withholding = Withholding(disk, store, log)
        self._cleaning: Future[CleanupReport] | None = None
        self._timers = _Timers()
        self._changed = threading.Event()
        self._counts: Counter[str] = Counter()

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; what was begun is finished."""
        with ThreadPoolExecutor(self._settings.thread_count, thread_name_prefix="finalise") as pool:
            self._unasked.update(self._disk.spooled())
            while not stop.is_set():
                self.step(pool)
                self._changed.wait(self._settings.poll_s)
                self._changed.clear()
        self._collect()
        self._report(force=True)

    def step(self, pool: ThreadPoolExecutor) -> None:
        """One look around: collect what is done, find what to do, start as much as there are threads."""
        try:
            self._collect()
            self._discover(pool)
            self._start(pool)
        except (SessionStoreUnavailable, OSError) as error:
            self._log.warning("store away", error=str(error))
            self._timers.last_s["away"] = self._monotonic_s()
        self._report(force=False)

    @property
    def is_idle(self) -> bool:
        """Nothing is queued, running or waiting for another attempt."""
        return not (self._queue or self._running or self._retries or self._unasked or self._cleaning)

    def _discover(self, pool: ThreadPoolExecutor) -> None:
        now_s = self._monotonic_s()
        if now_s - self._timers.last_s.get("away", float("-inf")) < self._settings.database_poll_s:
            return
        closed = self._disk.closed_if_changed()
        if closed is not None:
            self._unasked.update(session for session in closed if not self._is_known(session))
        self._ask()
        if self._timers.due("pending", self._settings.database_poll_s, now_s):
            pending = self._store.pending(self._settings.node_id, _ASKED_MAX)
            self._meter.waiting(len(pending), _oldest_s(pending, self._now()))
            self._enqueue(_Task(one.session_id, one.organisation_id, False) for one in pending)
        if self._timers.due("growth", self._settings.growth_poll_s, now_s):
            grown = [session for session, sizes in self._settled.items() if self._disk.sizes(session) != sizes]
            self._unasked.update(grown)
            for session in grown:
                del self._settled[session]
        if self._timers.due("spooled", _SPOOLED_POLL_S, now_s):
            # A node that was given up and is back sees no sign of it: another node finished its sessions.
            spooled = self._disk.spooled()
            self._unasked.update(
                session for session in spooled if not self._is_known(session) or session in self._unknown
            )
            self._unknown.intersection_update(spooled)
        if self._timers.due("lost", _LOST_POLL_S, now_s):
            lost = self._store.claim_lost(self._settings.node_id, self._settings.node_lost_s, _LOST_LEASE_S, _ASKED_MAX)
            self._enqueue(_Task(one.session_id, one.organisation_id, True) for one in lost)
        for retry in [retry for retry in self._retries.values() if retry.due_s <= now_s]:
            self._enqueue([retry.task])
        if self._cleaning is None and self._timers.due("cleanup", self._settings.cleanup_s, now_s):
            self._cleaning = pool.submit(self._clean)

    def _ask(self) -> None:
        """Sort sessions found on the disk by their state in the store."""
        asked = list(self._unasked)[:_ASKED_MAX]
        if not asked or len(self._queue) > _QUEUED_MAX:
            return
        known = {session.session_id: session for session in self._store.states(self._settings.node_id, asked)}
        self._unasked.difference_update(asked)
        for session_id in asked:
            session = known.get(session_id)
            if session is not None:
                self._unknown.discard(session_id)
            if session is None:
                self._counts["unknown"] += 1
                if session_id not in self._unknown:
                    self._log.error("a session on this disk is not this node's", session_id=str(session_id))
                self._unknown.add(session_id)
                self._settled[session_id] = self._disk.sizes(session_id)
            elif session.state == "failed" or (session.state == "finalised" and not self._may_have_grown(session)):
                self._settled[session_id] = self._disk.sizes(session_id)
            elif session.state != "open" or self._disk.end(session_id) is not None:
                self._enqueue([_Task(session_id, session.organisation_id, False)])

    def _may_have_grown(self, session: NodeSession) -> bool:
        """Whether the newest revision may rest on less than the disk holds.

        Another node, which finished the session while this one was given up, consumed nothing of this disk, however
        long ago these files were written.
        """
        if session.finalised_at is None or not self._disk.logs(session.session_id) <= session.consumed_offsets.keys():
            return True
        return self._disk.changed_since(session.session_id, session.finalised_at)

    def _is_known(self, session_id: UUID) -> bool:
        return session_id in self._settled or session_id in self._queue or session_id in self._retries

    def _enqueue(self, tasks: Iterable[_Task]) -> None:
        now_s = self._monotonic_s()
        running = {task.session_id for task, _ in self._running.values()}
        for task in tasks:
            retry = self._retries.get(task.session_id)
            if retry is not None and retry.due_s > now_s:
                continue
            if task.session_id not in running and len(self._queue) < _QUEUED_MAX:
                self._queue.setdefault(task.session_id, task)

    def _start(self, pool: ThreadPoolExecutor) -> None:
        if not self._queue:
            return
        if self._disk.is_recovering():
            if self._timers.due("recovering", _PROGRESS_S, self._monotonic_s()):
                self._log.info("waiting for a log to be recovered", waiting=len(self._queue))
            return
        while self._queue and len(self._running) < self._settings.thread_count:
            task = self._queue.pop(next(iter(self._queue)))
            sizes = self._disk.sizes(task.session_id)
            finalise = self._finaliser.finalise_lost if task.is_lost else self._finaliser.finalise
            future = pool.submit(finalise, task.organisation_id, task.session_id)
            self._running[future] = (task, sizes)
            future.add_done_callback(lambda _: self._changed.set())

    def _collect(self) -> None:
        for future in [future for future in self._running if future.done()]:
            task, sizes = self._running.pop(future)
            error = future.exception()
            if error is not None:
                self._failed(task, error)
                continue
            result = future.result()
            self._retries.pop(task.session_id, None)
            self._counts[result.verdict] += 1
            if result.verdict == "finalised":
                self._log.info("finalised", session_id=str(task.session_id), revision=result.revision)
            if result.verdict in {"finalised", "nothing_new"} and sizes:
                self._settled[task.session_id] = sizes
        if self._cleaning is not None and self._cleaning.done():
            self._cleaned(self._cleaning)
            self._cleaning = None

    def _failed(self, task: _Task, error: BaseException) -> None:
        if not isinstance(error, Exception):
            raise error
        self._counts["failures"] += 1
        now_s = self._monotonic_s()
        retry = self._retries.setdefault(task.session_id, _Retry(task, now_s, 0, now_s))
        retry.failures += 1
        delay_s = min(self._settings.delay_max_s, self._settings.delay_base_s * 2.0 ** min(retry.failures - 1, 30))
        retry.due_s = now_s + delay_s
        # Stores that are away for as long as that need a person, and the session says so.
        transient = isinstance(error, _TRANSIENT) and now_s - retry.began_s < self._settings.give_up_s
        text = f"{type(error).__name__}: {error}"
        self._log.warning(
            "not finalised",
            session_id=str(task.session_id),
            error=text,
            counted=not transient,
            again_s=delay_s,
            exc_info=None if transient else error,
        )
        attempts_max = None if transient else self._settings.attempts_max
        try:
            attempts = self._store.record_failure(task.organisation_id, task.session_id, text, attempts_max)
        except SessionStoreUnavailable:
            return  # the next attempt will tell
        if attempts_max is not None and attempts >= attempts_max:
            del self._retries[task.session_id]
            self._counts["failed"] += 1
            self._meter.given_up()
            self._log.error("given up", session_id=str(task.session_id), error=text, attempts=attempts)

    def _clean(self) -> CleanupReport:
        keeping = Keeping(
            dt.timedelta(seconds=self._settings.spool_kept_s), dt.timedelta(seconds=self._settings.withdrawn_kept_s)
        )
        return clean(
            self._disk,
            self._store,
            self._settings.node_id,
            keeping,
            is_settled=self._is_settled,
            withhold=self._withholding.look,
            discard_copy=self._finaliser.discard_copy,
            now=self._now(),
        )

    def _is_settled(self, session_id: UUID) -> bool:
        return self._settled.get(session_id) == self._disk.sizes(session_id)

    def _cleaned(self, cleaning: Future[CleanupReport]) -> None:
        error = cleaning.exception()
        if error is not None:
            self._log.warning("clean-up failed", error=str(error))
            return
        report = cleaning.result()
        for session_id in report.removed:
            self._settled.pop(session_id, None)
        for session_id in report.removed_for_consent:
            self._settled[session_id] = ()
        if report.removed or report.removed_for_consent:
            self._log.info(
                "spools removed",
                removed=len(report.removed),
                removed_for_consent=[str(session_id) for session_id in report.removed_for_consent],
            )
        # A withdrawal that was committed while its session was published has to be looked at once more.
        for session in report.withdrawals:
            assert session.last_withdrawal_at is not None
            if self._checked_withdrawals.get(session.session_id) != session.last_withdrawal_at:
                self._checked_withdrawals[session.session_id] = session.last_withdrawal_at
                self._enqueue([_Task(session.session_id, session.organisation_id, False)])
        kept = {session.session_id for session in report.withdrawals}
        self._checked_withdrawals = {key: at for key, at in self._checked_withdrawals.items() if key in kept}

    def _report(self, *, force: bool) -> None:
        self._meter.unknown(len(self._unknown))
        if force or self._timers.due("meter", _METER_S, self._monotonic_s()):
            try:
                self._meter.write(self._settings.data_dir, self._now().timestamp())
            except OSError as error:
                self._log.warning("metrics not written", error=str(error))
        if not self._counts or not (force or self._timers.due("progress", _PROGRESS_S, self._monotonic_s())):
            return
        self._log.info(
            "progress", **self._counts, queued=len(self._queue), running=len(self._running), waiting=len(self._retries)
        )
        self._counts.clear()


def _oldest_s(pending: Sequence[PendingSession], now: dt.datetime) -> float:
    return max(((now - one.ended_at).total_seconds() for one in pending if one.ended_at is not None), default=0.0)
