"""The service's configuration over a slow disk, with a greenlet that watches the hub.

It wants to run every 5 ms; the longest it had to wait, in seconds, is in ``TICKS_FILE``. While ``FAULTS_DIR`` holds
``fdatasync-slow``, every sync of a log takes half a second.
"""

import os
import runpy
import time
from pathlib import Path
from typing import Any

globals().update(runpy.run_path("tests/ingest/faulty_disk.conf.py"))

import gevent  # type: ignore[import-untyped]  # noqa: E402

_begin = globals()["post_worker_init"]


def _tick() -> None:
    path = Path(os.environ["TICKS_FILE"])
    longest_s, last_s = 0.0, time.monotonic()
    while True:
        gevent.sleep(0.005)
        now_s = time.monotonic()
        if now_s - last_s > longest_s:
            longest_s = now_s - last_s
            path.write_text(f"{longest_s:.3f}")
        last_s = time.monotonic()


def post_worker_init(worker: Any) -> None:  # noqa: ANN401
    _begin(worker)
    gevent.spawn(_tick)
