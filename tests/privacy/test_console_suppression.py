"""The attack on the console's cells: solve for what is suppressed, from everything that is published.

The mart's own SQL is run over made-up quarters. Then every suppressed figure is an unknown, every published total an
equation over its quarter's cells; an unknown that the equations determine has been recovered by subtraction, and one
that equations and bounds leave little room for has been narrowed.
"""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import psycopg
import pytest
from psycopg.rows import dict_row
from scipy.optimize import linprog

from infra.stack.throwaway import Database

MART = Path(__file__).parents[2] / "dbt_project" / "models" / "marts" / "console" / "console_cohorts.sql"
MINIMUM = 11
QUARTERS = 400
ADDITIVE = ("patients", "exercise_sessions", "reps")  # patients too: where nobody does two exercises, they add up
Row = dict[str, Any]


def cells(seed: int) -> list[Row]:
    """Quarters of one to seven profiles, small cells common, each with its 'all' row; a cell's patients are its own."""
    chance, made = random.Random(seed), []
    for quarter in range(QUARTERS):
        rows: list[Row] = []
        for profile in range(chance.randint(1, 7)):
            patients = chance.choice([1, 2, 5, 10, 11, 12, 30, 200])
            sessions = patients * chance.randint(1, 4)
            rows.append({"movement_profile": f"profile_{profile}", "is_total": False, "patients": patients,
                         "exercise_sessions": sessions, "reps": sessions * chance.randint(1, 9)})  # fmt: skip
        total = {name: sum(row[name] for row in rows) for name in ADDITIVE}
        rows.append({"movement_profile": "all", "is_total": True, **total})
        made += [{**row, "quarter": quarter} for row in rows]
    return made


# The mart with some of its suppression taken out.
_WIDENING = "when is_total and small_cells > 0 and not is_wide then 'complementary'"
_LEFT_OUT = {"no widening": (_WIDENING,), "small only": (_WIDENING, "when is_hidden then 'complementary'")}


def published(database: Database, rows: list[Row], suppress: str = "mart") -> list[Row]:
    """What the mart's SQL makes of the cells."""
    text = MART.read_text()
    for line in _LEFT_OUT.get(suppress, ()):
        assert line in text
        text = text.replace(line, "")
    rendered = (
        jinja2.Environment(autoescape=False)
        .from_string(text)
        .render(ref=lambda name: f"pg_temp.{name}", var=lambda _: MINIMUM, as_of=lambda: "now()")
    )
    with psycopg.connect(database.admin_url, row_factory=dict_row) as connection:
        connection.execute(
            "create temp table int_profile_quarters (quarter_start date, movement_profile text, is_total boolean,"
            " patients integer, exercise_sessions integer, reps bigint, mean_form_score numeric, mean_rom_deg numeric)"
        )
        with connection.cursor() as cursor:
            cursor.executemany(
                "insert into int_profile_quarters values (date '1900-01-01' + make_interval(months => %(quarter)s * 3),"
                " %(movement_profile)s, %(is_total)s, %(patients)s, %(exercise_sessions)s, %(reps)s, 80, 90)",
                rows,
            )
        return connection.execute(rendered.encode()).fetchall()


def recovered(shown: list[Row], measure: str) -> list[tuple[Any, str]]:
    """The suppressed cells that the published figures determine, as (quarter, profile)."""
    quarters: dict[Any, list[Row]] = defaultdict(list)
    for row in shown:
        quarters[row["quarter_start"]].append(row)
    found = []
    for quarter, rows in quarters.items():
        hidden = [row["movement_profile"] for row in rows if row[measure] is None]
        if not hidden:
            continue
        total = next(row for row in rows if row["movement_profile"] == "all")
        # One equation a quarter: the cells less the total make nothing. What is shown moves to the other side.
        equation = [-1.0 if name == "all" else 1.0 for name in hidden]
        rank = np.linalg.matrix_rank(np.array([equation]))
        assert total["movement_profile"] == "all"
        for place, name in enumerate(hidden):
            asked = np.zeros(len(hidden))
            asked[place] = 1.0
            if np.linalg.matrix_rank(np.array([equation, asked])) == rank:
                found.append((quarter, name))
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_suppressed_cell_can_be_had_back_by_subtraction(database: Database, seed: int) -> None:
    shown = published(database, cells(seed))
    hidden = [row for row in shown if row["suppression"] != "none"]
    assert {row["suppression"] for row in hidden} == {"small_cell", "complementary"}
    assert len(hidden) > QUARTERS
    assert all(row[measure] is None for row in hidden for measure in (*ADDITIVE, "mean_form_score", "mean_rom_deg"))
    assert all(row["patients"] >= MINIMUM for row in shown if row["suppression"] == "none")
    for measure in ADDITIVE:
        assert recovered(shown, measure) == []


