"""The consent view: whatever the order of reading the ledger and hearing its news, the last word holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ingest_service.consent import ConsentView, Grant, LedgerRow

PATIENT = (1, UUID(int=1))
OTHER = (1, UUID(int=2))
START = datetime(2026, 3, 2, tzinfo=UTC)


def _row(granted: bool, minute: int, purpose: str = "biometric") -> LedgerRow:
    return LedgerRow(PATIENT, purpose, Grant(granted, START + timedelta(minutes=minute)))


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.data())
def test_reading_and_news_interleaved_end_with_the_ledgers_last_word(ledger: list[bool], data: st.DataObject) -> None:
    """The ledger grows; each growth is announced, in order; a reading sees what was there when it was made."""
    view = ConsentView()
    read_at = data.draw(st.integers(0, len(ledger)), "rows in the ledger when it is read")
    begin_at = data.draw(st.integers(0, read_at), "news heard before the reading begins")
    finish_at = data.draw(st.integers(begin_at, len(ledger)), "news heard before it is taken over")
    generation = 0
    for place in range(len(ledger) + 1):
        if place == begin_at:
            generation = view.begin_load([PATIENT])
        if place == finish_at:
            rows = [_row(ledger[read_at - 1], read_at - 1)] if read_at else []
            again = view.finish_load(generation, [PATIENT], rows)
            if again:
                # Read again at once: nothing heard in between, and the ledger is at least as far as the news.
                far = max(read_at, place)
                generation = view.begin_load([PATIENT])
                rows = [_row(ledger[far - 1], far - 1)] if far else []
                assert view.finish_load(generation, [PATIENT], rows) == []
        if place < len(ledger):
            view.notified(_row(ledger[place], place))
    grants = view.find(PATIENT)
    assert grants is not None
    assert grants["biometric"].granted == ledger[-1]


def test_a_reading_of_a_lost_connection_is_not_taken_over() -> None:
    view = ConsentView()
    generation = view.begin_load([PATIENT])
    view.reset()
    assert view.finish_load(generation, [PATIENT], [_row(granted=True, minute=0)]) == []
    assert view.find(PATIENT) is None


def test_reset_forgets_everything() -> None:
    view = ConsentView()
    view.echoed(5.0)
    view.finish_load(view.begin_load([PATIENT]), [PATIENT], [_row(granted=True, minute=0)])
    assert view.age_s(7.0) == 2.0
    view.reset()
    assert view.age_s(7.0) is None
    assert view.find(PATIENT) is None


def test_no_row_is_no_grant_and_purposes_are_apart() -> None:
    view = ConsentView()
    view.finish_load(view.begin_load([PATIENT, OTHER]), [PATIENT, OTHER], [_row(granted=True, minute=0)])
    assert view.find(OTHER) == {}
    assert list(view.find(PATIENT) or {}) == ["biometric"]


def test_given_again_while_given_keeps_its_first_time() -> None:
    view = ConsentView()
    view.finish_load(view.begin_load([PATIENT]), [PATIENT], [_row(granted=True, minute=0)])
    assert view.notified(_row(granted=True, minute=9))
    assert (view.find(PATIENT) or {})["biometric"].effective_at == START
    view.notified(_row(granted=False, minute=10))
    view.notified(_row(granted=True, minute=11))
    assert (view.find(PATIENT) or {})["biometric"].effective_at == START + timedelta(minutes=11)


def test_news_of_strangers_is_not_kept() -> None:
    view = ConsentView()
    assert not view.notified(_row(granted=True, minute=0))
    assert view.find(PATIENT) is None
    view.finish_load(view.begin_load([PATIENT]), [PATIENT], [])
    view.keep_only({OTHER})
    assert view.find(PATIENT) is None
