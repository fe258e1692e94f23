"""Routes of specialists."""

from __future__ import annotations

from uuid import UUID

import falcon

from core_api import bodies
from core_api.actions import person
from core_api.bodies import Id, answer
from core_api.changes import Done, change
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
            return Done(201, made, is_tagged=False)

        change(self._deps, req, resp, actor, work)


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
            ),
        },
    ),
)
