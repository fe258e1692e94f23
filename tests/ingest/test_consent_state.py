"""What was found of a session's consent is used again until there is news, and no longer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from ingest_service.admission import Admission
from ingest_service.claims import Claims
from ingest_service.consent import ConsentView, Grant, LedgerRow, news_key
from ingest_service.consent_feed import ConsentUnknownError
from ingest_service.problems import ProblemError
from ingest_service.sessions import PatientKey, Session
from pipelines.ports.landing import SessionHeader

MINTED = datetime(2026, 1, 5, 12, tzinfo=UTC)
PATIENT: PatientKey = (1, UUID(int=5))
GIVEN = Grant(granted=True, effective_at=MINTED - timedelta(days=1), withdrawn_at=None)
TAKEN = Grant(granted=False, effective_at=MINTED + timedelta(minutes=1), withdrawn_at=MINTED + timedelta(minutes=1))


class Ledger:
    """A feed that has read what it is told to; counts how often it is asked for grants."""

    def __init__(self) -> None:
        self.view = ConsentView()
        self.sighted = True
        self.asked = 0

    def read(self, patient: PatientKey, **grants: Grant) -> None:
        generation = self.view.begin_load([patient])
        self.view.finish_load(generation, [patient], [LedgerRow(patient, *item) for item in grants.items()])

    def grants(self, patient: PatientKey) -> dict[str, Grant]:
        self.asked += 1
        found = self.view.find(patient)
        if not self.sighted or found is None:
            raise ConsentUnknownError("unknown")
        return dict(found)

    def state(self) -> int | None:
        return self.view.change_count if self.sighted else None


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.read(PATIENT, biometric=GIVEN, analytics=GIVEN)
    return ledger


@pytest.fixture
def admission(ledger: Ledger) -> Admission:
    return Admission(
        node_id="n",
        sessions=None,  # type: ignore[arg-type]
        consent=ledger,
        is_closed=lambda _: False,
        on_denial=lambda *_: None,
        rate_per_s=1e6,
        burst=1_000_000,
        retry_after_s=5,
    )


@pytest.fixture
def session() -> Session:
    header = SessionHeader(
        session_id=UUID(int=6),
        organisation_id=PATIENT[0],
        principal_id=PATIENT[1],
        log_id=1,
        exercise_id=1,
        started_at=MINTED,
        token_expires_at=MINTED + timedelta(hours=4),
    )
    return Session(Claims(header=header, node_id="n", minted_at=MINTED, expires_at_s=0.0), 0.0, 1_000_000, 4)


def _code(admission: Admission, session: Session, purpose: str = "biometric") -> str | None:
    try:
        admission.permit(session, purpose, 0.0)
    except ProblemError as error:
        return error.code
    return None


def test_without_news_the_ledger_is_asked_once(admission: Admission, session: Session, ledger: Ledger) -> None:
    assert [_code(admission, session) for _ in range(5)] == [None] * 5
    assert ledger.asked == 1


def test_a_purpose_is_not_taken_for_the_other(admission: Admission, session: Session, ledger: Ledger) -> None:
    ledger.read(PATIENT, biometric=GIVEN)
    assert _code(admission, session) is None
    assert _code(admission, session, "analytics") == "consent_missing"


def test_news_of_the_patient_is_heard_at_once(admission: Admission, session: Session, ledger: Ledger) -> None:
    assert _code(admission, session) is None
    ledger.view.notified(news_key(PATIENT))
    assert _code(admission, session) == "consent_unknown"
    ledger.read(PATIENT, biometric=TAKEN)
    assert _code(admission, session) == "consent_withdrawn"


def test_news_of_anyone_asks_again(admission: Admission, session: Session, ledger: Ledger) -> None:
    assert _code(admission, session) is None
    ledger.read((1, UUID(int=9)), biometric=GIVEN)
    assert _code(admission, session) is None
    assert ledger.asked == 2


def test_what_was_found_is_worth_nothing_when_blind(admission: Admission, session: Session, ledger: Ledger) -> None:
    assert _code(admission, session) is None
    ledger.sighted = False
    assert _code(admission, session) == "consent_unknown"


def test_an_interruption_forgets(admission: Admission, session: Session, ledger: Ledger) -> None:
    assert _code(admission, session) is None
    ledger.view.reset()
    assert _code(admission, session) == "consent_unknown"


def test_a_withdrawal_that_was_taken_back_still_stands(admission: Admission, session: Session, ledger: Ledger) -> None:
    """The session is told of it after the ledger was read, and perhaps after a batch came between."""
    ledger.read(PATIENT, biometric=GIVEN._replace(withdrawn_at=MINTED + timedelta(minutes=1)))
    assert _code(admission, session) is None
    session.withdrawn |= {"biometric"}
    assert _code(admission, session) == "consent_withdrawn"
