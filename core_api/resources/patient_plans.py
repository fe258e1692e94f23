"""Routes of a patient's treatment plan: assign, list, change, cancel, and what was paid for it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

import falcon

from core_api import bodies, conditional
from core_api.actions import patient_plan, payment
from core_api.bodies import Id, answer, path_id
from core_api.changes import Done, change
from core_api.conditional import answer_tagged
from core_api.database import Tx, every
from core_api.deps import Deps
from core_api.identity import require
from core_api.middleware import author
from core_api.pagination import Paged, give, page
from core_api.surface import (
    MANAGER,
    PATIENT,
    STAFF,
    Answer,
    Operation,
    PageQuery,
    Route,
    parameters,
)

Status = Literal["active", "completed", "expired", "cancelled"]


class PatientPlan(Answer, frozen=True, kw_only=True):
    """A treatment plan as one patient has it. ``ends_on`` is its last day where the patient lives; without one it does
    not expire.
    """

    id: int
    patient_id: int
    treatment_plan_id: int
    treatment_plan_name: str
    specialist_id: int | None
    service_plan_id: int | None
    sessions_total: int
    sessions_completed: int
    sessions_skipped: int
    frequency_per_week: int
    status: Status
    started_on: date
    ends_on: date | None
    ended_at: datetime | None
    end_note: str | None


class Payment(Answer, frozen=True, kw_only=True):
    """What was paid for a plan, in the service plan's currency."""

    id: int
    patient_treatment_plan_id: int
    service_plan_id: int
    amount_cents: int
    currency: str
    paid_at: datetime


class PlansQuery(PageQuery, frozen=True, kw_only=True):
    """Which of the plans."""

    patient_id: Id | None = None
    status: Status | None = None


class PatientPlans:
    """GET and POST /v1/patient-treatment-plans"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        actor, query = require(req), parameters(req, PlansQuery)
        asked = page(query, "patient-treatment-plans", Id)
        values = {
            "after": asked.after,
            "fetch": asked.fetch,
            "patient_id": query.patient_id,
            "status": query.status,
            "principal_id": actor.principal_id if actor.role == PATIENT else None,
        }
        with self._deps.database.tenant(actor.organisation_id) as tx:
            found = give(
                req,
                resp,
                asked,
                every(tx, "list_patient_plans", values),
                key=lambda row: row["id"],
                item=lambda row: patient_plan.represent(tx, self._deps.cipher, row),
            )
        answer(resp, 200, found)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        actor, now = require(req), self._deps.now()
        body = bodies.read(req, bodies.AssignPlan, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            made = patient_plan.assign(tx, actor, author(req), self._deps.cipher, body=body, now=now)
            return Done(201, made, location=f"/v1/patient-treatment-plans/{made['id']}")

        change(self._deps, req, resp, actor, work)


class OnePatientPlan:
    """GET and PATCH /v1/patient-treatment-plans/{plan_id}"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, plan_id: str) -> None:
        actor = require(req)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            plan = patient_plan.plan(tx, actor, self._deps.cipher, path_id(plan_id, "patient_treatment_plan"))
        answer_tagged(req, resp, plan)

    def on_patch(self, req: falcon.Request, resp: falcon.Response, plan_id: str) -> None:
        actor, if_match, now = require(req), conditional.given(req), self._deps.now()
        body = bodies.read(req, bodies.ChangePatientPlan, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            changed = path_id(plan_id, "patient_treatment_plan")
            return Done(
                200,
                patient_plan.change(
                    tx,
                    actor,
                    author(req),
                    self._deps.cipher,
                    plan_id=changed,
                    body=body,
                    if_match=if_match,
                    now=now,
                ),
            )

        change(self._deps, req, resp, actor, work)


class PlanCancellation:
    """POST /v1/patient-treatment-plans/{plan_id}/cancel"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_post(self, req: falcon.Request, resp: falcon.Response, plan_id: str) -> None:
        actor, if_match, now = require(req), conditional.given(req), self._deps.now()
        body = bodies.read(req, bodies.CancelPlan, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            cancelled = patient_plan.cancel(
                tx,
                actor,
                author(req),
                self._deps.cipher,
                plan_id=path_id(plan_id, "patient_treatment_plan"),
                note=body.note,
                if_match=if_match,
                now=now,
            )
            return Done(200, cancelled, location=f"/v1/patient-treatment-plans/{cancelled['id']}")

        change(self._deps, req, resp, actor, work)


class PlanPayments:
    """POST /v1/patient-treatment-plans/{plan_id}/payments"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_post(self, req: falcon.Request, resp: falcon.Response, plan_id: str) -> None:
        actor, now = require(req), self._deps.now()
        body = bodies.read(req, bodies.NewPayment, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            paid = path_id(plan_id, "patient_treatment_plan")
            made = payment.record_payment(tx, actor, author(req), plan_id=paid, amount_cents=body.amount_cents, now=now)
            return Done(201, made, is_tagged=False)

        change(self._deps, req, resp, actor, work)


_MISSING = ("patient_treatment_plan_not_found",)

ROUTES = (
    Route(
        "/v1/patient-treatment-plans",
        PatientPlans,
        {
            "get": Operation(
                "Patients' treatment plans; a patient's own",
                {200: Paged[PatientPlan]},
                roles=(PATIENT, *STAFF),
                query=PlansQuery,
            ),
            "post": Operation(
                "Assign a treatment plan to a patient",
                {201: PatientPlan},
                roles=STAFF,
                body=bodies.AssignPlan,
                refusals=("erasure_open", "reference_not_found", "time_out_of_range"),
                is_tagged=True,
            ),
        },
    ),
    Route(
        "/v1/patient-treatment-plans/{plan_id}",
        OnePatientPlan,
        {
            "get": Operation(
                "One plan with its counters and status",
                {200: PatientPlan},
                roles=(PATIENT, *STAFF),
                refusals=_MISSING,
                is_tagged=True,
            ),
            "patch": Operation(
                "Change an active plan",
                {200: PatientPlan},
                roles=STAFF,
                body=bodies.ChangePatientPlan,
                refusals=(*_MISSING, "plan_not_active", "reference_not_found", "time_out_of_range"),
                is_tagged=True,
                is_conditional=True,
            ),
        },
    ),
    Route(
        "/v1/patient-treatment-plans/{plan_id}/cancel",
        PlanCancellation,
        {
            "post": Operation(
                "Cancel an active plan",
                {200: PatientPlan},
                roles=STAFF,
                body=bodies.CancelPlan,
                refusals=(*_MISSING, "plan_not_active", "erasure_open"),
                is_tagged=True,
                is_conditional=True,
                description="A treatment session in progress may still be completed, and counts.",
            )
        },
    ),
    Route(
        "/v1/patient-treatment-plans/{plan_id}/payments",
        PlanPayments,
        {
            "post": Operation(
                "Record a payment for a plan that was sold",
                {201: Payment},
                roles=(MANAGER,),
                body=bodies.NewPayment,
                refusals=(*_MISSING, "plan_not_sold"),
            )
        },
    ),
)
