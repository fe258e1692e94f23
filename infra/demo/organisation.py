"""An organisation's dashboard reckoned by hand, and held against what an analyst and a manager are shown. Pure.

Belongs here: the definitions (docs/analytics.md) once more, in Python and from the plans and sittings alone. Does not
belong here: anything of dbt, reading a store (``stored``).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

import msgspec

Figures = dict[str, Decimal | None]


class HeldSitting(msgspec.Struct, frozen=True, kw_only=True):
    """A treatment session, in whatever state."""

    status: str
    started_at: dt.datetime
    session_number: int
    pain_level_before: int | None


class HeldPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A patient's plan. ``ended_at`` is None while it runs; ``time_zone`` is the patient's, by its IANA name."""

    patient_id: int
    status: str
    started_on: dt.date
    ended_at: dt.datetime | None
    sessions_total: int
    frequency_per_week: int
    time_zone: str
    sittings: tuple[HeldSitting, ...]

    def expected(self, as_of: dt.datetime) -> int:
        """Sittings owed by then: the frequency a full week, its share of the other days rounded down, at most all."""
        until = as_of if self.status == "active" or self.ended_at is None else min(self.ended_at, as_of)
        days = max((until.astimezone(ZoneInfo(self.time_zone)).date() - self.started_on).days, 0)
        owed = self.frequency_per_week * (days // 7) + self.frequency_per_week * (days % 7) // 7
        return min(owed, self.sessions_total)

    def pain(self) -> tuple[int, int] | None:
        """Before the first and before the last completed sitting; None with fewer than two recordings."""
        done = [one for one in self.sittings if one.status == "completed" and one.pain_level_before is not None]
        done.sort(key=lambda one: (one.started_at, one.session_number))
        recorded = [one.pain_level_before for one in done if one.pain_level_before is not None]
        return (recorded[0], recorded[-1]) if len(recorded) > 1 else None


class ComparedDashboard(msgspec.Struct, frozen=True, kw_only=True):
    """One clinic's figures, from three sides."""

    clinic: str
    by_hand: Figures
    by_api: Figures
    by_analyst: Figures


def by_hand(plans: Sequence[HeldPlan], as_of: dt.datetime) -> Figures:
    """The dashboard's figures over all plans of one organisation; None is unknown."""
    status = Counter(plan.status for plan in plans)
    running = [plan for plan in plans if plan.status == "active"]
    sittings = Counter(one.status for plan in running for one in plan.sittings)
    expected = sum(plan.expected(as_of) for plan in running)
    relief = [pain for plan in plans if plan.status == "completed" and (pain := plan.pain()) is not None]
    ended = status["completed"] + status["expired"] + status["cancelled"]
    important = sum(_is_important(*pain) for pain in relief)
    counts = {
        "patients": len({plan.patient_id for plan in plans}),
        "plans_total": len(plans),
        "plans_active": len(running),
        "plans_completed": status["completed"],
        "plans_expired": status["expired"],
        "plans_cancelled": status["cancelled"],
        "plans_with_pain_reduction": len(relief),
        "sessions_completed": sittings["completed"],
        "sessions_skipped": sittings["skipped"],
        "sessions_expected": expected,
    }
    return {
        **{name: Decimal(count) for name, count in counts.items()},
        "plan_completion_percent": _percent(status["completed"], ended),
        "pain_reduction_points": _mean([first - last for first, last in relief]),
        "important_pain_reduction_percent": _percent(important, len(relief)),
        "adherence_percent": _percent(sittings["completed"], expected),
    }


def figures(shown: Mapping[str, object], names: Sequence[str]) -> Figures:
    """``names`` of what somebody was shown, numbers and decimal strings alike. Raises KeyError where one is missing."""
    return {name: None if shown[name] is None else Decimal(str(shown[name])) for name in names}


def dashboard_problems(compared: ComparedDashboard) -> list[str]:
    """One sentence for each figure that a manager or an analyst is told otherwise than by hand."""
    sides = (("the Core API", compared.by_api), ("an analyst in psql", compared.by_analyst))
    return [
        f"{compared.clinic}: {name} is {_said(shown.get(name))} for {who}, not {_said(wanted)}"
        for name, wanted in compared.by_hand.items()
        for who, shown in sides
        if name not in shown or shown[name] != wanted
    ]


def _said(figure: Decimal | None) -> str:
    return "unknown" if figure is None else f"{figure.normalize():f}"


def _is_important(first: int, last: int) -> bool:
    """A fall of 2 points or 33 %."""
    return last < first and (first - last >= 2 or 100 * (first - last) >= 33 * first)


def _percent(part: int, whole: int) -> Decimal | None:
    return _rounded(Decimal(100 * part) / whole, "1") if whole else None


def _mean(values: Sequence[int]) -> Decimal | None:
    return _rounded(Decimal(sum(values)) / len(values), "0.01") if values else None


def _rounded(value: Decimal, unit: str) -> Decimal:
    return value.quantize(Decimal(unit), ROUND_HALF_UP)
