"""kill -9 at random moments under load loses nothing that was acknowledged.

The number of workers killed is ``RESTARTIX_PROVE_KILLS``.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

import pytest

from pipelines.landing import reader
from tests.ingest.node import Node, eventually

from .load import landed, portals

KILLS = int(os.environ.get("RESTARTIX_PROVE_KILLS", "6"))


@pytest.mark.timeout(120 + 10 * KILLS)
def test_workers_killed_at_random_moments(make_node: Callable[..., Node], proved: Callable[..., None]) -> None:
    chance = random.Random(KILLS)
    node = make_node(workers=2, RESTARTIX_BATCH_BURST="1000000", RESTARTIX_SEGMENT_MAX_BYTES="200000").start()
    patients = [node.patient("biometric") for _ in range(3)]
    killed = 0
    with portals(patients, 6, pace_s=0.01) as running:
        while killed < KILLS:
            time.sleep(chance.uniform(0.02, 2.0))
            if chance.random() < 0.1:
                killed += len(node.worker_pids())
                node.kill()
                node.start(await_ready=False)
            elif pids := node.worker_pids():
                os.kill(chance.choice(pids), signal.SIGKILL)
                killed += 1
        node.await_ready(60)
        before = [len(portal.acknowledged) for portal in running]
        assert eventually(
            lambda: all(len(portal.acknowledged) > count for portal, count in zip(running, before, strict=True)), 60
        ), node.log()
        # The last one killed is recovered by its successor, which may be told to stop before it has begun.
        assert eventually(lambda: not reader.has_unrecovered_log(node.data_dir), 60), node.log()
    assert [portal.given_up for portal in running] == [[] for _ in running]
    assert node.terminate() == 0
    assert not reader.has_unrecovered_log(node.data_dir)
    acknowledged, lost = landed(running)
    proved("crashes", kills=killed, acknowledged=acknowledged, lost=lost)
    print(f"{killed} workers killed, {acknowledged} batches acknowledged, {lost} lost")
    assert lost == 0
    assert acknowledged > 20 * len(running)
    assert sum(portal.broken for portal in running) > 0  # the kills were felt
