"""The organisation dashboard, from the nightly marts: every figure says as of when. Nothing here is live."""

from __future__ import annotations

import falcon
from psycopg import errors

from core_api.bodies import answer, path_id
from core_api.database import Row, Tx, every, one
from core_api.deps import Deps
from core_api.errors import Problem, not_found
from core_api.identity import require

_RANKINGS = ("most_prescribed", "best_form", "worst_form")


class OrganisationDashboard:
    """GET /v1/organisations/{organisation_id}/dashboard"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response, organisation_id: str) -> None:
        actor = require(req, "manager")
        if path_id(organisation_id, "organisation") != actor.organisation_id:
            raise not_found("organisation")
        try:
            with self._deps.database.tenant(actor.organisation_id) as tx:
                dashboard = _read(tx, actor.organisation_id)
        except (errors.UndefinedTable, errors.InsufficientPrivilege):
            dashboard = None  # the marts are not there, or not granted, before their first build
        if dashboard is None:
            detail = "the organisation's figures are built nightly and have not been built yet"
            raise Problem(503, "not_built_yet", detail, headers={"Retry-After": "3600"})
        answer(resp, 200, dashboard)


def _read(tx: Tx, organisation_id: int) -> Row | None:
    scope = {"organisation_id": organisation_id}
    figures = one(tx, "organisation_dashboard", scope)
    if figures is None:
        return None
    top = every(tx, "organisation_top_exercises", scope)
    return {
        **figures,
        "top_exercises": {
            ranking: [
                {name: value for name, value in row.items() if name != "ranking"}
                for row in top
                if row["ranking"] == ranking
            ]
            for ranking in _RANKINGS
        },
        "revenue_per_plan": every(tx, "organisation_revenue", scope),
    }
