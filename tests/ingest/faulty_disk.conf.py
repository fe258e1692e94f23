"""The service's own gunicorn configuration over a disk that fails when told to.

A file in ``FAULTS_DIR`` is a fault: ``fdatasync-eio`` fails every sync of a log, ``writev-enospc`` writes half of what
is asked and finds the disk full, ``fdatasync-slow`` takes half a second, ``fdatasync-waits`` holds a sync until the
file is gone, and says so by ``fdatasync-is-waiting``. These are the answers a kernel gives; nothing of the service is
replaced.
"""

import errno
import os
import runpy
from pathlib import Path

globals().update(runpy.run_path("ingest_service/gunicorn.conf.py"))  # patches for gevent before anything is imported

from gevent.monkey import get_original  # noqa: E402

_faults = Path(os.environ["FAULTS_DIR"])
_fdatasync, _writev, _sleep = os.fdatasync, os.writev, get_original("time", "sleep")


def _is_on(fault: str) -> bool:
    return (_faults / fault).exists()


def fdatasync(descriptor: int) -> None:
    if _is_on("fdatasync-slow"):
        _sleep(0.5)
    while _is_on("fdatasync-waits"):
        (_faults / "fdatasync-is-waiting").touch()
        _sleep(0.01)
    if _is_on("fdatasync-eio"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    _fdatasync(descriptor)


def writev(descriptor: int, buffers: list[bytes]) -> int:
    if _is_on("writev-enospc"):
        whole = b"".join(buffers)
        _writev(descriptor, [whole[: len(whole) // 2]])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return _writev(descriptor, buffers)


os.fdatasync = fdatasync  # type: ignore[assignment]
os.writev = writev  # type: ignore[assignment]
