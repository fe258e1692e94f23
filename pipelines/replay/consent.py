"""Which receipt times a patient's consent covers, for one session and purpose. Pure.

Belongs here: reading the ledger's rows. Does not belong here: fetching them, or what is done with dropped records.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

# The node's clock stamps receipts and Postgres's the ledger; what arrived this close before a withdrawal goes as well.
CLOCK_MARGIN = dt.timedelta(seconds=1)


class LedgerRow(NamedTuple):
    """One row of ``core.consents`` for one purpose. ``effective_at``: aware."""

    granted: bool
    effective_at: dt.datetime


class ConsentWindow(NamedTuple):
    """Receipt times in ``[begins_at, ends_at)`` count. ``begins_at`` None: never; ``ends_at`` None: not withdrawn."""

    begins_at: dt.datetime | None
    ends_at: dt.datetime | None

    def covers(self, received_at: dt.datetime) -> bool:
        if self.begins_at is None or received_at < self.begins_at:
            return False
        return self.ends_at is None or received_at < self.ends_at


ALWAYS = dt.datetime.min.replace(tzinfo=dt.UTC)
NEVER = ConsentWindow(None, None)


def window(ledger: Sequence[LedgerRow], session_created_at: dt.datetime) -> ConsentWindow:
    """The window of a session created at ``session_created_at``, from all its patient's rows of one purpose, in the
    order in which the ledger took them.

    It opens with the consent in force when the session was created, else with the first one given after that, and
    closes for good with the first withdrawal that follows: granting again takes a new session.
    """
    before = [row for row in ledger if row.effective_at <= session_created_at]
    after = [row for row in ledger if row.effective_at > session_created_at]
    begins_at = ALWAYS if before and before[-1].granted else None
    for row in after:
        if row.granted and begins_at is None:
            begins_at = row.effective_at
        elif not row.granted and begins_at is not None:
            return ConsentWindow(begins_at, row.effective_at - CLOCK_MARGIN)
    return ConsentWindow(begins_at, None)
