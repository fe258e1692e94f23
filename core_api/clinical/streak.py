"""Streak: consecutive local days with a completed session, up to today. A day that is not over breaks nothing, so a
streak that reached yesterday still stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta


def streak_days(completed_on: Iterable[date], today: date) -> int:
    """Length in days; ``completed_on`` are local days in any order, repeated or not."""
    days = set(completed_on)
    day = today if today in days else today - timedelta(days=1)
    length = 0
    while day in days:
        length += 1
        day -= timedelta(days=1)
    return length
