"""Routes of the exercise library."""

from __future__ import annotations

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


class Exercise(Answer, frozen=True, kw_only=True):
    """An exercise of the clinic. ``media_id`` is its video's."""

    id: int
    name: str
    media_id: str | None
    movement_profile: str


class Exercises:
    """GET and POST /v1/exercises"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        asked = page(parameters(req, PageQuery), "exercises", Id)
        with self._deps.database.tenant(require(req).organisation_id) as tx:
            rows = every(tx, "list_exercises", {"after": asked.after, "fetch": asked.fetch})
        answer(resp, 200, give(req, resp, asked, rows, key=lambda row: row["id"], item=dict))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        actor, now = require(req), self._deps.now()
        body = bodies.read(req, bodies.NewExercise, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            values = {"name": body.name, "media_id": body.media_id, "movement_profile": body.movement_profile}
            made = catalogue.create(tx, actor, author(req), "exercise", values=values, now=now)
            return Done(201, catalogue.exercise(tx, made), location=f"/v1/exercises/{made}")

        change(self._deps, req, resp, actor, work)


class OneExercise:
    """GET and PATCH /v1/exercises/{exercise_id}"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, exercise_id: str) -> None:
        with self._deps.database.tenant(require(req).organisation_id) as tx:
            row = catalogue.exercise(tx, path_id(exercise_id, "exercise"))
        answer_tagged(req, resp, row)

    def on_patch(self, req: falcon.Request, resp: falcon.Response, exercise_id: str) -> None:
        actor, if_match = require(req), conditional.given(req)
        body = bodies.read(req, bodies.ChangeExercise, self._deps.settings.body_max_bytes)

        def work(tx: Tx) -> Done:
            changed = path_id(exercise_id, "exercise")
            return Done(200, catalogue.change_exercise(tx, author(req), changed, body, if_match))

        change(self._deps, req, resp, actor, work)


_MISSING = ("exercise_not_found",)

ROUTES = (
    Route(
        "/v1/exercises",
        Exercises,
        {
            "get": Operation("The clinic's exercises", {200: Paged[Exercise]}, roles=STAFF, query=PageQuery),
            "post": Operation(
                "Add an exercise",
                {201: Exercise},
                roles=STAFF,
                body=bodies.NewExercise,
                refusals=("already_exists",),
                is_tagged=True,
            ),
        },
    ),
    Route(
        "/v1/exercises/{exercise_id}",
        OneExercise,
        {
            "get": Operation("One exercise", {200: Exercise}, roles=STAFF, refusals=_MISSING, is_tagged=True),
            "patch": Operation(
                "Change an exercise",
                {200: Exercise},
                roles=STAFF,
                body=bodies.ChangeExercise,
                refusals=(*_MISSING, "already_exists"),
                is_tagged=True,
                is_conditional=True,
                description="Sessions that were started keep the movement profile they froze.",
            ),
        },
    ),
)
