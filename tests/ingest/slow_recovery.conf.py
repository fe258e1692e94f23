"""The service's own gunicorn configuration over a recovery that takes ``RECOVERY_S`` of a thread's time, or fails.

gunicorn's patience is shorter than that: a recovery on the worker's own loop would be killed. A file in ``FAULTS_DIR``
named ``recovery-eio`` makes the recovery fail as a broken disk would.
"""

import errno
import os
import runpy
import time
from pathlib import Path
from typing import Any

globals().update(runpy.run_path("ingest_service/gunicorn.conf.py"))  # patches for gevent before anything is imported

from gevent.monkey import get_original  # type: ignore[import-untyped]  # noqa: E402

timeout = 2
_sleep = get_original("time", "sleep")
_faults = Path(os.environ["FAULTS_DIR"])


def _slowed(recover: Any) -> Any:  # noqa: ANN401
    def slow(*arguments: Any) -> Any:  # noqa: ANN401
        until_s = time.monotonic() + float(os.environ["RECOVERY_S"])
        while time.monotonic() < until_s:
            _sleep(0.01)  # this thread is busy; the loop is not
        if (_faults / "recovery-eio").exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return recover(*arguments)

    return slow


def post_fork(server: Any, worker: Any) -> None:  # noqa: ANN401, ARG001
    from pipelines.landing import recovery

    recovery.recover_unowned = _slowed(recovery.recover_unowned)
