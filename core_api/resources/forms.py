"""Routes of the forms that come with a treatment session: submitted by the patient, read by both."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import falcon

from core_api import access, bodies
from core_api.actions import form
from core_api.bodies import Id, answer, path_id
from core_api.changes import Done, change
from core_api.database import Tx, every
from core_api.deps import Deps
from core_api.identity import require
from core_api.middleware import author
from core_api.pagination import Paged, give, page
from core_api.surface import PATIENT, SPECIALIST, Answer, Operation, PageQuery, Route, parameters


class SubmittedForm(Answer, frozen=True, kw_only=True):
    """Where the answers are kept."""

    id: int
    form_template_id: int
    submitted_at: datetime


class FormAnswers(Answer, frozen=True, kw_only=True):
    """A submitted form; ``responses`` is null where they were erased."""

    id: int
    form_template_id: int
    form_template_name: str
    form_template_version: int
    submitted_at: datetime
    responses: dict[str, Any] | None


class SessionForms:
    """GET and POST /v1/treatment-sessions/{treatment_session_id}/forms"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, treatment_session_id: str) -> None:
        actor, asked = require(req), page(parameters(req, PageQuery), "forms", Id)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            wanted = path_id(treatment_session_id, "treatment_session")
            sitting = access.treatment_session(tx, actor, wanted, lock=False)
            values = {"treatment_session_id": sitting["id"], "after": asked.after, "fetch": asked.fetch}
            found = give(
                req,
                resp,
                asked,
                every(tx, "list_forms", values),
                key=lambda row: row["id"],
                item=lambda row: form.opened(tx, self._deps.cipher, row),
            )
        answer(resp, 200, found)

    def on_post(self, req: falcon.Request, resp: falcon.Response, treatment_session_id: str) -> None:
        actor, now = require(req), self._deps.now()
        body = bodies.read(req, bodies.SubmitForm, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            submitted = form.submit_form(
                tx,
                actor,
                author(req),
                self._deps.cipher,
                treatment_session_id=path_id(treatment_session_id, "treatment_session"),
                form_template_id=body.form_template_id,
                responses=body.responses,
                now=now,
            )
            return Done(201, submitted, is_tagged=False)

        change(self._deps, req, resp, actor, work)


_WHO = (PATIENT, SPECIALIST)
_MISSING = ("treatment_session_not_found",)

ROUTES = (
    Route(
        "/v1/treatment-sessions/{treatment_session_id}/forms",
        SessionForms,
        {
            "get": Operation(
                "The forms submitted with a treatment session",
                {200: Paged[FormAnswers]},
                roles=_WHO,
                query=PageQuery,
                refusals=_MISSING,
            ),
            "post": Operation(
                "Submit a form after a treatment session",
                {201: SubmittedForm},
                roles=_WHO,
                body=bodies.SubmitForm,
                refusals=(*_MISSING, "erasure_open", "reference_not_found"),
            ),
        },
    ),
)
