"""What a worker knows of its patients' consent, and how sure it may be. No I/O: ``consent_feed`` brings the news.

Notifications arrive in commit order, so the worker's own echo is a watermark: everything committed before the echo was
sent has been heard of. Silence proves nothing; a watermark too old means consent is unknown, and nothing is accepted.
A notification is a hint and no more, because any login of the database can send one: it makes the worker forget the
patient and read the ledger again, and says whom it means only to who knows the patient already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from ingest_service.sessions import PatientKey

PURPOSES = ("biometric", "analytics")


class Grant(NamedTuple):
    """The ledger's state of a purpose, since ``effective_at``; ``withdrawn_at``: the last withdrawal, if ever."""

    granted: bool
    effective_at: datetime
    withdrawn_at: datetime | None


class LedgerRow(NamedTuple):
    patient: PatientKey
    purpose: str
    grant: Grant


def news_key(patient: PatientKey) -> str:
    """How the ledger's notifications name a patient (``core.announce_consent``)."""
    organisation_id, principal_id = patient
    return hashlib.sha256(f"{organisation_id}:{principal_id}".encode()).hexdigest()


class ConsentView:
    """The ledger's state for the patients asked about, valid for one connection of the feed (a *generation*)."""

    def __init__(self) -> None:
        self.generation = 0
        self.change_count = 0  # rises whenever anything known of anyone changes or is forgotten
        self._watermark_s: float | None = None
        self._patients: dict[PatientKey, dict[str, Grant]] = {}
        self._loading: dict[PatientKey, bool] = {}  # True: news came while the ledger was being read
        self._by_key: dict[str, PatientKey] = {}  # everyone known or being read

    def reset(self) -> None:
        """Forget everything: the feed was interrupted, and what was missed is unknown."""
        self.generation += 1
        self.change_count += 1
        self._watermark_s = None
        self._patients.clear()
        self._loading.clear()
        self._by_key.clear()

    def echoed(self, sent_s: float) -> None:
        """Our own notification came back: all that was committed before ``sent_s`` (monotonic) is known."""
        self._watermark_s = sent_s

    def age_s(self, now_s: float) -> float | None:
        """How old the knowledge is; None while there is none."""
        return None if self._watermark_s is None else now_s - self._watermark_s

    def find(self, patient: PatientKey) -> Mapping[str, Grant] | None:
        return self._patients.get(patient)

    def begin_load(self, patients: Iterable[PatientKey]) -> int:
        """To be called before the ledger is read for these patients; gives the generation ``finish_load`` needs."""
        for patient in patients:
            self._loading[patient] = False
            self._by_key[news_key(patient)] = patient
        return self.generation

    def finish_load(
        self, generation: int, patients: Iterable[PatientKey], rows: Iterable[LedgerRow]
    ) -> list[PatientKey]:
        """Take over what was read. Gives the patients who must be read again, because news came meanwhile."""
        if generation != self.generation:
            return []
        self.change_count += 1
        found: dict[PatientKey, dict[str, Grant]] = {patient: {} for patient in patients}
        for row in rows:
            found[row.patient][row.purpose] = row.grant
        again = []
        for patient, grants in found.items():
            if self._loading.pop(patient, False):
                again.append(patient)
            else:
                self._patients[patient] = grants
        return again

    def notified(self, key: str) -> PatientKey | None:
        """News of one patient: what was known is forgotten. Gives who is to be read again; None for a stranger, and for
        one whose reading is under way and will be repeated.
        """
        patient = self._by_key.get(key)
        if patient is None:
            return None
        self.change_count += 1
        self._patients.pop(patient, None)
        if patient in self._loading:
            self._loading[patient] = True
            return None
        return patient

    def keep_only(self, patients: set[PatientKey]) -> None:
        """Forget patients without a live session."""
        gone = self._patients.keys() - patients - self._loading.keys()
        for patient in gone:
            del self._patients[patient]
        self._by_key = {key: known for key, known in self._by_key.items() if known not in gone}
