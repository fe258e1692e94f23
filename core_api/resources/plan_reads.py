"""Routes that read one plan, live: the patient's progress and the specialist's analytics."""

from __future__ import annotations

from dataclasses import asdict

import falcon

from core_api import access, reads
from core_api.bodies import answer, path_id
from core_api.clinical.analytics import analytics
from core_api.clinical.progress import progress
from core_api.deps import Deps
from core_api.encryption import Place
from core_api.identity import require

PATIENT_NAME = "core.patients.full_name_encrypted"


class PlanProgress:
    """GET /v1/patient-treatment-plans/{plan_id}/progress"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, plan_id: str) -> None:
        actor = require(req, "patient", "specialist")
        with self._deps.database.tenant(actor.organisation_id) as tx:
            row = access.plan(tx, actor, path_id(plan_id, "patient_treatment_plan"), lock=False)
            sittings = reads.sittings_of(tx, row)
        today = reads.local_day(row, self._deps.now())
        answer(resp, 200, {**asdict(progress(reads.plan_of(row), sittings, today)), "time_zone": row["time_zone"]})


class PlanAnalytics:
    """GET /v1/patient-treatment-plans/{plan_id}/analytics"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, plan_id: str) -> None:
        actor = require(req, "specialist")
        with self._deps.database.tenant(actor.organisation_id) as tx:
            row = access.plan(tx, actor, path_id(plan_id, "patient_treatment_plan"), lock=False)
            sittings, exercises = reads.sittings_of(tx, row), reads.performances_of(tx, row)
            place = Place(row["organisation_id"], PATIENT_NAME, str(row["principal_id"]))
            full_name = self._deps.cipher.unseal(tx, row["full_name_encrypted"], place)
        today = reads.local_day(row, self._deps.now())
        answer(
            resp,
            200,
            {
                "patient": {"id": row["patient_id"], "full_name": full_name},
                **asdict(analytics(reads.plan_of(row), sittings, exercises, today)),
                "time_zone": row["time_zone"],
            },
        )
