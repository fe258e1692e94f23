"""Routes of the console: figures over all organisations, in which no patient and no organisation can be told apart.

Read as a database role of its own (``restartix_console``), which may read the suppressed marts and nothing else: the
Core API's own role cannot read them, and this one cannot read anything of a tenant.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import falcon
import msgspec

from core_api.bodies import answer
from core_api.database import every, the
from core_api.deps import Deps
from core_api.errors import Problem
from core_api.identity import require_console
from core_api.pagination import Page, page
from core_api.pagination import give as give_page
from core_api.resources.organisation import not_built_yet, reading_marts
from core_api.surface import CONSOLE, Answer, Operation, PageQuery, Route, parameters

NO_ORGANISATION = 0  # the console is no tenant


class Benchmark(Answer, frozen=True, kw_only=True):
    """A quarter and movement profile (``all``: every profile). Figures are None where ``suppression`` is not ``none``:
    fewer than 11 patients, or a cell that would give one away by subtraction, or a quarter that is still running.
    """

    quarter_start: dt.date
    movement_profile: str
    suppression: str
    patients: int | None
    exercise_sessions: int | None
    reps: int | None
    mean_form_score: Decimal | None
    mean_rom_deg: Decimal | None


class Benchmarks(Answer, frozen=True, kw_only=True):
    """A page of benchmarks, the newest quarter first."""

    as_of: dt.datetime
    items: list[Benchmark]
    next_cursor: str | None


class ConsoleBenchmarks:
    """GET /v1/console/benchmarks"""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        require_console(req)
        asked: Page[tuple[dt.date, str]] = page(parameters(req, PageQuery), "benchmarks", tuple[dt.date, str])
        after_quarter, after_profile = asked.after or (None, None)
        scope = {"after_quarter": after_quarter, "after_profile": after_profile, "limit": asked.fetch}
        if self._deps.console is None:
            detail = "this service was given no login for the console's figures"
            raise Problem(503, "console_not_configured", detail, headers={"Retry-After": "3600"})
        with reading_marts(self._deps.console, NO_ORGANISATION) as tx:
            as_of = the(tx, "console_as_of", {})["as_of"]
            rows = every(tx, "console_benchmarks", scope)
        if as_of is None:
            raise not_built_yet()
        given = give_page(
            req,
            resp,
            asked,
            rows,
            key=lambda row: (row["quarter_start"], row["movement_profile"]),
            item=lambda row: msgspec.convert(row, Benchmark),
        )
        answer(resp, 200, Benchmarks(as_of=as_of, items=given.items, next_cursor=given.next_cursor))


ROUTES = (
    Route(
        "/v1/console/benchmarks",
        ConsoleBenchmarks,
        {
            "get": Operation(
                "Benchmarks over all organisations, small cells suppressed",
                {200: Benchmarks},
                (CONSOLE,),
                query=PageQuery,
                refusals=("cursor_invalid", "not_built_yet", "console_not_configured"),
            )
        },
    ),
)
