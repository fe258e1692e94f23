"""What a live session takes: resident memory before and after many of them."""

from __future__ import annotations

from dataclasses import replace

from infra.bench import processes
from infra.bench.contestants import Running
from infra.bench.figures import Memory
from infra.bench.sender import Sender, finish, require_accepted
from infra.bench.workload import Clinic, simulate_bodies, write_corpus, write_tokens

_SEED = 7
_ENOUGH_S = 1800.0  # the run ends when every session has sent its batches


def measure(running: Running, sender: Sender, clinic: Clinic, sessions: int, batches_each: int) -> Memory:
    """`sessions` sessions, each with `batches_each` distinct batches accepted, beyond what a warm process takes.

    Warm: as many connections as later, each with as many batches, so that buffers, pools and caches are as large as
    they get. Raises `ContestantFailedError` if any batch was refused.
    """
    folder = running.folder
    bodies = simulate_bodies(batches_each, 1, _SEED)
    write_corpus(folder / "corpus", bodies)
    own = replace(
        sender,
        corpus=folder / "corpus",
        tokens=folder / "tokens",
        connections=max(1, min(sender.connections, sessions // 4)),
    )
    _send_all(running, own, clinic, own.connections * 2, batches_each)
    before = processes.usage(running.process.pid).resident_bytes
    resends = _send_all(running, own, clinic, sessions, batches_each)
    after = processes.usage(running.process.pid).resident_bytes
    return Memory(sessions, batches_each, before, after, resends)


def _send_all(running: Running, sender: Sender, clinic: Clinic, sessions: int, batches_each: int) -> int:
    """How many batches had to be sent again."""
    write_tokens(sender.tokens, clinic.open_sessions(sessions))
    with sender.started(running, 0, _ENOUGH_S, batches_per_session=batches_each) as process:
        sent = finish(process)
    require_accepted(running, sent)
    if sent.answered != sessions * batches_each:
        raise RuntimeError(f"{sent.answered} of {sessions * batches_each} batches were answered in {_ENOUGH_S:.0f} s")
    return sent.retried
