"""The exercises of one treatment session, live: prescribed against actual, and the sessions that were streamed of each.

This is how one gets from a treatment session to its exercise sessions (``session_reads``). Starting an exercise is in
``treatment_sessions``.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import falcon

from core_api import access
from core_api.bodies import Id, answer, path_id
from core_api.database import every
from core_api.deps import Deps
from core_api.identity import require
from core_api.pagination import Paged, give, page
from core_api.surface import PATIENT, SPECIALIST, Answer, Operation, PageQuery, Route, parameters


class StreamedSession(Answer, frozen=True, kw_only=True):
    """One exercise session of a log. ``revision`` is its newest result, ``applied_revision`` the one shown."""

    session_id: UUID
    state: str
    started_at: datetime
    end_reason: str | None
    incomplete: bool
    revision: int
    applied_revision: int


class LoggedExercise(Answer, frozen=True, kw_only=True):
    """One exercise as it was begun. Neither ``done`` nor ``skipped``: only started, or left. Unknown is null."""

    exercise_log_id: int
    exercise_id: int
    exercise_name: str
    sort_order: int
    started_at: datetime
    prescribed_sets: int | None
    prescribed_reps: int | None
    actual_sets: int | None
    actual_reps: int | None
    actual_reps_source: str | None
    video_watch_percentage: Decimal | None
    form_score: Decimal | None
    skipped: bool
    done: bool
    incomplete: bool
    sessions: list[StreamedSession]


class ExerciseLogs:
    """GET /v1/treatment-sessions/{treatment_session_id}/exercise-logs"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, treatment_session_id: str) -> None:
        actor, asked = require(req), page(parameters(req, PageQuery), "exercise-logs", Id)
        wanted = path_id(treatment_session_id, "treatment_session")
        with self._deps.database.tenant(actor.organisation_id) as tx:
            sitting = access.treatment_session(tx, actor, wanted, lock=False)
            values = {"treatment_session_id": sitting["id"], "after": asked.after, "fetch": asked.fetch}
            rows = every(tx, "list_exercise_logs", values)
        answer(resp, 200, give(req, resp, asked, rows, key=lambda row: row["exercise_log_id"], item=dict))


ROUTES = (
    Route(
        "/v1/treatment-sessions/{treatment_session_id}/exercise-logs",
        ExerciseLogs,
        {
            "get": Operation(
                "The treatment session's exercises: prescribed against actual, with their exercise sessions",
                {200: Paged[LoggedExercise]},
                roles=(PATIENT, SPECIALIST),
                query=PageQuery,
                refusals=("treatment_session_not_found",),
            )
        },
    ),
)
