"""Routes that read one plan, live: the patient's progress, the specialist's analytics, one exercise's trend.

Nothing here comes from a mart: a finished session shows at once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import falcon

from core_api import access, reads
from core_api.bodies import answer, path_id
from core_api.clinical.analytics import Analytics, analytics
from core_api.clinical.progress import Progress, progress
from core_api.clinical.trend import ExerciseTrend, exercise_trend
from core_api.deps import Deps
from core_api.encryption import Place
from core_api.identity import require
from core_api.surface import PATIENT, SPECIALIST, Operation, Route

PATIENT_NAME = "core.patients.full_name_encrypted"


@dataclass(frozen=True, slots=True)
class NamedPatient:
    """Whose plan it is. ``full_name`` is None where it was erased or never given."""

    id: int
    full_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialistAnalytics(Analytics):
    """The analytics under the patient's name."""

    patient: NamedPatient


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanExerciseTrend(ExerciseTrend):
    """One exercise of one plan."""

    patient_treatment_plan_id: int
    exercise_id: int
    exercise_name: str
    time_zone: str


class PlanProgress:
    """GET /v1/patient-treatment-plans/{plan_id}/progress"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, plan_id: str) -> None:
        actor = require(req, PATIENT, SPECIALIST)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            row = access.plan(tx, actor, path_id(plan_id, "patient_treatment_plan"), lock=False)
            sittings = reads.sittings_of(tx, row)
        today = reads.local_day(row, self._deps.now())
        answer(resp, 200, asdict(progress(reads.plan_of(row), sittings, today)))


class PlanAnalytics:
    """GET /v1/patient-treatment-plans/{plan_id}/analytics"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, plan_id: str) -> None:
        actor = require(req, SPECIALIST)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            row = access.plan(tx, actor, path_id(plan_id, "patient_treatment_plan"), lock=False)
            sittings, exercises = reads.sittings_of(tx, row), reads.performances_of(tx, row)
            place = Place(row["organisation_id"], PATIENT_NAME, str(row["principal_id"]))
            full_name = self._deps.cipher.unseal(tx, row["full_name_encrypted"], place)
        figures = analytics(reads.plan_of(row), sittings, exercises, reads.local_day(row, self._deps.now()))
        answer(resp, 200, {"patient": asdict(NamedPatient(row["patient_id"], full_name)), **asdict(figures)})


class PlanExercise:
    """GET /v1/patient-treatment-plans/{plan_id}/exercises/{exercise_id}/trend"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, plan_id: str, exercise_id: str) -> None:
        actor = require(req, PATIENT, SPECIALIST)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            row = access.plan(tx, actor, path_id(plan_id, "patient_treatment_plan"), lock=False)
            exercise = reads.exercise_of(tx, row, path_id(exercise_id, "exercise"))
            trend = exercise_trend(reads.trend_of(tx, row, exercise["exercise_id"]))
        about = {
            "patient_treatment_plan_id": row["id"],
            "exercise_id": exercise["exercise_id"],
            "exercise_name": exercise["name"],
            "time_zone": row["time_zone"],
        }
        answer(resp, 200, {**about, **asdict(trend)})


_PLAN = "/v1/patient-treatment-plans/{plan_id}"
_PLAN_GONE = "patient_treatment_plan_not_found"
ROUTES = (
    Route(
        f"{_PLAN}/progress",
        PlanProgress,
        {"get": Operation("The patient's progress", {200: Progress}, (PATIENT, SPECIALIST), refusals=(_PLAN_GONE,))},
    ),
    Route(
        f"{_PLAN}/analytics",
        PlanAnalytics,
        {
            "get": Operation(
                "The specialist's analytics of one plan",
                {200: SpecialistAnalytics},
                (SPECIALIST,),
                refusals=(_PLAN_GONE,),
            )
        },
    ),
    Route(
        f"{_PLAN}/exercises/{{exercise_id}}/trend",
        PlanExercise,
        {
            "get": Operation(
                "One exercise over the plan's completed sessions",
                {200: PlanExerciseTrend},
                (PATIENT, SPECIALIST),
                refusals=(_PLAN_GONE, "exercise_not_found"),
            )
        },
    ),
)
