"""The consent ledger: append-only, the latest row of a purpose is its state, no row means no."""

from __future__ import annotations

from core_api import access, audit
from core_api.actions.catalogue import reference_missing
from core_api.database import Row, Tx, every, one, the
from core_api.identity import Actor

ENTITY = "core.consents"


def granted(tx: Tx, patient_id: int) -> frozenset[str]:
    """The purposes the patient consents to now."""
    rows = every(tx, "consent_state", {"patient_id": patient_id})
    return frozenset(row["purpose"] for row in rows if row["granted"])


def record_consent(
    tx: Tx,
    actor: Actor,
    author: audit.Author,
    patient_id: int,
    *,
    purpose: str,
    is_granted: bool,
    form_id: int | None,
) -> tuple[Row, bool]:
    """The purpose's ledger row that says so, and whether it was written now.

    Saying again what already holds writes nothing: a withdrawal counts from the moment it was first made, and a later
    row would move that moment. Raises ``Problem`` 404, or 422 for a form that is not the patient's.
    """
    patient = access.patient(tx, actor, patient_id, lock=True)
    if is_granted:
        access.not_being_erased(tx, patient_id)
    if form_id is not None and one(tx, "form_of_patient", {"form_id": form_id, "patient_id": patient_id}) is None:
        raise reference_missing("form_id", "form of this patient")
    for row in every(tx, "consent_state", {"patient_id": patient_id}):
        if row["purpose"] == purpose and row["granted"] == is_granted:
            return row, False
    row = the(
        tx,
        "insert_consent",
        {
            "organisation_id": patient["organisation_id"],
            "patient_id": patient_id,
            "purpose": purpose,
            "granted": is_granted,
            "form_id": form_id,
            "recorded_by": actor.principal_id,
        },
    )
    action = "consent.grant" if is_granted else "consent.withdraw"
    audit.record(tx, author, action, ENTITY, row["id"], purpose=purpose, patient_id=patient_id)
    return row, True


def consents(tx: Tx, actor: Actor, patient_id: int) -> Row:
    """The state of each purpose and the ledger's row it comes from. Raises ``Problem`` 404."""
    access.patient(tx, actor, patient_id, lock=False)
    latest = every(tx, "consent_state", {"patient_id": patient_id})
    now_granted = {row["purpose"] for row in latest if row["granted"]}
    return {
        "patient_id": patient_id,
        "purposes": {purpose: purpose in now_granted for purpose in ("biometric", "analytics")},
        "latest": latest,
    }
