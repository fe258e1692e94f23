"""Events that were given up: what they are, and back to work once their cause is mended.

A dead letter is a row of ``bus.deliveries`` in the state ``dead``: kept for 90 days, blocking nobody. Seen here are
ids, the event's key and the kind of error; never the event itself, which is a patient's.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec
from psycopg import Connection
from psycopg.rows import dict_row

from core_api.queries import query

LETTERS_MAX = 10_000


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One event that one consumer gave up. ``key`` of a finalised session is ``<session id>:<revision>``."""

    event_id: int
    organisation_id: int
    topic: str
    key: str
    attempts: int
    last_error: str | None
    published_at: dt.datetime
    given_up_at: dt.datetime


def dead_letters(connection: Connection[Any], consumer: str, letters_max: int = LETTERS_MAX) -> list[DeadLetter]:
    """What ``consumer`` gave up, the oldest first. ``connection`` is of a login in ``restartix_subscriber``."""
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(query("dead_letters"), {"consumer": consumer, "letters_max": letters_max})
        return [msgspec.convert(row, DeadLetter) for row in cursor.fetchall()]


def replay(connection: Connection[Any], consumer: str, event_ids: Sequence[int]) -> list[int]:
    """Make these events due again, with all their attempts before them; the ids that were dead letters.

    Audited in the same transaction. An event that is applied twice changes nothing the second time.
    """
    values = {"consumer": consumer, "event_ids": list(event_ids)}
    return [event_id for (event_id,) in connection.execute(query("replay_dead_letters"), values).fetchall()]
