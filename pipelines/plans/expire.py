"""Expiring treatment plans whose last day is over where their patient lives.

Belongs here: the bound and the report. Does not belong here: the rule itself, which Postgres evaluates in one place for
every caller (``core.expire_plans``), and completing or cancelling a plan, which are people's doing (``core_api``).
"""

from __future__ import annotations

from typing import Protocol

import msgspec

BATCH_PLANS = 500
BATCHES_MAX = 1000


class PlanStore(Protocol):
    """Each call is one transaction and may be repeated."""

    def expire(self, max_plans: int) -> int:
        """Expire up to ``max_plans`` plans that are over, each with its audit row; how many, 0 where none is left."""
        ...


class ExpiryReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one run did. ``is_complete`` False: its bound was reached, and more is left for the next."""

    expired: int
    is_complete: bool


def expire_plans(store: PlanStore, batch_plans: int = BATCH_PLANS, batches_max: int = BATCHES_MAX) -> ExpiryReport:
    """Expire every plan that is over, in transactions of at most ``batch_plans``."""
    expired = 0
    for _ in range(batches_max):
        batch = store.expire(batch_plans)
        expired += batch
        if batch < batch_plans:
            return ExpiryReport(expired=expired, is_complete=True)
    return ExpiryReport(expired=expired, is_complete=False)
