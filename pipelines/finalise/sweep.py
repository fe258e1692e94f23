"""The sweep: closes sessions that fell silent, and those whose node is given up; sets moving what is stuck. Ids, states
and times only.

A session is closed as ``timeout`` only where its node was ready for the whole silence, so an outage of ours never ends
a patient's session; as ``node_lost`` where the node's lease has been over for long.

What is stuck is tried again a bounded number of times, each time after twice as long, and then given up, which the
operator sees. A session that has ended needs no push while its finaliser tries it (that asks by itself every few
seconds, and counts): the sweep comes in where the finaliser has given it up. A spool whose session nobody knows is a
matter of its node, the only one that sees that disk: its finaliser tells it in its metrics.
"""

from __future__ import annotations

import datetime as dt
from typing import Protocol

import msgspec


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """When a session counts as silent and a node as lost; at most ``sessions_max`` are closed in one pass.

    What is stuck for ``redrive_delay`` is set moving; ``redrives_max`` times, each after twice the time before.
    """

    silence: dt.timedelta
    node_lost: dt.timedelta
    sessions_max: int
    redrive_delay: dt.timedelta = dt.timedelta(minutes=15)
    redrives_max: int = 5  # with 15 minutes the last one is 7 h 45 min after the first


class Redriven(Protocol):
    """What one look at a kind of stuck thing did: set moving again, and given up for good."""

    @property
    def redriven(self) -> int: ...

    @property
    def given_up(self) -> int: ...


class SweepReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One pass. ``spared``: silent sessions that were not closed because their node was not ready all the time.

    ``finalised_again``: sessions given up by the finaliser that it shall try again; ``delivered_again``: results that
    were not applied and are announced again; ``given_up``: stuck sessions that need a person from now on.
    """

    timeout: int
    node_lost: int
    spared: int
    is_complete: bool  # False where a pass reached its bound and another has to follow
    finalised_again: int = 0
    delivered_again: int = 0
    given_up: int = 0

    @property
    def changed(self) -> int:
        """How many sessions are in another state because of this pass."""
        return self.timeout + self.node_lost + self.finalised_again + self.delivered_again + self.given_up


class SweepStore(Protocol):
    """Where sessions are closed. Each call is one transaction; repeating it, or making it twice at once, changes
    nothing more.
    """

    def close_silent(self, silence: dt.timedelta, sessions_max: int) -> int:
        """Close silent sessions of ready nodes as ``timeout``; how many."""
        ...

    def close_lost(self, node_lost: dt.timedelta, sessions_max: int) -> int:
        """Close sessions of lost nodes as ``node_lost``; how many."""
        ...

    def count_spared(self, silence: dt.timedelta) -> int:
        """Open sessions that are silent and stay open, because our node was not ready for the whole silence."""
        ...

    def redrive_failed(self, delay: dt.timedelta, attempts_max: int, sessions_max: int) -> Redriven:
        """Have sessions finalised again that the finaliser gave up."""
        ...

    def redrive_unapplied(self, delay: dt.timedelta, attempts_max: int, sessions_max: int) -> Redriven:
        """Have results announced again that were published ``delay`` ago and are not applied."""
        ...


def sweep(store: SweepStore, rules: Silence) -> SweepReport:
    """One pass."""
    timeout = store.close_silent(rules.silence, rules.sessions_max)
    node_lost = store.close_lost(rules.node_lost, rules.sessions_max)
    failed = store.redrive_failed(rules.redrive_delay, rules.redrives_max, rules.sessions_max)
    unapplied = store.redrive_unapplied(rules.redrive_delay, rules.redrives_max, rules.sessions_max)
    return SweepReport(
        timeout=timeout,
        node_lost=node_lost,
        spared=store.count_spared(rules.silence),
        is_complete=max(timeout, node_lost) < rules.sessions_max,
        finalised_again=failed.redriven,
        delivered_again=unapplied.redriven,
        given_up=failed.given_up + unapplied.given_up,
    )
