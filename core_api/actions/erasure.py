"""Asking for a patient's erasure, and what has become of it. Erasing itself is ``pipelines.erasure``, on a schedule."""

from __future__ import annotations

import secrets
from uuid import UUID

from core_api import audit
from core_api.database import Row, Tx, one, the
from core_api.errors import not_found
from pipelines.erasure.numbers import retained_number

ENTITY = "core.erasures"


def request_erasure(
    tx: Tx, author: audit.Author, patient_id: int, erasure_id: UUID, reference: str
) -> tuple[Row, bool]:
    """The erasure of this patient, asked for now or before, and whether it is new. Raises ``Problem`` 404.

    Nothing goes in this transaction: the next run begins with revoking consent.
    """
    values = {
        "erasure_id": erasure_id,
        "patient_id": patient_id,
        "retained_patient_id": retained_number(secrets.randbelow),
        "reference": reference,
    }
    made = one(tx, "request_erasure", values)
    if made is None:
        raise not_found("patient")
    if made["is_new"]:
        audit.record(tx, author, "erasure.requested", ENTITY, made["erasure_id"], patient_id=patient_id)
    return the(tx, "erasure", {"erasure_id": made["erasure_id"]}), bool(made["is_new"])


def erasure(tx: Tx, erasure_id: UUID) -> Row:
    """One erasure of the tenant. Raises ``Problem`` 404."""
    row = one(tx, "erasure", {"erasure_id": erasure_id})
    if row is None:
        raise not_found("erasure")
    return row
