"""Routes over one organisation, from the nightly marts: dashboard, exercise trends, cohorts. Nothing here is live.

Every answer says as of when. No figure is made of a mart and a live table.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import falcon
import msgspec
from psycopg import errors

from core_api.bodies import Id, answer, path_id
from core_api.database import Database, Tx, every, one
from core_api.deps import Deps
from core_api.errors import Problem, not_found
from core_api.identity import Actor, require
from core_api.pagination import Page, page
from core_api.pagination import give as give_page
from core_api.surface import MANAGER, SPECIALIST, Answer, Operation, PageQuery, Route, parameters

_RANKINGS = ("most_prescribed", "best_form", "worst_form")


class RankedExercise(Answer, frozen=True, kw_only=True):
    """A place in a ranking. Prescriptions in the first, form in the other two."""

    position: int
    exercise_id: int
    exercise_name: str
    patient_plans: int | None
    scored_logs: int | None
    mean_form_score: Decimal | None
    as_of: dt.datetime


class TopExercises(Answer, frozen=True, kw_only=True):
    """By plans that prescribe them, and by mean form score of the last 90 days (at least 20 scored logs)."""

    most_prescribed: list[RankedExercise]
    best_form: list[RankedExercise]
    worst_form: list[RankedExercise]


class PlanRevenue(Answer, frozen=True, kw_only=True):
    """A treatment plan, what was sold with it, and one currency. ``service_plan_id`` None: nothing was sold."""

    treatment_plan_id: int
    treatment_plan_name: str
    service_plan_id: int | None
    service_plan_name: str | None
    currency: str | None
    patient_plans: int
    patient_plans_completed: int
    payments: int
    paid_cents: int
    paid_cents_per_patient_plan: int
    as_of: dt.datetime


class Dashboard(Answer, frozen=True, kw_only=True):
    """The organisation's figures. Adherence is over active plans, pain reduction over completed ones."""

    organisation_id: int
    as_of: dt.datetime
    patients: int
    plans_total: int
    plans_active: int
    plans_completed: int
    plans_expired: int
    plans_cancelled: int
    plan_completion_percent: int | None
    plans_with_pain_reduction: int
    pain_reduction_points: Decimal | None
    important_pain_reduction_percent: int | None
    sessions_completed: int
    sessions_skipped: int
    sessions_expected: int
    adherence_percent: int | None
    top_exercises: TopExercises
    revenue_per_plan: list[PlanRevenue]


class ExerciseWeek(Answer, frozen=True, kw_only=True):
    """One exercise in one calendar week (of each patient's time zone). Logs in a stream that broke off are counted."""

    week_start: dt.date
    exercise_id: int
    exercise_name: str
    logs: int
    logs_skipped: int
    logs_incomplete: int
    patients: int
    reps: int | None
    counted_reps: int | None
    scored_logs: int
    mean_form_score: Decimal | None
    mean_rom_deg: Decimal | None
    mean_video_watch_percentage: Decimal | None
    stall_ms: int | None
    played_ms: int | None
    stall_ratio: Decimal | None
    as_of: dt.datetime


class ExerciseWeeks(Answer, frozen=True, kw_only=True):
    """A page of exercise weeks, the newest first."""

    as_of: dt.datetime
    items: list[ExerciseWeek]
    next_cursor: str | None


class Cohort(Answer, frozen=True, kw_only=True):
    """Who began one treatment plan in one month. Outcomes stand beside the attrition that selected them."""

    start_month: dt.date
    treatment_plan_id: int
    treatment_plan_name: str
    plans_started: int
    patients: int
    plans_active: int
    plans_completed: int
    plans_expired: int
    plans_cancelled: int
    plans_inactive: int
    plans_never_begun: int
    attrition_percent: int | None
    sessions_completed: int
    sessions_expected: int
    adherence_percent: int | None
    plans_with_pain_reduction: int
    pain_reduction_points: Decimal | None
    completed_plans_with_pain_reduction: int
    completed_pain_reduction_points: Decimal | None
    important_pain_reduction_percent: int | None
    as_of: dt.datetime


class Cohorts(Answer, frozen=True, kw_only=True):
    """A page of cohorts, the youngest first."""

    as_of: dt.datetime
    items: list[Cohort]
    next_cursor: str | None


class TrendQuery(PageQuery, frozen=True, kw_only=True):
    """All exercises, or one."""

    exercise_id: Id | None = None


class CohortQuery(PageQuery, frozen=True, kw_only=True):
    """All treatment plans, or one."""

    treatment_plan_id: Id | None = None


