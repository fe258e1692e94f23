"""The sweep: closes sessions that fell silent, and those whose node is given up. Ids, states and times only.

A session is closed as ``timeout`` only where its node was ready for the whole silence, so an outage of ours never ends
a patient's session; as ``node_lost`` where the node's lease has been over for long.
"""

from __future__ import annotations

import datetime as dt
from typing import Protocol

import msgspec


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """When a session counts as silent and a node as lost; at most ``sessions_max`` are closed in one pass."""

    silence: dt.timedelta
    node_lost: dt.timedelta
    sessions_max: int


class SweepReport(msgspec.Struct, frozen=True, kw_only=True):
    """One pass. ``spared``: silent sessions that were not closed because their node was not ready all the time."""

    timeout: int
    node_lost: int
    spared: int
    is_complete: bool  # False where a pass reached its bound and another has to follow


class SweepStore(Protocol):
    """Where sessions are closed. Each call is one transaction, and repeating it changes nothing more."""

    def close_silent(self, silence: dt.timedelta, sessions_max: int) -> int:
        """Close silent sessions of ready nodes as ``timeout``; how many."""
        ...

    def close_lost(self, node_lost: dt.timedelta, sessions_max: int) -> int:
        """Close sessions of lost nodes as ``node_lost``; how many."""
        ...

    def count_spared(self, silence: dt.timedelta) -> int:
        """Open sessions that are silent and stay open, because our node was not ready for the whole silence."""
        ...


def sweep(store: SweepStore, rules: Silence) -> SweepReport:
    """One pass."""
    timeout = store.close_silent(rules.silence, rules.sessions_max)
    node_lost = store.close_lost(rules.node_lost, rules.sessions_max)
    return SweepReport(
        timeout=timeout,
        node_lost=node_lost,
        spared=store.count_spared(rules.silence),
        is_complete=max(timeout, node_lost) < rules.sessions_max,
    )
