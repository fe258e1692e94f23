"""Submitting a form and reading it again: the patient's answers, sealed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from core_api import access, audit
from core_api.actions.catalogue import reference_missing
from core_api.database import Row, Tx, one, run, the
from core_api.encryption import ColumnCipher, Place
from core_api.identity import Actor

ENTITY = "core.forms"
COLUMN = "core.forms.responses_encrypted"


def submit_form(
    tx: Tx,
    actor: Actor,
    author: audit.Author,
    cipher: ColumnCipher,
    *,
    treatment_session_id: int,
    form_template_id: int,
    responses: dict[str, Any],
    now: datetime,
) -> Row:
    """Store the answers and give back their reference. Raises ``Problem`` 404, 409 while the patient's erasure is open,
    or 422 for an unknown template.
    """
    sitting = access.treatment_session(tx, actor, treatment_session_id, lock=False)
    access.not_being_erased(tx, sitting["patient_id"])
    if one(tx, "form_template", {"form_template_id": form_template_id}) is None:
        raise reference_missing("form_template_id", "form template")
    form = the(
        tx,
        "insert_form",
        {
            "organisation_id": sitting["organisation_id"],
            "form_template_id": form_template_id,
            "patient_id": sitting["patient_id"],
            "treatment_session_id": treatment_session_id,
            "now": now,
        },
    )
    place = Place(sitting["organisation_id"], COLUMN, str(form["id"]))
    sealed = cipher.seal(tx, msgspec.json.encode(responses).decode(), place)
    run(tx, "seal_form", {"form_id": form["id"], "responses_encrypted": sealed})
    audit.record(tx, author, "form.submit", ENTITY, form["id"], treatment_session_id=treatment_session_id)
    return {"id": form["id"], "form_template_id": form_template_id, "submitted_at": form["submitted_at"]}


def opened(tx: Tx, cipher: ColumnCipher, row: Row) -> Row:
    """A row of ``list_forms.sql`` with its answers opened; None where there are none any more."""
    text = cipher.unseal(tx, row["responses_encrypted"], Place(row["organisation_id"], COLUMN, str(row["id"])))
    responses = None if text is None else msgspec.json.decode(text)
    hidden = ("organisation_id", "responses_encrypted")
    return {**{name: value for name, value in row.items() if name not in hidden}, "responses": responses}
