"""Driving the load generator, and reading what a contestant used while it was under load."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from infra.bench import processes
from infra.bench.contestants import ContestantFailedError, Cores, Running, pinned
from infra.bench.figures import Paced, Round


class Sent(msgspec.Struct):
    """What the load generator says of its measured window. `still_due`: requests a paced run never came to send;
    `retried`: answers of 503 to a run that must get every batch there, which it sent again."""

    answered: int
    elapsed_s: float
    sender_cpu_s: float
    p50_ms: float
    p99_ms: float
    still_due: int
    retried: int
    statuses: dict[str, int]


@dataclass(frozen=True, slots=True)
class Sender:
    """The load generator with its workload, on the core the contestants do not have."""

    program: Path
    cores: Cores
    corpus: Path
    tokens: Path
    headers: Path
    connections: int

    def saturate(self, running: Running, warm_s: float, measure_s: float) -> Round:
        """Every connection sends as soon as it has its answer: cost and capacity."""
        with self.started(running, warm_s, measure_s) as process:
            _await_begin(process)
            before, began_s = processes.usage(running.process.pid), time.monotonic()
            sent = finish(process)
            after, elapsed_s = processes.usage(running.process.pid), time.monotonic() - began_s
        require_accepted(running, sent)
        cpu_s = after.cpu_s - before.cpu_s
        return Round(
            contestant=running.name,
            answered=sent.answered,
            cpu_us_per_batch=round(cpu_s / sent.answered * 1e6, 2),
            batches_per_second=round(sent.answered / sent.elapsed_s, 1),
            core_busy=round(cpu_s / elapsed_s, 3),
            sender_busy=round(sent.sender_cpu_s / sent.elapsed_s, 3),
        )

    def pace(self, running: Running, rate_per_s: float, warm_s: float, measure_s: float) -> Paced:
        """Requests fall due at a fixed rate whatever the answers do: how long an acknowledgement takes."""
        with self.started(running, warm_s, measure_s, rate_per_s=rate_per_s) as process:
            sent = finish(process)
        require_accepted(running, sent)
        return Paced(round(sent.answered / sent.elapsed_s, 1), sent.p50_ms, sent.p99_ms)

    @contextmanager
    def started(
        self,
        running: Running,
        warm_s: float,
        measure_s: float,
        *,
        rate_per_s: float = 0,
        batches_per_session: int = 0,
    ) -> Iterator[subprocess.Popen[str]]:
        """The load generator under way; ended with the block if it has not ended by itself."""
        command = [str(self.program), "--port", str(running.port), "--connections", str(self.connections)]
        command += ["--tokens", str(self.tokens), "--corpus", str(self.corpus), "--headers", str(self.headers)]
        command += ["--warm-s", str(warm_s), "--measure-s", str(measure_s), "--rate", str(rate_per_s)]
        command += ["--raw", str(int(running.raw)), "--batches-per-session", str(batches_per_session)]
        process = subprocess.Popen(
            pinned(self.cores.others, command),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def finish(process: subprocess.Popen[str]) -> Sent:
    """Wait for the run to end. Raises `ContestantFailedError` if it was broken off."""
    output, errors = process.communicate()
    if process.returncode != 0:
        raise ContestantFailedError(f"the load was broken off: {errors.strip()}")
    return msgspec.json.decode(output.strip().splitlines()[-1], type=Sent)


def require_accepted(running: Running, sent: Sent) -> None:
    """A figure counts only if every request was a new batch and was acknowledged. Raises `ContestantFailedError`."""
    if set(sent.statuses) != {"204"}:
        raise ContestantFailedError(
            f"{running.name} answered {sent.statuses}, not 204 alone; refused {running.refused()}"
        )
    if not running.raw:
        counts = running.accepted()
        if counts["duplicate"] or counts["batch"] < sent.answered:
            raise ContestantFailedError(f"{running.name} counted {counts} for {sent.answered} batches")


def _await_begin(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    if line.strip() != "begin":
        raise ContestantFailedError(f"the load did not begin: {line!r}")
