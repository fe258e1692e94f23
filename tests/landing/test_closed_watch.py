"""The look at all markers at once: it spares looks, and misses no marker within the coarseness of stamps."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from pipelines.landing import closed, layout

END = closed.End(reason="completed", ended_at=datetime(2026, 1, 5, tzinfo=UTC))


class Clock:
    def __init__(self) -> None:
        self.s = 1000.0
        self.wall_offset_ns = 0

    def __call__(self) -> float:
        return self.s

    def wall_ns(self) -> int:
        return int(self.s * 1e9) + self.wall_offset_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(tmp_path: Path, clock: Clock) -> closed.Watch:
    layout.prepare(tmp_path)
    _stamp(tmp_path, 1)
    return closed.Watch(tmp_path, clock, clock.wall_ns)


def _stamp(data_dir: Path, moment_s: float) -> None:
    os.utime(layout.closed_directory(data_dir), ns=(0, int(moment_s * 1e9)))


def test_nothing_new_is_the_same_state(watch: closed.Watch, clock: Clock) -> None:
    state = watch.state()
    for _ in range(3):
        clock.s += 10
        assert watch.state() == state


def test_a_new_marker_is_another_state(watch: closed.Watch, clock: Clock, tmp_path: Path) -> None:
    state = watch.state()
    closed.mark(tmp_path, UUID(int=1), END)
    clock.s += 0.003
    assert watch.state() != state


def test_a_second_marker_with_the_firsts_stamp_is_seen(watch: closed.Watch, clock: Clock, tmp_path: Path) -> None:
    stamp_s = clock.s
    _stamp(tmp_path, stamp_s)
    states = [watch.state()]
    for _ in range(4):
        clock.s += 0.01  # all within a coarse tick, as far as anyone can tell by the stamp
        states.append(watch.state())
    assert len(set(states)) == len(states)
    clock.s += 1
    settled = watch.state()
    clock.s += 1
    assert watch.state() == settled


def test_a_clock_set_back_is_no_reason_to_trust(watch: closed.Watch, clock: Clock, tmp_path: Path) -> None:
    _stamp(tmp_path, clock.s)
    first = watch.state()
    clock.wall_offset_ns = -3600 * 10**9
    _stamp(tmp_path, clock.s - 3600)
    clock.s += 0.003
    assert watch.state() != first


def test_who_asks_at_the_same_moment_shares_one_look(watch: closed.Watch, clock: Clock, tmp_path: Path) -> None:
    state = watch.state()
    closed.mark(tmp_path, UUID(int=1), END)
    clock.s += 0.001
    assert watch.state() == state


def test_a_directory_that_cannot_be_looked_at_is_an_error(watch: closed.Watch, tmp_path: Path) -> None:
    layout.closed_directory(tmp_path).rmdir()
    with pytest.raises(FileNotFoundError):
        watch.state()