class OrganisationDashboard:
    """GET /v1/organisations/{organisation_id}/dashboard"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, organisation_id: str) -> None:
        actor = _own(require(req, MANAGER), organisation_id)
        with reading_marts(self._deps.database, actor.organisation_id) as tx:
            dashboard = _dashboard(tx, actor.organisation_id)
        answer(resp, 200, dashboard)


class OrganisationExerciseTrends:
    """GET /v1/organisations/{organisation_id}/exercise-trends"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, organisation_id: str) -> None:
        actor = _own(require(req, MANAGER, SPECIALIST), organisation_id)
        query = parameters(req, TrendQuery)
        asked: Page[tuple[dt.date, int]] = page(query, "exercise-trends", tuple[dt.date, int])
        after_week, after_exercise_id = asked.after or (None, None)
        scope = {
            "organisation_id": actor.organisation_id,
            "exercise_id": query.exercise_id,
            "after_week": after_week,
            "after_exercise_id": after_exercise_id,
            "limit": asked.fetch,
        }
        with reading_marts(self._deps.database, actor.organisation_id) as tx:
            as_of, rows = _as_of(tx, actor.organisation_id), every(tx, "organisation_exercise_trends", scope)
        given = give_page(
            req,
            resp,
            asked,
            rows,
            key=lambda row: (row["week_start"], row["exercise_id"]),
            item=lambda row: msgspec.convert(row, ExerciseWeek),
        )
        answer(resp, 200, ExerciseWeeks(as_of=as_of, items=given.items, next_cursor=given.next_cursor))


class OrganisationCohorts:
    """GET /v1/organisations/{organisation_id}/cohorts"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, organisation_id: str) -> None:
        actor = _own(require(req, MANAGER, SPECIALIST), organisation_id)
        query = parameters(req, CohortQuery)
        asked: Page[tuple[dt.date, int]] = page(query, "cohorts", tuple[dt.date, int])
        after_month, after_treatment_plan_id = asked.after or (None, None)
        scope = {
            "organisation_id": actor.organisation_id,
            "treatment_plan_id": query.treatment_plan_id,
            "after_month": after_month,
            "after_treatment_plan_id": after_treatment_plan_id,
            "limit": asked.fetch,
        }
        with reading_marts(self._deps.database, actor.organisation_id) as tx:
            as_of, rows = _as_of(tx, actor.organisation_id), every(tx, "organisation_cohorts", scope)
        given = give_page(
            req,
            resp,
            asked,
            rows,
            key=lambda row: (row["start_month"], row["treatment_plan_id"]),
            item=lambda row: msgspec.convert(row, Cohort),
        )
        answer(resp, 200, Cohorts(as_of=as_of, items=given.items, next_cursor=given.next_cursor))


@contextmanager
def reading_marts(database: Database, organisation_id: int) -> Iterator[Tx]:
    """One tenant's transaction over the marts. Raises ``Problem`` 503 where they are not there, or not granted, yet."""
    try:
        with database.tenant(organisation_id) as tx:
            yield tx
    except (errors.UndefinedTable, errors.InsufficientPrivilege):
        raise not_built_yet() from None


def not_built_yet() -> Problem:
    """The nightly build has not been here yet."""
    detail = "these figures are built nightly and have not been built yet"
    return Problem(503, "not_built_yet", detail, headers={"Retry-After": "3600"})


def _own(actor: Actor, organisation_id: str) -> Actor:
    if path_id(organisation_id, "organisation") != actor.organisation_id:
        raise not_found("organisation")
    return actor


def _as_of(tx: Tx, organisation_id: int) -> dt.datetime:
    """The moment the organisation's marts speak for, known even where a list is empty. Raises ``Problem`` 503."""
    row = one(tx, "marts_as_of", {"organisation_id": organisation_id})
    if row is None:
        raise not_built_yet()
    as_of: dt.datetime = row["as_of"]
    return as_of


def _dashboard(tx: Tx, organisation_id: int) -> Dashboard:
    scope = {"organisation_id": organisation_id}
    figures = one(tx, "organisation_dashboard", scope)
    if figures is None:
        raise not_built_yet()
    top = every(tx, "organisation_top_exercises", scope)
    rankings = {
        ranking: msgspec.convert([row for row in top if row["ranking"] == ranking], list[RankedExercise])
        for ranking in _RANKINGS
    }
    revenue = msgspec.convert(every(tx, "organisation_revenue", scope), list[PlanRevenue])
    shown = {**figures, "top_exercises": TopExercises(**rankings), "revenue_per_plan": revenue}
    return Dashboard(**{name: shown[name] for name in Dashboard.__struct_fields__})


_ORGANISATION = "/v1/organisations/{organisation_id}"
_REFUSALS = ("organisation_not_found", "not_built_yet")
ROUTES = (
    Route(
        f"{_ORGANISATION}/dashboard",
        OrganisationDashboard,
        {"get": Operation("The organisation's dashboard", {200: Dashboard}, (MANAGER,), refusals=_REFUSALS)},
    ),
    Route(
        f"{_ORGANISATION}/exercise-trends",
        OrganisationExerciseTrends,
        {
            "get": Operation(
                "Exercises week by week",
                {200: ExerciseWeeks},
                (SPECIALIST, MANAGER),
                query=TrendQuery,
                refusals=(*_REFUSALS, "cursor_invalid"),
            )
        },
    ),
    Route(
        f"{_ORGANISATION}/cohorts",
        OrganisationCohorts,
        {
            "get": Operation(
                "Patients by treatment plan and the month they began in",
                {200: Cohorts},
                (SPECIALIST, MANAGER),
                query=CohortQuery,
                refusals=(*_REFUSALS, "cursor_invalid"),
            )
        },
    ),
)
