"""Routes of the consent ledger."""

from __future__ import annotations

import falcon

from core_api import bodies
from core_api.actions import consent
from core_api.bodies import answer, path_id
from core_api.deps import Deps
from core_api.identity import require
from core_api.middleware import author


class PatientConsents:
    """POST and GET /v1/patients/{patient_id}/consents"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_post(self, req: falcon.Request, resp: falcon.Response, patient_id: str) -> None:
        actor = require(req, "patient", "specialist")
        body = bodies.read(req, bodies.RecordConsent, self._deps.settings.body_max_bytes)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            row, created = consent.record_consent(
                tx,
                actor,
                author(req),
                path_id(patient_id, "patient"),
                purpose=body.purpose,
                is_granted=body.granted,
                form_id=body.form_id,
            )
        answer(resp, 201 if created else 200, row)

    def on_get(self, req: falcon.Request, resp: falcon.Response, patient_id: str) -> None:
        actor = require(req, "patient", "specialist")
        with self._deps.database.tenant(actor.organisation_id) as tx:
            state = consent.consents(tx, actor, path_id(patient_id, "patient"))
        answer(resp, 200, state)
