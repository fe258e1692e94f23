"""Routes of service plans: what a clinic sells."""

from __future__ import annotations

import falcon
import msgspec

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
from core_api.surface import MANAGER, STAFF, Answer, Operation, PageQuery, Route, parameters


class ServicePlan(Answer, frozen=True, kw_only=True):
    """What a patient buys; the price in the currency's minor unit."""

    id: int
    name: str
    price_cents: int
    currency: str


class ServicePlans:
    """GET and POST /v1/service-plans"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        asked = page(parameters(req, PageQuery), "service-plans", Id)
        with self._deps.database.tenant(require(req).organisation_id) as tx:
            rows = every(tx, "list_service_plans", {"after": asked.after, "fetch": asked.fetch})
        answer(resp, 200, give(req, resp, asked, rows, key=lambda row: row["id"], item=dict))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        actor, now = require(req), self._deps.now()
        body = bodies.read(req, bodies.NewServicePlan, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            values = msgspec.structs.asdict(body)
            made = catalogue.create(tx, actor, author(req), "service_plan", values=values, now=now)
            return Done(201, catalogue.service_plan(tx, made), location=f"/v1/service-plans/{made}")

        change(self._deps, req, resp, actor, work)


class OneServicePlan:
    """GET and PATCH /v1/service-plans/{service_plan_id}"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, service_plan_id: str) -> None:
        with self._deps.database.tenant(require(req).organisation_id) as tx:
            row = catalogue.service_plan(tx, path_id(service_plan_id, "service_plan"))
        answer_tagged(req, resp, row)

    def on_patch(self, req: falcon.Request, resp: falcon.Response, service_plan_id: str) -> None:
        actor, if_match = require(req), conditional.given(req)
        body = bodies.read(req, bodies.ChangeServicePlan, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            changed = path_id(service_plan_id, "service_plan")
            return Done(200, catalogue.change_service_plan(tx, author(req), changed, body, if_match))

        change(self._deps, req, resp, actor, work)


_MISSING = ("service_plan_not_found",)


ROUTES = (
    Route(
        "/v1/service-plans",
        ServicePlans,
        {
            "get": Operation("The clinic's service plans", {200: Paged[ServicePlan]}, roles=STAFF, query=PageQuery),
            "post": Operation(
                "Add a service plan",
                {201: ServicePlan},
                roles=(MANAGER,),
                body=bodies.NewServicePlan,
                is_tagged=True,
            ),
        },
    ),
    Route(
        "/v1/service-plans/{service_plan_id}",
        OneServicePlan,
        {
            "get": Operation("One service plan", {200: ServicePlan}, roles=STAFF, refusals=_MISSING, is_tagged=True),
            "patch": Operation(
                "Change a service plan's name or price",
                {200: ServicePlan},
                roles=(MANAGER,),
                body=bodies.ChangeServicePlan,
                refusals=_MISSING,
                is_tagged=True,
                is_conditional=True,
                description="What was paid keeps its amount. Another currency is another service plan.",
            ),
        },
    ),
)
