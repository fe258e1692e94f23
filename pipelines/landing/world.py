"""How a log's own thread and those who wait for it wait for each other: among plain threads, or beside an event loop.

Belongs here: what a log asks of the world it runs in, and the world of plain threads. An event loop's is its owner's to
make (``ingest_service.runtime``): there the log's thread must be a real one, or its syncs would stop the loop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Lock(Protocol):
    """What keeps a few fields consistent: taken for every request, and never held while anything waits."""

    def acquire(self) -> bool: ...

    def release(self) -> None: ...

    def __enter__(self) -> bool: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Done(Protocol):
    """One event that many wait for and the log's thread sets; setting it again changes nothing."""

    def wait(self) -> object: ...

    def set(self) -> None: ...


class RunInThread(Protocol):
    """Run a blocking function off the event loop and give its result, blocking only the calling greenlet."""

    def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...


class World(Protocol):
    """What a log needs besides files."""

    def new_lock(self) -> Lock: ...

    def new_done(self) -> Done: ...

    def start_thread(self, run: Callable[[], None], name: str) -> None:
        """Start the log's thread. It is not waited for: what it is to finish, it says by a ``Done``."""
        ...

    def sleep(self, duration_s: float) -> None:
        """In the log's thread."""
        ...

    def run_in_thread(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking function off the caller's loop and give its result, blocking only the caller."""
        ...


class PlainThreads:
    """The world of ``threading``."""

    def new_lock(self) -> Lock:
        return threading.Lock()

    def new_done(self) -> Done:
        return threading.Event()

    def start_thread(self, run: Callable[[], None], name: str) -> None:
        threading.Thread(target=run, name=name, daemon=True).start()

    def sleep(self, duration_s: float) -> None:
        time.sleep(duration_s)

    def run_in_thread(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)


PLAIN_THREADS = PlainThreads()


class Bell:
    """What wakes a log's thread. Rung any number of times, it wakes once."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        lock.acquire()

    def ring(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:  # rung already, and not yet heard
            return

    def wait(self) -> None:
        self._lock.acquire()
