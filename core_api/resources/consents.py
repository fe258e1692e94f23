"""Routes of the consent ledger."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import falcon

from core_api import access, bodies
from core_api.actions import consent
from core_api.bodies import Id, Purpose, answer, path_id
from core_api.changes import Done, change
from core_api.database import Tx, every
from core_api.deps import Deps
from core_api.identity import require
from core_api.middleware import author
from core_api.pagination import Paged, give, page
from core_api.surface import PATIENT, SPECIALIST, Answer, Operation, PageQuery, Route, parameters


class Consent(Answer, frozen=True, kw_only=True):
    """One row of the ledger; ``effective_at`` is Postgres's."""

    id: int
    purpose: Purpose
    granted: bool
    effective_at: datetime
    form_id: int | None


class Purposes(Answer, frozen=True, kw_only=True):
    """What holds now: without a row, no."""

    biometric: bool
    analytics: bool


class Consents(Answer, frozen=True, kw_only=True):
    """The state of each purpose, and the row it comes from where there is one."""

    patient_id: int
    purposes: Purposes
    latest: list[Consent]


class LedgerRow(Answer, frozen=True, kw_only=True):
    """One row of the ledger, and who had it written."""

    id: int
    purpose: Purpose
    granted: bool
    effective_at: datetime
    form_id: int | None
    recorded_by: UUID


class PatientConsents:
    """POST and GET /v1/patients/{patient_id}/consents"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_post(self, req: falcon.Request, resp: falcon.Response, patient_id: str) -> None:
        actor = require(req)
        body = bodies.read(req, bodies.RecordConsent, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            row, created = consent.record_consent(
                tx,
                actor,
                author(req),
                path_id(patient_id, "patient"),
                purpose=body.purpose,
                is_granted=body.granted,
                form_id=body.form_id,
            )
            return Done(201 if created else 200, row, is_tagged=False)

        change(self._deps, req, resp, actor, work)

    def on_get(self, req: falcon.Request, resp: falcon.Response, patient_id: str) -> None:
        actor = require(req)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            state = consent.consents(tx, actor, path_id(patient_id, "patient"))
        answer(resp, 200, state)


class ConsentLedger:
    """GET /v1/patients/{patient_id}/consents/ledger"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, patient_id: str) -> None:
        actor, asked = require(req), page(parameters(req, PageQuery), "consent-ledger", Id)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            patient = access.patient(tx, actor, path_id(patient_id, "patient"), lock=False)
            values = {"patient_id": patient["id"], "before": asked.after, "fetch": asked.fetch}
            rows = every(tx, "consent_ledger", values)
        answer(resp, 200, give(req, resp, asked, rows, key=lambda row: row["id"], item=dict))


_WHO = (PATIENT, SPECIALIST)
_MISSING = ("patient_not_found",)

ROUTES = (
    Route(
        "/v1/patients/{patient_id}/consents",
        PatientConsents,
        {
            "get": Operation("What the patient consents to", {200: Consents}, roles=_WHO, refusals=_MISSING),
            "post": Operation(
                "Grant or withdraw consent to a purpose",
                {200: Consent, 201: Consent},
                roles=_WHO,
                body=bodies.RecordConsent,
                refusals=(*_MISSING, "erasure_open", "reference_not_found"),
                description="Appends to the ledger, and 201; 200 where it says so already, and nothing moves.",
            ),
        },
    ),
    Route(
        "/v1/patients/{patient_id}/consents/ledger",
        ConsentLedger,
        {
            "get": Operation(
                "Every row of the consent ledger, newest first",
                {200: Paged[LedgerRow]},
                roles=_WHO,
                query=PageQuery,
                refusals=_MISSING,
            )
        },
    ),
)
