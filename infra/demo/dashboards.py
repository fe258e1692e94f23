"""The dashboards as tables in a terminal: what a patient, a specialist and a manager see, from the Core API's answers.

Belongs here: laying out. Does not belong here: any figure that the answers do not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
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
    title = f"{analytics.get('patient_name') or 'Patient'}: {analytics['treatment_plan']}"
    return Panel(Group(head, Text(), exercises, Text(), pain, Text(), weeks), title=title, title_align="left")


def organisation(name: str, dashboard: Mapping[str, Any]) -> RenderableType:
    """The manager's dashboard, from the marts."""
    table = Table("Figure", "Value", box=None, pad_edge=False)
    for key, value in dashboard.items():
        if key not in ("as_of", "organisation_id") and not isinstance(value, (list, dict)):
            table.add_row(key.replace("_", " "), UNKNOWN if value is None else str(value))
    parts: list[RenderableType] = [table]
    for key, value in dashboard.items():
        if isinstance(value, Mapping):
            parts += [Text(f"\n{key.replace('_', ' ')}", style="bold"), _figures(value)]
        elif isinstance(value, Sequence) and not isinstance(value, str) and value:
            parts += [Text(f"\n{key.replace('_', ' ')}", style="bold"), _rows(value)]
    title = f"{name}, as of {dashboard.get('as_of') or UNKNOWN}"
    return Panel(Group(*parts), title=title, title_align="left")


def show(console: Console, *parts: RenderableType) -> None:
    for part in parts:
        console.print(part)


def _figures(figures: Mapping[str, Any]) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, value in figures.items():
        table.add_row(key.replace("_", " "), UNKNOWN if value is None else str(value))
    return table


def _rows(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    names = [name for name in rows[0] if name not in ("as_of", "organisation_id")]
    table = Table(*(name.replace("_", " ") for name in names), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(UNKNOWN if row[name] is None else str(row[name]) for name in names))
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
