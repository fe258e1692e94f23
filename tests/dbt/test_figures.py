"""The marts' figures against the same definitions computed here in Python from the clinical tables, row by row."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

import core_api as core_api_package
from tests.dbt.conftest import Marts
from tests.dbt.history import AS_OF, Row

# The first test of a run waits for all nights.
pytestmark = pytest.mark.timeout(900)

if TYPE_CHECKING:
    from collections.abc import Callable


def percent(part: int, whole: int) -> int | None:
    """Whole percent, halves up."""
    return None if whole == 0 else int(Fraction(100 * part, whole) + Fraction(1, 2))


def mean(values: Iterable[Decimal | int], places: str = "0.01") -> Decimal | None:
    known = [Fraction(value) for value in values]
    if not known:
        return None
    exact = sum(known, Fraction(0)) / len(known)
    return (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(Decimal(places), ROUND_HALF_UP)


def expected(frequency: int, days: int, total: int) -> int:
    full_weeks, rest = divmod(max(days, 0), 7)
    return min(total, frequency * full_weeks + frequency * rest // 7)


class Clinic:
    """The clinical tables, and what the definitions make of each plan."""

    def __init__(self, read: Callable[[str], list[Row]]) -> None:
        self.organisations = [row["id"] for row in read("select id from core.organisations")]
        self.zone = {row["id"]: ZoneInfo(row["time_zone"]) for row in read("select * from core.patients")}
        self.plans = read("select * from core.patient_treatment_plans")
        self.sittings = read("select * from core.patient_session_completions order by started_at, session_number")
        self.logs = read("select * from core.patient_exercise_logs")
        self.pose = read("select * from telemetry.pose_session_metrics")
        self.views = read("select * from telemetry.media_session_metrics")
        self.by_plan: dict[int, list[Row]] = defaultdict(list)
        for sitting in self.sittings:
            self.by_plan[sitting["patient_treatment_plan_id"]].append(sitting)
        for plan in self.plans:
            self._outcome(plan)

    def _outcome(self, plan: Row) -> None:
        end = AS_OF if plan["status"] == "active" else plan["ended_at"]
        plan["days"] = (end.astimezone(self.zone[plan["patient_id"]]).date() - plan["started_on"]).days
        plan["expected"] = expected(plan["frequency_per_week"], plan["days"], plan["sessions_total"])
        done = [sitting for sitting in self.by_plan[plan["id"]] if sitting["status"] == "completed"]
        plan["completed"] = len(done)
        pains = [sitting["pain_level_before"] for sitting in done if sitting["pain_level_before"] is not None]
        plan["relief"] = pains[0] - pains[-1] if len(pains) > 1 else None
        plan["noticed"] = (
            len(pains) > 1 and pains[0] > pains[-1] and (plan["relief"] >= 2 or 100 * plan["relief"] >= 33 * pains[0])
        )

    def week(self, plan: Row, sitting: Row) -> int:
        day = sitting["started_at"].astimezone(self.zone[plan["patient_id"]]).date()
        days: int = (day - plan["started_on"]).days
        return max(days // 7 + 1, 1)


@pytest.fixture(scope="session")
def clinic(marts: Marts) -> Clinic:
    return Clinic(marts.rows)


def test_the_organisation_dashboard(marts: Marts, clinic: Clinic) -> None:
    shown = {row["organisation_id"]: row for row in marts.rows("select * from analytics.organisation_dashboard")}
    assert set(shown) == set(clinic.organisations)
    for organisation_id, row in shown.items():
        plans = [plan for plan in clinic.plans if plan["organisation_id"] == organisation_id]
        status = Counter(plan["status"] for plan in plans)
        active = [plan for plan in plans if plan["status"] == "active"]
        relieved = [plan for plan in plans if plan["status"] == "completed" and plan["relief"] is not None]
        assert len(active) >= 3 and len(relieved) >= 2, "the history is too thin to prove anything"
        completed, due = sum(p["completed"] for p in active), sum(p["expected"] for p in active)
        ended = status["completed"] + status["expired"] + status["cancelled"]
        noticed = sum(p["noticed"] for p in relieved)
        assert (row["plans_total"], row["plans_active"]) == (len(plans), status["active"])
        assert (row["plans_completed"], row["plans_expired"]) == (status["completed"], status["expired"])
        assert row["plan_completion_percent"] == percent(status["completed"], ended)
        assert (row["sessions_completed"], row["sessions_expected"]) == (completed, due)
        assert row["adherence_percent"] == percent(completed, due)
        assert row["plans_with_pain_reduction"] == len(relieved)
        assert row["pain_reduction_points"] == mean(p["relief"] for p in relieved)
        assert row["important_pain_reduction_percent"] == percent(noticed, len(relieved))
        assert row["as_of"] == AS_OF


def test_the_dashboard_is_the_same_for_an_analyst_and_for_the_core_api(marts: Marts, clinic: Clinic) -> None:
    """By the analyst's login, by the Core API's own statement as its role, and by hand: one figure."""
    statement = (Path(core_api_package.__file__).parent / "sql" / "organisation_dashboard.sql").read_text()
    for organisation_id in clinic.organisations:
        analyst = marts.rows(
            "select * from analytics.organisation_dashboard",
            marts.database.url("analyst", organisation_id=organisation_id),
        )
        asked = statement % {"organisation_id": organisation_id}
        core_api = marts.rows(asked, marts.database.url("core_api"), organisation_id=organisation_id)
        assert len(analyst) == 1
        assert [{name: row[name] for name in core_api[0]} for row in analyst] == core_api
        active = [p for p in clinic.plans if p["organisation_id"] == organisation_id and p["status"] == "active"]
        done, due = sum(p["completed"] for p in active), sum(p["expected"] for p in active)
        assert core_api[0]["adherence_percent"] == percent(done, due)


def test_weekly_adherence_by_the_patients_calendar(marts: Marts, clinic: Clinic) -> None:
    shown = {
        (row["patient_treatment_plan_id"], row["week_number"]): row
        for row in marts.rows("select * from analytics.plan_weekly_adherence")
    }
    wanted: dict[tuple[int, int], tuple[dt.date, int, int, int, int | None]] = {}
    for plan in clinic.plans:
        counts = Counter((clinic.week(plan, s), s["status"]) for s in clinic.by_plan[plan["id"]])
        last = max((week for week, _ in counts), default=0)
        if plan["days"] >= 0:
            last = max(last, plan["days"] // 7 + 1 if plan["status"] == "active" else -(-plan["days"] // 7))
        for week in range(1, last + 1):
            planned = max(
                min(plan["frequency_per_week"], plan["sessions_total"] - plan["frequency_per_week"] * (week - 1)), 0
            )
            completed, skipped = counts[week, "completed"], counts[week, "skipped"]
            start = plan["started_on"] + dt.timedelta(days=7 * (week - 1))
            wanted[plan["id"], week] = (start, planned, completed, skipped, percent(completed, planned))
    found = {
        key: tuple(
            row[name]
            for name in (
                "week_start",
                "sessions_expected",
                "sessions_completed",
                "sessions_skipped",
                "adherence_percent",
            )
        )
        for key, row in shown.items()
    }
    assert found == wanted
    assert any(completed == skipped == 0 for _, _, completed, skipped, _ in wanted.values()), "no empty week"
    moved = [
        sitting
        for plan in clinic.plans
        for sitting in clinic.by_plan[plan["id"]]
        if clinic.week(plan, sitting) != max((sitting["started_at"].date() - plan["started_on"]).days // 7 + 1, 1)
    ]
    assert moved, "no sitting whose week depends on the patient's time zone"


def test_top_exercises(marts: Marts, clinic: Clinic) -> None:
    names = {row["id"]: row["name"] for row in marts.rows("select id, name from core.exercises")}
    contents = defaultdict(list)
    for row in marts.rows("select treatment_plan_id, exercise_id from core.treatment_plan_exercises"):
        contents[row["treatment_plan_id"]].append(row["exercise_id"])
    wanted = set()
    for organisation_id in clinic.organisations:
        prescribed = Counter(
            exercise
            for plan in clinic.plans
            if plan["organisation_id"] == organisation_id
            for exercise in contents[plan["treatment_plan_id"]]
        )
        scores = defaultdict(list)
        for log in clinic.logs:
            recent = (
                dt.timedelta() <= AS_OF.date() - log["started_at"].astimezone(dt.UTC).date() < dt.timedelta(days=90)
            )
            if log["organisation_id"] == organisation_id and recent and log["pose_accuracy_score"] is not None:
                scores[log["exercise_id"]].append(log["pose_accuracy_score"])
        form = {exercise: mean(values) for exercise, values in scores.items() if len(values) >= 20}
        assert form, "no exercise has twenty scored logs"
        rankings: list[tuple[str, dict[int, Any], int]] = [
            ("most_prescribed", dict(prescribed), -1),
            ("best_form", form, -1),
            ("worst_form", form, 1),
        ]
        for ranking, merits, sign in rankings:
            order = sorted(merits, key=lambda e: (sign * merits[e], names[e], e))[:5]
            wanted |= {(organisation_id, ranking, place, e, merits[e]) for place, e in enumerate(order, start=1)}
    found = {
        (
            row["organisation_id"],
            row["ranking"],
            row["position"],
            row["exercise_id"],
            row["patient_plans"] if row["ranking"] == "most_prescribed" else row["mean_form_score"],
        )
        for row in marts.rows("select * from analytics.top_exercises")
    }
    assert found == wanted


def test_revenue(marts: Marts, clinic: Clinic) -> None:
    plans = {plan["id"]: plan for plan in clinic.plans}
    currency = {row["id"]: row["currency"] for row in marts.rows("select id, currency from core.service_plans")}
    paid: Counter[tuple[Any, ...]] = Counter()
    behind: dict[tuple[Any, ...], set[int]] = defaultdict(set)
    for plan in clinic.plans:
        sold = plan["service_plan_id"]
        behind[plan["treatment_plan_id"], sold, currency.get(sold)].add(plan["id"])
    for payment in marts.rows("select * from core.service_plan_payments"):
        plan = plans[payment["patient_treatment_plan_id"]]
        key = (plan["treatment_plan_id"], payment["service_plan_id"], payment["currency"])
        paid[key] += payment["amount_cents"]
        behind[key].add(plan["id"])
    assert {
        (row["treatment_plan_id"], row["service_plan_id"], row["currency"]): (row["patient_plans"], row["paid_cents"])
        for row in marts.rows("select * from analytics.revenue_per_plan")
    } == {key: (len(behind[key]), paid[key]) for key in behind}
    assert sum(paid.values()) > 0


def test_exercise_trends(marts: Marts, clinic: Clinic) -> None:
    patient = {sitting["id"]: sitting["patient_id"] for sitting in clinic.sittings}
    weeks: dict[tuple[int, dt.date], list[Row]] = defaultdict(list)
    for log in clinic.logs:
        day = log["started_at"].astimezone(clinic.zone[patient[log["session_completion_id"]]]).date()
        weeks[log["exercise_id"], day - dt.timedelta(days=day.weekday())].append(log)
    rom: dict[int, Decimal | None] = {p["patient_exercise_log_id"]: p["rom_mean_deg"] for p in clinic.pose}
    stalls: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for view in clinic.views:
        if view["stall_ms"] is not None and view["played_ms"] is not None:
            stalls[view["patient_exercise_log_id"]].append((view["stall_ms"], view["played_ms"]))
    shown = {
        (row["exercise_id"], row["week_start"]): row for row in marts.rows("select * from analytics.exercise_trends")
    }
    assert set(shown) == set(weeks)
    for key, logs in weeks.items():
        row = shown[key]
        reps = [log["actual_reps"] for log in logs if log["actual_reps"] is not None]
        known = [pair for log in logs for pair in stalls[log["id"]]]
        stalled, played = sum(pair[0] for pair in known), sum(pair[1] for pair in known)
        assert row["logs"] == len(logs)
        assert row["logs_skipped"] == sum(log["skipped"] for log in logs)
        assert row["reps"] == (sum(reps) if reps else None)
        assert row["mean_form_score"] == mean(
            log["pose_accuracy_score"] for log in logs if log["pose_accuracy_score"] is not None
        )
        degrees = [rom.get(log["id"]) for log in logs]
        assert row["mean_rom_deg"] == mean(value for value in degrees if value is not None)
        ratio = mean([Fraction(stalled, played)], "0.000001") if played else None  # type: ignore[list-item]
        assert row["stall_ratio"] == ratio


def test_media_engagement(marts: Marts, clinic: Clinic) -> None:
    months: dict[tuple[int, dt.date], list[Row]] = defaultdict(list)
    for view in clinic.views:
        months[view["exercise_id"], view["started_at"].astimezone(dt.UTC).date().replace(day=1)].append(view)
    shown = {
        (row["exercise_id"], row["month_start"]): row for row in marts.rows("select * from analytics.media_engagement")
    }
    assert set(shown) == set(months)
    for key, views in months.items():
        row = shown[key]
        ends = [view["completed"] for view in views if view["completed"] is not None]
        known = [view for view in views if view["stall_ms"] is not None and view["played_ms"] is not None]
        assert row["views"] == len(views)
        assert row["mean_watch_percentage"] == mean(
            view["watch_percentage"] for view in views if view["watch_percentage"] is not None
        )
        assert (row["views_with_known_end"], row["completion_percent"]) == (len(ends), percent(sum(ends), len(ends)))
        for reached in (25, 50, 75, 95):
            count = sum((view["milestone_percent"] or 0) >= reached for view in views)
            assert row[f"reached_{reached}_percent"] == percent(count, len(views))
        assert row["stall_ms"] == (sum(view["stall_ms"] for view in known) if known else None)
        assert row["played_ms"] == (sum(view["played_ms"] for view in known) if known else None)


def test_cohorts_show_attrition_beside_outcomes(marts: Marts, clinic: Clinic) -> None:
    cohorts: dict[tuple[int, dt.date], list[Row]] = defaultdict(list)
    for plan in clinic.plans:
        cohorts[plan["treatment_plan_id"], plan["started_on"].replace(day=1)].append(plan)
    shown = {
        (row["treatment_plan_id"], row["start_month"]): row
        for row in marts.rows("select * from analytics.cohort_outcomes")
    }
    assert set(shown) == set(cohorts)
    for key, plans in cohorts.items():
        row = shown[key]
        relieved = [plan for plan in plans if plan["relief"] is not None]
        assert row["plans_started"] == len(plans)
        assert row["attrition_percent"] == percent(
            sum(plan["status"] in ("expired", "cancelled") for plan in plans), len(plans)
        )
        assert row["adherence_percent"] == percent(
            sum(plan["completed"] for plan in plans), sum(plan["expected"] for plan in plans)
        )
        assert row["pain_reduction_points"] == mean(plan["relief"] for plan in relieved)
        assert row["completed_pain_reduction_points"] == mean(
            plan["relief"] for plan in relieved if plan["status"] == "completed"
        )


def test_the_console_sees_no_cell_under_eleven_patients(marts: Marts, clinic: Clinic) -> None:
    profile = {
        row["id"]: row["movement_profile"] for row in marts.rows("select id, movement_profile from core.exercises")
    }
    cells: dict[tuple[dt.date, str], list[Row]] = defaultdict(list)
    for session in clinic.pose:
        if session["average_form_score"] is not None and session["rom_mean_deg"] is not None:
            at = session["started_at"].astimezone(dt.UTC)
            quarter = dt.date(at.year, 3 * ((at.month - 1) // 3) + 1, 1)
            cells[quarter, profile[session["exercise_id"]]].append(session)
            cells[quarter, "all"].append(session)
    shown = {
        (row["quarter_start"], row["movement_profile"]): row
        for row in marts.rows("select * from analytics.console_cohorts")
    }
    assert set(shown) == set(cells)
    for (quarter, name), sessions in cells.items():
        row = shown[quarter, name]
        patients = len({session["patient_id"] for session in sessions})
        if row["suppression"] == "none":
            assert patients >= 11
            assert row["patients"] == patients
            assert row["reps"] == sum(session["rep_count"] for session in sessions)
            assert row["mean_form_score"] == mean((s["average_form_score"] for s in sessions), "0.1")
        else:
            assert row["patients"] is row["exercise_sessions"] is row["reps"] is row["mean_form_score"] is None
        if patients < 11 or quarter == dt.date(2026, 4, 1):  # the running quarter
            assert row["suppression"] != "none"
    closed = [row for (quarter, _), row in shown.items() if quarter == dt.date(2026, 1, 1)]
    assert closed
