"""Routes of form templates: what patients are asked."""

from __future__ import annotations

from typing import Any

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
from core_api.surface import PATIENT, STAFF, Answer, Operation, PageQuery, Route, parameters


class FormTemplate(Answer, frozen=True, kw_only=True):
    """One version of a form; ``questions`` is shown to the patient as it is."""

    id: int
    name: str
    version: int
    purpose: str | None
    questions: list[dict[str, Any]]
    is_newest: bool


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
            return Done(201, made, location=f"/v1/form-templates/{made['id']}")

        change(self._deps, req, resp, actor, work)


class OneFormTemplate:
    """GET /v1/form-templates/{form_template_id}"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, form_template_id: str) -> None:
        with self._deps.database.tenant(require(req).organisation_id) as tx:
            row = catalogue.form_template(tx, path_id(form_template_id, "form_template"))
        answer_tagged(req, resp, row)


class FormVersions:
    """POST /v1/form-templates/{form_template_id}/versions"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_post(self, req: falcon.Request, resp: falcon.Response, form_template_id: str) -> None:
        actor, now, if_match = require(req), self._deps.now(), conditional.given(req)
        body = bodies.read(req, bodies.NewFormVersion, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            before = path_id(form_template_id, "form_template")
            made = catalogue.create_form_version(tx, actor, author(req), before, body=body, if_match=if_match, now=now)
            return Done(201, made, location=f"/v1/form-templates/{made['id']}")

        change(self._deps, req, resp, actor, work)


_MISSING = ("form_template_not_found",)


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
                is_tagged=True,
            ),
        },
    ),
    Route(
        "/v1/form-templates/{form_template_id}",
        OneFormTemplate,
        {
            "get": Operation(
                "One version of a form",
                {200: FormTemplate},
                roles=(PATIENT, *STAFF),
                refusals=_MISSING,
                is_tagged=True,
            )
        },
    ),
    Route(
        "/v1/form-templates/{form_template_id}/versions",
        FormVersions,
        {
            "post": Operation(
                "Change a form: its next version",
                {201: FormTemplate},
                roles=STAFF,
                body=bodies.NewFormVersion,
                refusals=(*_MISSING, "form_template_superseded"),
                is_tagged=True,
                is_conditional=True,
                description="A version that exists never changes: consents and answers refer to it.",
            )
        },
    ),
)
