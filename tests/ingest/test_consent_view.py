"""The consent view: whatever the order of reading the ledger and hearing its news, the last word holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ingest_service.consent import ConsentView, Grant, LedgerRow, news_key

PATIENT = (1, UUID(int=1))
OTHER = (1, UUID(int=2))
START = datetime(2026, 3, 2, tzinfo=UTC)


def _row(granted: bool, minute: int, purpose: str = "biometric") -> LedgerRow:
    at = START + timedelta(minutes=minute)
    return LedgerRow(PATIENT, purpose, Grant(granted, at, None if granted else at))


def _known(view: ConsentView, *rows: LedgerRow) -> None:
    assert view.finish_load(view.begin_load([PATIENT]), [PATIENT], rows) == []


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.data())
def test_reading_and_news_interleaved_never_leave_an_outdated_word(ledger: list[bool], data: st.DataObject) -> None:
    """The ledger grows; each growth is announced, in order; a reading sees what was there when it was made."""
    view = ConsentView()
    read_at = data.draw(st.integers(0, len(ledger)), "rows in the ledger when it is read")
    begin_at = data.draw(st.integers(0, read_at), "news heard before the reading begins")
    finish_at = data.draw(st.integers(begin_at, len(ledger)), "news heard before it is taken over")
    generation, again = 0, False
    for heard in range(len(ledger) + 1):
        if heard == begin_at:
            generation = view.begin_load([PATIENT])
        if heard == finish_at:
            rows = [_row(ledger[read_at - 1], read_at - 1)] if read_at else []
            again = view.finish_load(generation, [PATIENT], rows) == [PATIENT]
        if heard < len(ledger):
            again = view.notified(news_key(PATIENT)) is not None or again
    grants = view.find(PATIENT)
    if grants is None:
        assert again, "forgotten, so it must be read again"
    else:
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
    _known(view, _row(granted=True, minute=0))
    assert view.age_s(7.0) == 2.0
    view.reset()
    assert view.age_s(7.0) is None
    assert view.find(PATIENT) is None
    assert view.notified(news_key(PATIENT)) is None


def test_no_row_is_no_grant_and_purposes_are_apart() -> None:
    view = ConsentView()
    view.finish_load(view.begin_load([PATIENT, OTHER]), [PATIENT, OTHER], [_row(granted=True, minute=0)])
    assert view.find(OTHER) == {}
    assert list(view.find(PATIENT) or {}) == ["biometric"]


def test_news_is_a_hint_that_makes_the_patient_unknown_until_read_again() -> None:
    view = ConsentView()
    _known(view, _row(granted=True, minute=0))
    assert view.notified(news_key(PATIENT)) == PATIENT
    assert view.find(PATIENT) is None
    assert view.notified(news_key(PATIENT)) == PATIENT, "until a reading begins, it is still to be read"
    _known(view, _row(granted=False, minute=1))
    assert not (view.find(PATIENT) or {})["biometric"].granted


def test_news_during_a_reading_repeats_it() -> None:
    view = ConsentView()
    generation = view.begin_load([PATIENT])
    assert view.notified(news_key(PATIENT)) is None
    assert view.finish_load(generation, [PATIENT], [_row(granted=True, minute=0)]) == [PATIENT]
    assert view.find(PATIENT) is None


def test_news_of_strangers_and_nonsense_change_nothing() -> None:
    view = ConsentView()
    _known(view, _row(granted=True, minute=0))
    for payload in (news_key(OTHER), "", "x", '{"org": 1, "granted": true}'):
        assert view.notified(payload) is None
    assert view.find(PATIENT) is not None
    view.keep_only({OTHER})
    assert view.find(PATIENT) is None
    assert view.notified(news_key(PATIENT)) is None
