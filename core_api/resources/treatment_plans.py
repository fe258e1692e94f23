"""Routes of treatment plans: what is prescribed, before it is any patient's."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import falcon

from core_api import bodies, conditional
from core_api.actions import catalogue
from core_api.bodies import Id, answer, path_id
from core_api.changes import Done, change
from core_api.conditional import answer_tagged
from core_api.database import Tx, every
from core_api.deps import Deps
from core_api.identity import require
from core_api.middleware import author
from core_api.pagination import Paged, give, page
from core_api.surface import STAFF, Answer, Operation, PageQuery, Route, parameters


class Prescribed(Answer, frozen=True, kw_only=True):
    """An exercise as it is prescribed: sets, repetitions a set, side, range of motion and the length of holds."""

    exercise_id: int
    name: str
    media_id: str | None
    prescribed_sets: int | None
    prescribed_reps: int | None
    side: Literal["left", "right", "both"] | None
    target_low_deg: Decimal | None
    target_high_deg: Decimal | None
    hold_ms: int | None
    sort_order: int


class TreatmentPlan(Answer, frozen=True, kw_only=True):
    """A treatment plan with its exercises in the order they are done."""

    id: int
    name: str
    exercises: list[Prescribed]


class TreatmentPlanEntry(Answer, frozen=True, kw_only=True):
    """A treatment plan in a list."""

    id: int
    name: str
    exercises_total: int


class TreatmentPlans:
    """GET and POST /v1/treatment-plans"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        asked = page(parameters(req, PageQuery), "treatment-plans", Id)
        with self._deps.database.tenant(require(req).organisation_id) as tx:
            rows = every(tx, "list_treatment_plans", {"after": asked.after, "fetch": asked.fetch})
        answer(resp, 200, give(req, resp, asked, rows, key=lambda row: row["id"], item=dict))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        actor, now = require(req), self._deps.now()
        body = bodies.read(req, bodies.NewTreatmentPlan, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            plan = catalogue.create_treatment_plan(tx, actor, author(req), body.name, exercises=body.exercises, now=now)
            return Done(201, plan, location=f"/v1/treatment-plans/{plan['id']}")

        change(self._deps, req, resp, actor, work)


class OneTreatmentPlan:
    """GET and PATCH /v1/treatment-plans/{treatment_plan_id}"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, treatment_plan_id: str) -> None:
        with self._deps.database.tenant(require(req).organisation_id) as tx:
            plan = catalogue.treatment_plan(tx, path_id(treatment_plan_id, "treatment_plan"))
        answer_tagged(req, resp, plan)

    def on_patch(self, req: falcon.Request, resp: falcon.Response, treatment_plan_id: str) -> None:
        actor, if_match = require(req), conditional.given(req)
        body = bodies.read(req, bodies.ChangeTreatmentPlan, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            changed = path_id(treatment_plan_id, "treatment_plan")
            return Done(
                200, catalogue.change_treatment_plan(tx, actor, author(req), changed, body=body, if_match=if_match)
            )

        change(self._deps, req, resp, actor, work)


_MISSING = ("treatment_plan_not_found",)

ROUTES = (
    Route(
        "/v1/treatment-plans",
        TreatmentPlans,
        {
            "get": Operation(
                "The clinic's treatment plans", {200: Paged[TreatmentPlanEntry]}, roles=STAFF, query=PageQuery
            ),
            "post": Operation(
                "Create a treatment plan with its prescribed exercises",
                {201: TreatmentPlan},
                roles=STAFF,
                body=bodies.NewTreatmentPlan,
                refusals=("reference_not_found",),
                is_tagged=True,
            ),
        },
    ),
    Route(
        "/v1/treatment-plans/{treatment_plan_id}",
        OneTreatmentPlan,
        {
            "get": Operation(
                "One treatment plan", {200: TreatmentPlan}, roles=STAFF, refusals=_MISSING, is_tagged=True
            ),
            "patch": Operation(
                "Change a treatment plan",
                {200: TreatmentPlan},
                roles=STAFF,
                body=bodies.ChangeTreatmentPlan,
                refusals=(*_MISSING, "treatment_plan_in_use", "reference_not_found"),
                is_tagged=True,
                is_conditional=True,
                description="Once it has been assigned, only its name changes: patients keep what they were given.",
            ),
        },
    ),
)
