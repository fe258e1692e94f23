"""Reading /proc: which fields mean what, and whose they are."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.bench import processes
from infra.bench.processes import Stat, parse_stat, tree

_LINE = (
    "4242 (a (very) odd name) S 17 4242 4242 0 -1 4194304 5 0 0 0 250 75 900 800 20 0 3 0 1000 123456789 321 "
    "18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)


def test_a_name_with_spaces_and_parentheses_moves_no_field() -> None:
    # 900 and 800 are what ended children used: theirs is not this process's.
    assert parse_stat(_LINE) == Stat(pid=4242, parent_pid=17, cpu_ticks=325, resident_pages=321)


def test_a_tree_holds_all_descendants_and_nobody_else() -> None:
    def stat(pid: int, parent_pid: int) -> Stat:
        return Stat(pid, parent_pid, 1, 1)

    stats = [stat(12, 11), stat(1, 0), stat(10, 1), stat(11, 10), stat(20, 1), stat(13, 10)]
    assert sorted(found.pid for found in tree(stats, 10)) == [10, 11, 12, 13]
    assert tree(stats, 99) == []


def test_usage_counts_the_work_of_a_child_of_a_child() -> None:
    busy = "import time\nwhile time.process_time() < 0.25: pass\nprint(1, flush=True)\n"
    starts_it = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {busy + 'input()'!r}]).wait()"
    with subprocess.Popen(
        [sys.executable, "-c", starts_it], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "1\n"
        used = processes.usage(parent.pid)
        assert used.cpu_s >= 0.2
        assert used.resident_bytes > 1_000_000
        assert parent.stdin is not None
        parent.stdin.write("\n")
        parent.stdin.close()
        parent.wait(10)


def test_a_process_that_is_gone_is_an_error_not_zero() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait(10)
    with pytest.raises(ProcessLookupError):
        processes.usage(process.pid)


def test_own_cpu_time_agrees_with_the_interpreters() -> None:
    before_s = time.process_time()
    until = before_s + 0.1
    while time.process_time() < until:
        pass
    stat = parse_stat(Path(f"/proc/{os.getpid()}/stat").read_text())
    assert abs(stat.cpu_ticks / os.sysconf("SC_CLK_TCK") - time.process_time()) < 0.05
