"""Routes of form templates: what patients are asked."""

from __future__ import annotations

from typing import Any

import falcon

from core_api import bodies
from core_api.actions import catalogue
from core_api.bodies import Id, answer
from core_api.changes import Done, change
from core_api.database import Tx, every
from core_api.deps import Deps
from core_api.identity import require
from core_api.middleware import author
from core_api.pagination import Paged, give, page
from core_api.surface import PATIENT, STAFF, Answer, Operation, PageQuery, Route, parameters


class FormTemplate(Answer, frozen=True, kw_only=True):
    """One version of a form; ``questions`` is shown to the patient as it is."""

    id: int
    name: str
    version: int
    purpose: str | None
    questions: list[dict[str, Any]]


class FormTemplates:
    """GET and POST /v1/form-templates"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        asked = page(parameters(req, PageQuery), "form-templates", Id)
        with self._deps.database.tenant(require(req).organisation_id) as tx:
            rows = every(tx, "list_form_templates", {"after": asked.after, "fetch": asked.fetch})
        answer(resp, 200, give(req, resp, asked, rows, key=lambda row: row["id"], item=dict))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        actor, now = require(req), self._deps.now()
        body = bodies.read(req, bodies.NewFormTemplate, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            values = {"name": body.name, "version": body.version, "purpose": body.purpose}
            made = catalogue.create_form_template(tx, actor, author(req), values, questions=body.questions, now=now)
            return Done(201, made, is_tagged=False)

        change(self._deps, req, resp, actor, work)


ROUTES = (
    Route(
        "/v1/form-templates",
        FormTemplates,
        {
            "get": Operation(
                "The clinic's forms", {200: Paged[FormTemplate]}, roles=(PATIENT, *STAFF), query=PageQuery
            ),
            "post": Operation(
                "Add a form, or a new version of one",
                {201: FormTemplate},
                roles=STAFF,
                body=bodies.NewFormTemplate,
                refusals=("already_exists",),
            ),
        },
    ),
)
