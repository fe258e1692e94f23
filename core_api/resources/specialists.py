"""Routes of specialists."""

from __future__ import annotations

from uuid import UUID

import falcon

from core_api import bodies, conditional
from core_api.actions import person
from core_api.bodies import Id, answer, path_id
from core_api.changes import Done, change
from core_api.conditional import answer_tagged
from core_api.database import Row, Tx, every
from core_api.deps import Deps
from core_api.identity import require
from core_api.middleware import author
from core_api.pagination import Paged, give, page
from core_api.surface import MANAGER, STAFF, Answer, Operation, PageQuery, Route, parameters


class Specialist(Answer, frozen=True, kw_only=True):
    """A specialist of the clinic."""

    id: int
    principal_id: UUID
    full_name: str | None


class Specialists:
    """GET and POST /v1/specialists"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        asked = page(parameters(req, PageQuery), "specialists", Id)
        with self._deps.database.tenant(require(req).organisation_id) as tx:

            def item(row: Row) -> Row:
                opened = person.opened(tx, self._deps.cipher, row, "core.specialists")
                return {name: opened[name] for name in ("id", "principal_id", "full_name")}

            rows = every(tx, "list_specialists", {"after": asked.after, "fetch": asked.fetch})
            found = give(req, resp, asked, rows, key=lambda row: row["id"], item=item)
        answer(resp, 200, found)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        actor, now = require(req), self._deps.now()
        body = bodies.read(req, bodies.NewSpecialist, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            made = person.add_specialist(
                tx,
                actor,
                author(req),
                self._deps.cipher,
                principal_id=body.principal_id,
                full_name=body.full_name,
                now=now,
            )
            return Done(201, made, location=f"/v1/specialists/{made['id']}")

        change(self._deps, req, resp, actor, work)


class OneSpecialist:
    """GET and PATCH /v1/specialists/{specialist_id}"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, specialist_id: str) -> None:
        with self._deps.database.tenant(require(req).organisation_id) as tx:
            row = person.specialist(tx, self._deps.cipher, path_id(specialist_id, "specialist"))
        answer_tagged(req, resp, row)

    def on_patch(self, req: falcon.Request, resp: falcon.Response, specialist_id: str) -> None:
        actor, if_match = require(req), conditional.given(req)
        body = bodies.read(req, bodies.ChangeSpecialist, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            changed = path_id(specialist_id, "specialist")
            return Done(
                200,
                person.change_specialist(tx, author(req), self._deps.cipher, changed, body=body, if_match=if_match),
            )

        change(self._deps, req, resp, actor, work)


_MISSING = ("specialist_not_found",)


ROUTES = (
    Route(
        "/v1/specialists",
        Specialists,
        {
            "get": Operation("The clinic's specialists", {200: Paged[Specialist]}, roles=STAFF, query=PageQuery),
            "post": Operation(
                "Add a specialist",
                {201: Specialist},
                roles=(MANAGER,),
                body=bodies.NewSpecialist,
                refusals=("already_exists",),
                is_tagged=True,
            ),
        },
    ),
    Route(
        "/v1/specialists/{specialist_id}",
        OneSpecialist,
        {
            "get": Operation("One specialist", {200: Specialist}, roles=STAFF, refusals=_MISSING, is_tagged=True),
            "patch": Operation(
                "Change a specialist's name",
                {200: Specialist},
                roles=(MANAGER,),
                body=bodies.ChangeSpecialist,
                refusals=_MISSING,
                is_tagged=True,
                is_conditional=True,
            ),
        },
    ),
)
