"""The dashboards as tables in a terminal: what a patient, a specialist and a manager see, from the Core API's answers.

Belongs here: laying out. Does not belong here: any figure that the answers do not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

BAR_WIDTH = 18
UNKNOWN = "–"


def specialist(analytics: Mapping[str, Any], progress: Mapping[str, Any]) -> RenderableType:
    """One plan as its specialist sees it, with the patient's own streak and week."""
    adherence = analytics["adherence"]
    sessions, week = progress["sessions"], progress["this_week"]
    head = Text(
        f"Sessions {sessions['completed']}/{sessions['total']} ({_percent(sessions['percent'])})"
        f"   this week {week['completed']}/{week['expected']}   streak {progress['streak_days']} d\n"
        f"Adherence {_percent(adherence['percent'])} ({adherence['completed']} of {adherence['expected']} expected)"
        f"   average session {_unit(analytics['average_duration_minutes'], 'min')}"
        f"   average video watch {_percent(analytics['average_video_watch_percent'])}"
    )
    exercises = Table("Exercise", box=None, pad_edge=False)
    for title in ("Done", "Skipped", "Incomplete", "Video", "Form"):
        exercises.add_column(title, justify="right")
    for line in analytics["exercises"]:
        exercises.add_row(
            line["name"],
            f"{line['done']}/{line['total']}",
            str(line["skipped"]),
            str(line["incomplete"]),
            _percent(line["video_watch_percent"]),
            UNKNOWN if line["form_score"] is None else f"{float(line['form_score']):.1f}",
        )
    pain = Text(
        f"Pain before {_evolution(analytics['pain_before'])}\nPain after  {_evolution(analytics['pain_after'])}"
    )
    weeks = Text(
        "\n".join(
            f"Week {week['number']}  {_bar(week['percent'])} {_percent(week['percent']):>5}"
            f" ({week['completed']}/{week['expected']}{', running' if week['in_progress'] else ''})"
            for week in analytics["weekly_adherence"]
        )
    )
    title = f"{analytics['patient']['full_name'] or 'Patient'}: {analytics['treatment_plan']}"
    return Panel(Group(head, Text(), exercises, Text(), pain, Text(), weeks), title=title, title_align="left")


def organisation(name: str, dashboard: Mapping[str, Any]) -> RenderableType:
    """The manager's dashboard, from the marts."""
    head = Text(
        f"Patients {dashboard['patients']}   plans {dashboard['plans_total']}: {dashboard['plans_active']} active,"
        f" {dashboard['plans_completed']} completed, {dashboard['plans_expired']} expired,"
        f" {dashboard['plans_cancelled']} cancelled"
        f"   completion {_percent(dashboard['plan_completion_percent'])}\n"
        f"Adherence of active plans {_percent(dashboard['adherence_percent'])}"
        f" ({dashboard['sessions_completed']} of {dashboard['sessions_expected']} expected,"
        f" {dashboard['sessions_skipped']} skipped)\n"
        f"Pain reduction of completed plans {_unit(dashboard['pain_reduction_points'], 'points')}"
    )
    tables = (Text(), _top_exercises(dashboard["top_exercises"]), Text(), _revenue(dashboard["revenue_per_plan"]))
    title = f"{name}: organisation, as of {str(dashboard['as_of'])[:19]}Z"
    return Panel(Group(head, *tables), title=title, title_align="left")


def _top_exercises(rankings: Mapping[str, Sequence[Mapping[str, Any]]]) -> RenderableType:
    table = Table("Exercises", "", box=None, pad_edge=False)
    table.add_column("Plans", justify="right")
    table.add_column("Mean form", justify="right")
    for ranking, rows in rankings.items():
        for row in rows:
            plans, score = row["patient_plans"], row["mean_form_score"]
            table.add_row(
                ranking.replace("_", " "),
                row["exercise_name"],
                UNKNOWN if plans is None else str(plans),
                UNKNOWN if score is None else f"{float(score):.1f}",
            )
        if not rows:
            table.add_row(ranking.replace("_", " "), "none with 20 scored logs in 90 days yet")
    return table


def _revenue(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    table = Table("Treatment plan", "Sold as", box=None, pad_edge=False)
    for title in ("Plans", "Completed", "Paid"):
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(
            row["treatment_plan_name"],
            row["service_plan_name"] or UNKNOWN,
            str(row["patient_plans"]),
            str(row["patient_plans_completed"]),
            f"{row['paid_cents'] / 100:,.2f} {row['currency'] or ''}".strip(),
        )
    return table


def _evolution(pain: Mapping[str, Any]) -> str:
    levels = " → ".join(UNKNOWN if level is None else str(level) for level in pain["values"])
    change = pain["from_first"]
    if change is None or change["percent"] is None:
        return levels
    arrow = "↓" if change["points"] < 0 else "↑" if change["points"] > 0 else "="
    mark = ", important" if change["important"] else ""
    return f"{levels}  ({arrow} {abs(change['percent'])}%{mark})"


def _bar(percent: int | None) -> str:
    filled = 0 if percent is None else round(BAR_WIDTH * min(percent, 100) / 100)
    return "█" * filled + "░" * (BAR_WIDTH - filled)


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value}%"


def _unit(value: float | None, unit: str) -> str:
    return UNKNOWN if value is None else f"{value} {unit}"
