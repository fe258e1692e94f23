"""Exporting a patient: everything the organisation holds about them, opened, in one archive.

Belongs here: what is exported, and opening what is sealed. Does not belong here: formats (``pipelines.export``).

Each part is read in a transaction of its own and is skipped where it is there already; ``at`` is when the export was
begun. Making the archive is registered and audited before it is where it was asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from core_api import audit
from core_api.actions import form, patient_plan, treatment_session
from core_api.database import Row, Tx, every, one, the
from core_api.encryption import ColumnCipher, Place
from pipelines.export import fhir
from pipelines.export.archive import README, Folder

PARTS = (
    "patient", "plans", "payments", "treatment_sessions", "exercise_logs", "forms", "consents", "reference_sessions",
    "personal_references", "exercise_sessions", "movement_of_sessions", "repetitions", "video_views", "video_stalls",
    "audit",
)  # fmt: skip
# (part, sealed column) -> the column its place names, and the row's own column that the place names.
_SEALED = {
    ("patient", "full_name_encrypted"): ("core.patients.full_name_encrypted", "principal_id"),
    ("patient", "contact_encrypted"): ("core.patients.contact_encrypted", "principal_id"),
    ("plans", "end_note_encrypted"): (patient_plan.END_NOTE, "id"),
    ("treatment_sessions", "notes_encrypted"): (treatment_session.NOTES, "id"),
    ("forms", "responses_encrypted"): (form.COLUMN, "id"),
}
_FHIR: dict[str, tuple[str, Callable[[int, list[Row]], list[Row]]]] = {
    "Consent": ("consents", fhir.consents),
    "CarePlan": ("plans", fhir.care_plans),
    "Observation of pain": ("treatment_sessions", fhir.pain_observations),
    "Observation of movement": ("movement_of_sessions", fhir.movement_observations),
    "QuestionnaireResponse": ("forms", fhir.questionnaire_responses),
}


class Exported(NamedTuple):
    """An archive that was made. ``rows``: of each part."""

    export_id: UUID
    path: Path
    size_bytes: int
    sha256: str


class PatientUnknown(LookupError):  # noqa: N818
    """The organisation has no such patient."""


class BeingErased(Exception):  # noqa: N818 - a state, not a mistake
    """The patient's erasure was asked for: nothing more is handed out."""


class Export:
    """One export into ``folder``. ``open_tx`` opens a transaction of the organisation; ``told(part, done, total)``."""

    def __init__(
        self,
        open_tx: Callable[[], Any],
        cipher: ColumnCipher,
        folder: Folder,
        *,
        organisation_id: int,
        patient_id: int,
        told: Callable[[str, int, int], None],
    ) -> None:
        self._open_tx = open_tx
        self._cipher = cipher
        self._folder = folder
        self._organisation_id = organisation_id
        self._patient_id = patient_id
        self._told = told

    def run(self, archive: Path, author: audit.Author, export_id: UUID, at: datetime) -> Exported:
        """Write what is missing, and the archive. Raises ``PatientUnknown``, ``BeingErased``, ``SealBroken``,
        ``OSError``.
        """
        with self._open_tx() as tx:
            if the(tx, "is_being_erased", {"patient_id": self._patient_id})["is_being_erased"]:
                raise BeingErased(f"the erasure of patient {self._patient_id} was asked for: nothing more is exported")
        total = len(PARTS) + 2
        for number, part in enumerate(PARTS, start=1):
            self._part(part)
            self._told(part, number, total)
        if not self._folder.has("fhir/bundle.json"):
            self._folder.write_json("fhir/bundle.json", fhir.bundle(self._resources(), at))
        self._told("fhir", total - 1, total)
        if not self._folder.has("README.txt"):
            self._folder.write("README.txt", README.format(at=at.isoformat(timespec="seconds")).encode())
        draft = archive.with_name(f".{archive.name}.made")
        sha256, size_bytes = self._folder.pack(draft, lambda done, count: self._told("archive", done, count))
        with self._open_tx() as tx:
            values = {
                "export_id": export_id,
                "patient_id": self._patient_id,
                "path": str(archive),
                "size_bytes": size_bytes,
                "sha256": bytes.fromhex(sha256),
            }
            if one(tx, "insert_export", values) is None:  # asked for while this was made
                draft.unlink()
                raise BeingErased(f"the erasure of patient {self._patient_id} was asked for: nothing more is exported")
            audit.record(
                tx, author, "patient.export", "core.patients", self._patient_id,
                export_id=str(export_id), sha256=sha256, size_bytes=size_bytes,
            )  # fmt: skip
        draft.replace(archive)
        return Exported(export_id, archive, size_bytes, sha256)

    def _part(self, part: str) -> None:
        if self._folder.has(f"json/{part}.json"):
            return
        rows = self._rows(part)
        if part == "patient" and not rows:
            raise PatientUnknown(f"organisation {self._organisation_id} has no patient {self._patient_id}")
        self._folder.write_table(part, list(rows[0]) if rows else [], rows)

    def _resources(self) -> list[Row]:
        made: list[Row] = []
        for part, resources in _FHIR.values():
            made += resources(self._patient_id, self._rows(part))
        return made

    def _rows(self, part: str) -> list[Row]:
        """A part's rows with what is sealed opened: ``x_encrypted`` becomes ``x``."""
        with self._open_tx() as tx:
            return [
                self._opened(tx, part, row) for row in every(tx, f"export_{part}", {"patient_id": self._patient_id})
            ]

    def _opened(self, tx: Tx, part: str, row: Row) -> Row:
        opened = {}
        for name, value in row.items():
            if not name.endswith("_encrypted"):
                opened[name] = value
                continue
            column, key = _SEALED[part, name]
            text = self._cipher.unseal(tx, value, Place(self._organisation_id, column, str(row[key])))
            is_json = name == "responses_encrypted" and text is not None
            opened[name.removesuffix("_encrypted")] = msgspec.json.decode(text) if is_json and text else text
        return opened


def work_folder_name(organisation_id: int, patient_id: int) -> str:
    """The same for the same patient, so that an export that was broken off is found again."""
    return ".export-" + hashlib.sha256(f"{organisation_id}/{patient_id}".encode()).hexdigest()[:16]
