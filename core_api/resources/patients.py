"""Routes of patients: enrolling, reading and changing who they are. Names and contact data are stored sealed."""

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
from core_api.surface import PATIENT, STAFF, Answer, Operation, PageQuery, Route, parameters


class Patient(Answer, frozen=True, kw_only=True):
    """A patient of the clinic; days and streaks are counted in ``time_zone``."""

    id: int
    principal_id: UUID
    full_name: str | None
    contact: str | None
    time_zone: str


class Patients:
    """GET and POST /v1/patients"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        asked = page(parameters(req, PageQuery), "patients", Id)
        with self._deps.database.tenant(require(req).organisation_id) as tx:

            def item(row: Row) -> Row:
                return person.represent_patient(person.opened(tx, self._deps.cipher, row, "core.patients"))

            rows = every(tx, "list_patients", {"after": asked.after, "fetch": asked.fetch})
            found = give(req, resp, asked, rows, key=lambda row: row["id"], item=item)
        answer(resp, 200, found)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        actor, now = require(req), self._deps.now()
        body = bodies.read(req, bodies.NewPatient, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            made = person.enrol_patient(tx, actor, author(req), self._deps.cipher, body=body, now=now)
            return Done(201, person.represent_patient(made), location=f"/v1/patients/{made['id']}")

        change(self._deps, req, resp, actor, work)


class OnePatient:
    """GET and PATCH /v1/patients/{patient_id}"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, patient_id: str) -> None:
        actor = require(req)
        with self._deps.database.tenant(actor.organisation_id) as tx:
            row = person.patient(tx, actor, self._deps.cipher, path_id(patient_id, "patient"))
        answer_tagged(req, resp, person.represent_patient(row))

    def on_patch(self, req: falcon.Request, resp: falcon.Response, patient_id: str) -> None:
        actor, if_match = require(req), conditional.given(req)
        body = bodies.read(req, bodies.ChangePatient, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            changed = path_id(patient_id, "patient")
            row = person.change_patient(
                tx, actor, author(req), self._deps.cipher, patient_id=changed, body=body, if_match=if_match
            )
            return Done(200, person.represent_patient(row))

        change(self._deps, req, resp, actor, work)


_MISSING = ("patient_not_found",)

ROUTES = (
    Route(
        "/v1/patients",
        Patients,
        {
            "get": Operation("The clinic's patients", {200: Paged[Patient]}, roles=STAFF, query=PageQuery),
            "post": Operation(
                "Enrol a patient",
                {201: Patient},
                roles=STAFF,
                body=bodies.NewPatient,
                refusals=("already_exists", "time_zone_unknown"),
                is_tagged=True,
            ),
        },
    ),
    Route(
        "/v1/patients/{patient_id}",
        OnePatient,
        {
            "get": Operation("One patient", {200: Patient}, roles=(PATIENT, *STAFF), refusals=_MISSING, is_tagged=True),
            "patch": Operation(
                "Change a patient's name, contact or time zone",
                {200: Patient},
                roles=STAFF,
                body=bodies.ChangePatient,
                refusals=(*_MISSING, "time_zone_unknown"),
                is_tagged=True,
                is_conditional=True,
            ),
        },
    ),
)
