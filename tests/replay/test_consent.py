"""Which receipts a consent ledger covers."""

from __future__ import annotations

import datetime as dt

import pytest

from pipelines.replay.consent import ALWAYS, NEVER, ConsentWindow, LedgerRow, window

CREATED = dt.datetime(2026, 3, 1, 9, 0, tzinfo=dt.UTC)


def at(seconds: float) -> dt.datetime:
    return CREATED + dt.timedelta(seconds=seconds)


def grant(seconds: float) -> LedgerRow:
    return LedgerRow(True, at(seconds))


def withdrawal(seconds: float) -> LedgerRow:
    return LedgerRow(False, at(seconds))


@pytest.mark.parametrize(
    ("ledger", "expected"),
    [
        ([], NEVER),
        ([withdrawal(-5)], NEVER),
        ([withdrawal(5)], NEVER),
        ([grant(-5)], ConsentWindow(ALWAYS, None)),
        ([grant(-5), withdrawal(10)], ConsentWindow(ALWAYS, at(9))),
        ([grant(-9), withdrawal(-5)], NEVER),
        ([grant(-9), withdrawal(-5), grant(-1)], ConsentWindow(ALWAYS, None)),
        ([withdrawal(-5), grant(5)], ConsentWindow(at(5), None)),
        # Granting again takes a new session.
        ([grant(-5), withdrawal(10), grant(11)], ConsentWindow(ALWAYS, at(9))),
        ([grant(3), withdrawal(10), grant(11), withdrawal(12)], ConsentWindow(at(3), at(9))),
        ([grant(-5), grant(2), withdrawal(10), withdrawal(12)], ConsentWindow(ALWAYS, at(9))),
    ],
)
def test_window(ledger: list[LedgerRow], expected: ConsentWindow) -> None:
    assert window(ledger, CREATED) == expected


def test_what_arrived_at_the_margin_or_later_is_not_covered() -> None:
    covered = window([grant(-5), withdrawal(10)], CREATED)
    assert covered.covers(at(9) - dt.timedelta(microseconds=1))
    assert not covered.covers(at(9))
    assert not covered.covers(at(9.5))


def test_without_a_row_nothing_is_covered() -> None:
    assert not window([], CREATED).covers(at(1))
    assert not window([grant(3)], CREATED).covers(at(2.9))
    assert window([grant(3)], CREATED).covers(at(3))
