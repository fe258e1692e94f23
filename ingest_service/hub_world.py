"""The world of a log beside gevent's hub: a real thread for its syncs, and greenlets that wait for them.

Belongs here: what crosses between the hub and a thread that is not its own. The thread uses nothing of gevent's but
``async_.send``, the one call that another thread may make.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from gevent import get_hub, getcurrent  # type: ignore[import-untyped]
from gevent.monkey import get_original  # type: ignore[import-untyped]

from pipelines.landing.world import Done, Lock

P = ParamSpec("P")
T = TypeVar("T")


class HubWorld:
    """For one hub, the one it is made under."""

    def __init__(self) -> None:
        self._hub: Any = get_hub()
        self._sleep: Callable[[float], None] = get_original("time", "sleep")
        self._new_lock: Callable[[], Lock] = get_original("_thread", "allocate_lock")
        self._start: Callable[[Callable[[], None], tuple[()]], int] = get_original("_thread", "start_new_thread")
        self._set: deque[_HubDone] = deque()  # by the thread, until the hub has seen them
        self._news: Any = None

    def new_lock(self) -> Lock:
        """The system's own, at a tenth of the cost of gevent's: it is never held while a greenlet waits."""
        return self._new_lock()

    def new_done(self) -> Done:
        return _HubDone(self._hub, self._announce)

    def start_thread(self, run: Callable[[], None], name: str) -> None:  # noqa: ARG002 - such threads have no name
        if self._news is None:
            self._news = self._hub.loop.async_()
            self._news.start(self._wake_waiters)
        self._start(run, ())

    def sleep(self, duration_s: float) -> None:
        self._sleep(duration_s)

    def run_in_thread(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = get_hub().threadpool.apply(function, args, kwargs)
        return result

    def _announce(self, done: _HubDone) -> None:
        """In the thread."""
        self._set.append(done)
        self._news.send()

    def _wake_waiters(self) -> None:
        """In the hub. One call may stand for several announcements."""
        while self._set:
            self._set.popleft().wake()


class _HubDone:
    """Many greenlets wait; one wake-up of the hub serves them all, each by one switch."""

    __slots__ = ("_announce", "_hub", "_is_set", "_waiters")

    def __init__(self, hub: Any, announce: Callable[[_HubDone], None]) -> None:  # noqa: ANN401 - gevent is untyped
        self._hub = hub
        self._announce = announce
        self._is_set = False  # as the hub knows it
        self._waiters: deque[Any] = deque()

    def wait(self) -> None:
        if self._is_set:
            return
        waiters = self._waiters
        me = getcurrent()
        waiters.append(me)
        try:
            while not self._is_set:  # whoever else may switch to this greenlet
                self._hub.switch()
        except BaseException:  # it is being killed: by the time of the event it may be anywhere
            if me in waiters:
                waiters.remove(me)
            raise

    def set(self) -> None:
        self._announce(self)

    def wake(self) -> None:
        """In the hub."""
        self._is_set = True
        waiters = self._waiters
        while waiters:
            waiters.popleft().switch()