def test_the_attack_finds_cells_where_only_small_ones_are_suppressed(database: Database) -> None:
    shown = published(database, cells(1), suppress="small only")
    found = recovered(shown, "patients")
    assert len(found) > 20
    truth = {(row["quarter"], row["movement_profile"]): row["patients"] for row in cells(1)}
    quarter, profile = found[0]
    of_quarter = [row for row in shown if row["quarter_start"] == quarter]
    total = next(row["patients"] for row in of_quarter if row["movement_profile"] == "all")
    others = sum(row["patients"] or 0 for row in of_quarter if row["movement_profile"] != "all")
    number = (quarter.year - 1900) * 4 + (quarter.month - 1) // 3
    assert total - others == truth[number, profile] < MINIMUM


# --- narrowing by inequalities: what a suppressed cell can still be, to somebody who knows the rules ---

PROTECTED_WIDTH = MINIMUM - 2  # of 1 to 10 patients: a small cell could be any of them


def intervals(shown: list[Row], measure: str) -> list[tuple[Any, str, float, float]]:
    """Each small cell's least and greatest value that all published figures and the mart's own rules allow, by linear
    programming: (quarter, profile, least, greatest).

    Who solves knows of each hidden cell whether it is small, that no other hidden one has more patients than the
    smallest that is shown, and, at worst, that no patient does two exercises, so that patients add up.
    """
    quarters: dict[Any, list[Row]] = defaultdict(list)
    for row in shown:
        quarters[row["quarter_start"]].append(row)
    found = []
    for quarter, rows in quarters.items():
        [total] = [row for row in rows if row["movement_profile"] == "all"]
        hidden = [row for row in rows if row["suppression"] != "none" and row is not total]
        visible = [row for row in rows if row["suppression"] == "none" and row is not total]
        largest = min((row["patients"] for row in visible), default=None)
        bounds = [_bounds(row["suppression"], measure, largest) for row in hidden]
        for place, row in enumerate(hidden):
            if row["suppression"] != "small_cell":
                continue
            asked = np.zeros(len(hidden))
            asked[place] = 1.0
            equation: dict[str, Any] = {}
            if total["suppression"] == "none":
                rest = float(total[measure] - sum(each[measure] for each in visible))
                equation = {"A_eq": np.ones((1, len(hidden))), "b_eq": [rest]}
            least, greatest = linprog(asked, bounds=bounds, **equation), linprog(-asked, bounds=bounds, **equation)
            assert least.status == 0, "the truth is a solution"
            limit = float("inf") if greatest.status == 3 else -float(greatest.fun)  # 3: nothing bounds it
            found.append((quarter, row["movement_profile"], float(least.fun), limit))
    return found


def _bounds(suppression: str, measure: str, largest: int | None) -> tuple[float, float | None]:
    """Of one hidden cell. Sessions and repetitions are at least as many as patients, and have no upper bound."""
    is_small = suppression == "small_cell"
    if measure != "patients":
        return (1 if is_small else MINIMUM, None)
    return (1, MINIMUM - 1) if is_small else (MINIMUM, largest)


@pytest.mark.parametrize("measure", ADDITIVE)
def test_no_suppressed_cell_can_be_narrowed_by_inequalities(database: Database, measure: str) -> None:
    shown = published(database, [row for row in cells(4) if row["quarter"] < 130])
    found = intervals(shown, measure)
    assert len(found) > 100
    narrow = [each for each in found if each[3] - each[2] < PROTECTED_WIDTH]
    assert narrow == [], "(quarter, profile, least, greatest)"
    totals = [row for row in shown if row["movement_profile"] == "all"]
    assert {row["suppression"] for row in totals} == {"none", "small_cell", "complementary"}
    assert sum(row["suppression"] == "none" for row in totals) > len(totals) // 4, "totals are worth something still"


def test_the_attack_by_inequalities_finds_what_complementary_suppression_alone_leaves(database: Database) -> None:
    """1 and 11 make 12, and nothing else of a small and another cell does."""
    made = [(1, False, "a"), (11, False, "b"), (200, False, "c"), (212, True, "all")]
    rows = [
        {"quarter": 0, "movement_profile": name, "is_total": is_total, "patients": patients,
         "exercise_sessions": patients, "reps": patients}
        for patients, is_total, name in made
    ]  # fmt: skip
    [(_, profile, least, greatest)] = intervals(published(database, rows, suppress="no widening"), "patients")
    assert (profile, least, greatest) == ("a", 1, 1)
    [(_, _, least, greatest)] = intervals(published(database, rows), "patients")
    assert (least, greatest) == (1, 10)
    assert {row["movement_profile"]: row["suppression"] for row in published(database, rows)} == {
        "a": "small_cell", "b": "complementary", "c": "none", "all": "complementary",
    }  # fmt: skip
