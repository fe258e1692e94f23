"""Routes of erasures: asking for one, how far it is, and its certificate. For managers: it cannot be undone."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import falcon

from core_api import bodies
from core_api.actions import erasure
from core_api.bodies import answer, path_id, path_uuid
from core_api.changes import Done, change
from core_api.database import Tx, every
from core_api.deps import Deps
from core_api.identity import require
from core_api.middleware import author
from core_api.pagination import Paged, give, page
from core_api.surface import MANAGER, Answer, Operation, PageQuery, Route, parameters


class Step(Answer, frozen=True, kw_only=True):
    """One step that is done, and what it counted."""

    step: str
    done_at: datetime
    counts: dict[str, Any]


class WaitingNode(Answer, frozen=True, kw_only=True):
    """An ingest node that has not yet said that its disk is clean of ``sessions``."""

    node_id: str
    sessions: int


class Erasure(Answer, frozen=True, kw_only=True):
    """One erasure. ``patient_id`` is the number the patient had; ``certificate`` None: it is not finished."""

    id: UUID
    patient_id: int
    reference: str
    requested_at: datetime
    steps: list[Step]
    waiting_for_nodes: list[WaitingNode]
    certificate: dict[str, Any] | None


class ListedErasure(Answer, frozen=True, kw_only=True):
    """One erasure of the list."""

    id: UUID
    patient_id: int
    reference: str
    requested_at: datetime
    is_certified: bool


class PatientErasure:
    """POST /v1/patients/{patient_id}/erasure"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_post(self, req: falcon.Request, resp: falcon.Response, patient_id: str) -> None:
        actor = require(req)
        body = bodies.read(req, bodies.RequestErasure, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            number = path_id(patient_id, "patient")
            row, is_new = erasure.request_erasure(tx, author(req), number, uuid4(), body.reference)
            return Done(201 if is_new else 200, row, is_tagged=False, location=f"/v1/erasures/{row['id']}")

        change(self._deps, req, resp, actor, work)


class Erasures:
    """GET /v1/erasures"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        actor, asked = require(req), page(parameters(req, PageQuery), "erasures", tuple[datetime, UUID])
        before_at, before_id = asked.after or (None, None)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            values = {"before_at": before_at, "before_id": before_id, "fetch": asked.fetch}
            rows = every(tx, "list_erasures", values)
        answer(resp, 200, give(req, resp, asked, rows, key=lambda row: (row["requested_at"], row["id"]), item=dict))


class OneErasure:
    """GET /v1/erasures/{erasure_id}"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, erasure_id: str) -> None:
        actor = require(req)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            row = erasure.erasure(tx, path_uuid(erasure_id, "erasure"))
        answer(resp, 200, row)


ROUTES = (
    Route(
        "/v1/patients/{patient_id}/erasure",
        PatientErasure,
        {
            "post": Operation(
                "Ask for a patient's erasure",
                {200: Erasure, 201: Erasure},
                roles=(MANAGER,),
                body=bodies.RequestErasure,
                refusals=("patient_not_found",),
                description="It cannot be undone. It is done by the next runs, and begins with revoking consent; 200 "
                "where it was asked for before.",
            )
        },
    ),
    Route(
        "/v1/erasures",
        Erasures,
        {
            "get": Operation(
                "The clinic's erasures, newest first", {200: Paged[ListedErasure]}, roles=(MANAGER,), query=PageQuery
            )
        },
    ),
    Route(
        "/v1/erasures/{erasure_id}",
        OneErasure,
        {
            "get": Operation(
                "How far an erasure is, and its certificate",
                {200: Erasure},
                roles=(MANAGER,),
                refusals=("erasure_not_found",),
            )
        },
    ),
)
