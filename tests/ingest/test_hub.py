"""Nothing blocks the hub: while the disk takes its time, other greenlets run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
from gevent import monkey
monkey.patch_all()
import json, os, sys, threading, time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID
import gevent
from ingest_service import runtime
from pipelines.landing import disk, world
from pipelines.ports.landing import RecordKind, SessionHeader

sleep = monkey.get_original("time", "sleep")
real = os.fdatasync
os.fdatasync = lambda descriptor: (sleep(0.3), real(descriptor))[1]
chosen = runtime.world() if sys.argv[2] == "thread" else world.PLAIN_THREADS
now = datetime.now(UTC)
log, _ = disk.open_log(Path(sys.argv[1]), started_at=now, salt=b"test", options=disk.DiskOptions(free_min_bytes=0),
                       world=chosen)
gaps_s, done = [], threading.Event()

def tick():
    last_s = time.monotonic()
    while not done.is_set():
        gevent.sleep(0.005)
        gaps_s.append(time.monotonic() - last_s)
        last_s = time.monotonic()

header = SessionHeader(session_id=UUID(int=1), organisation_id=1, principal_id=UUID(int=2), log_id=1, exercise_id=1,
                       started_at=now, token_expires_at=now)
ticker = gevent.spawn(tick)
started_s = time.monotonic()
appends = [gevent.spawn(log.append, header, RecordKind.BATCH, now, bytes(16), bytes([n])) for n in range(50)]
gevent.joinall(appends, raise_error=True)
took_s = time.monotonic() - started_s
done.set()
ticker.join()
log.close()
print(json.dumps({"max_gap_s": max(gaps_s), "took_s": took_s}))
"""


@pytest.mark.parametrize(("runner", "blocks"), [("thread", False), ("here", True)])
def test_a_slow_sync_leaves_the_hub_alone_and_serves_all_waiters(tmp_path: Path, runner: str, blocks: bool) -> None:
    command = [sys.executable, "-c", _SCRIPT, str(tmp_path), runner]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    measured = json.loads(output)
    assert (measured["max_gap_s"] > 0.25) == blocks
    assert measured["took_s"] < 50 * 0.3 / 5  # one sync for all who wait, not one each


_KILLED = """
from gevent import monkey
monkey.patch_all()
import threading
import gevent
from gevent.event import Event
from ingest_service import runtime

world = runtime.world()
done, elsewhere, seen = world.new_done(), Event(), []

def wait(name):
    try:
        done.wait()
        seen.append(name)
    except gevent.GreenletExit:
        elsewhere.wait()  # as a connection that still says goodbye: nobody else may wake it
        seen.append("woken elsewhere")

waiting = [gevent.spawn(wait, name) for name in ("first", "killed", "last")]
gevent.sleep(0)
waiting[1].kill(block=False)
gevent.sleep(0)
world.start_thread(lambda: (world.sleep(0.05), done.set(), done.set()), "setter")
gevent.joinall([waiting[0], waiting[2]], timeout=10)
done.wait()  # set already
gevent.sleep(0.05)
print(seen)
"""


def test_who_is_killed_while_waiting_is_left_alone_and_the_others_are_woken() -> None:
    command = [sys.executable, "-c", _KILLED]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert output == "['first', 'last']\n"


def test_psycopg_imported_too_early_is_refused() -> None:
    script = (
        "import psycopg\nfrom gevent import monkey\nmonkey.patch_all()\n"
        "from ingest_service.runtime import HubWouldBlockError, thread_runner\n"
        "try:\n    thread_runner()\nexcept HubWouldBlockError:\n    print('refused')\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script]
    assert subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout == "refused\n"
