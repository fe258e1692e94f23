"""What is read from the marts, over HTTP, from tables that dbt built: each figure against one reckoned by hand."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

from core_api.app import create_app
from core_api.database import Database
from core_api.encryption import ColumnCipher
from infra.stack.keys import SigningKeys
from infra.stack.throwaway import Database as FreshDatabase
from infra.stack.throwaway import DatabaseServer, cloned_database
from orchestration.dbt_manifest import dbt_executable, profile_variables
from orchestration.settings import DBT_PROJECT_DIR
from pipelines.adapters.key_file import KeyFile
from tests.core_api.clinics import NOW, Api, ApiFactory, Clinic, Clock, make_deps

AS_OF = "2026-03-18T10:00:00Z"
MARTS = ("organisation_dashboard", "top_exercises", "revenue_per_plan", "exercise_trends", "cohort_outcomes")
ROWS = (Path(__file__).parent / "two_clinics.sql").read_text()


def dbt_run(database: FreshDatabase, folder: Path) -> None:
    environ = {
        **os.environ,
        **profile_variables(database.url("analytics_builder")),
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder / "logs"),
        "DBT_PROJECT_DIR": str(DBT_PROJECT_DIR),
        "DBT_PROFILES_DIR": str(DBT_PROJECT_DIR),
    }
    command = [dbt_executable(), "run", "--vars", json.dumps({"as_of": NOW.isoformat()})]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def pool_of(url: str) -> ConnectionPool[Connection[DictRow]]:
    return ConnectionPool(
        url, connection_class=Connection[DictRow], kwargs={"row_factory": dict_row}, min_size=1, max_size=2, timeout=5
    )


@pytest.fixture(scope="module")
def built(
    postgres_server: DatabaseServer,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
    session_keys: SigningKeys,
    identity: SigningKeys,
) -> Iterator[Api]:
    """The Core API over two clinics whose marts were built once."""
    with cloned_database(postgres_server, migrated_template) as database:
        with psycopg.connect(database.admin_url, autocommit=True) as connection:
            connection.execute("set timezone = 'UTC'")
            connection.execute(ROWS.encode())
        dbt_run(database, tmp_path_factory.mktemp("dbt"))
        cipher = ColumnCipher(KeyFile([secrets.token_bytes(32)], secrets.token_bytes), secrets.token_bytes)
        with (
            pool_of(database.url("core_api")) as pool,
            pool_of(database.url("console")) as console,
            psycopg.connect(database.admin_url, autocommit=True, row_factory=dict_row) as admin,
        ):
            clock = Clock()
            deps = make_deps(pool, cipher, clock, session_keys, identity)
            object.__setattr__(deps, "console", Database(console))
            yield Api(falcon.testing.TestClient(create_app(deps)), identity, deps, clock, admin)


def read(built: Api, path: str, role: str = "manager", organisation_id: int = 1) -> dict[str, Any]:
    answer = built.call("GET", path, built.token(uuid.uuid4(), organisation_id, role))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def test_every_figure_of_the_dashboard_is_the_one_reckoned_by_hand(built: Api) -> None:
    """Pain: B fell from 8 to 4, C from 6 to 5, so 2.5 on average, one of two by 2 points or a third. Adherence: A did 6
    of 7 expected in 17 days, F 1 of 3 in 7. Of the four plans that ended, two were completed.
    """
    dashboard = read(built, "/v1/organisations/1/dashboard")
    top, revenue = dashboard.pop("top_exercises"), dashboard.pop("revenue_per_plan")
    assert dashboard == {
        "organisation_id": 1,
        "as_of": AS_OF,
        "patients": 6,
        "plans_total": 6,
        "plans_active": 2,
        "plans_completed": 2,
        "plans_expired": 1,
        "plans_cancelled": 1,
        "plan_completion_percent": 50,
        "plans_with_pain_reduction": 2,
        "pain_reduction_points": 2.5,
        "important_pain_reduction_percent": 50,
        "sessions_completed": 7,
        "sessions_skipped": 1,
        "sessions_expected": 10,
        "adherence_percent": 70,
    }
    # Shoulder has the quad set alone: six plans prescribe it, four the others, which tie by name.
    assert [(each["exercise_name"], each["patient_plans"]) for each in top["most_prescribed"]] == [
        ("Quad Set", 6),
        ("Heel Slides", 4),
        ("Leg Raise", 4),
    ]
    # Leg raises are the best by far, but 19 scored logs are too few. Heel slides: (10 x 50 + 10 x 71) / 20.
    assert [(each["exercise_name"], each["scored_logs"], each["mean_form_score"]) for each in top["best_form"]] == [
        ("Quad Set", 20, 80),
        ("Heel Slides", 20, 60.5),
    ]
    assert [each["exercise_name"] for each in top["worst_form"]] == ["Heel Slides", "Quad Set"]
    # 19900 + 19900 + 5000 over the three plans the service was sold with: 14933.33 each.
    columns = (
        "treatment_plan_name",
        "service_plan_name",
        "currency",
        "patient_plans",
        "patient_plans_completed",
        "payments",
        "paid_cents",
        "paid_cents_per_patient_plan",
    )
    lines = [tuple(each[name] for name in columns) for each in revenue]
    assert lines == [
        ("Knee", "Rehab", "EUR", 3, 2, 3, 44800, 14933),
        ("Knee", None, None, 1, 0, 0, 0, 0),
        ("Shoulder", None, None, 2, 0, 0, 0, 0),
    ]
    assert {each["as_of"] for each in [*revenue, *top["best_form"]]} == {AS_OF}


def test_cohorts_stand_beside_the_attrition_that_selected_them(built: Api) -> None:
    cohorts = read(built, "/v1/organisations/1/cohorts", "specialist")
    assert (cohorts["as_of"], cohorts["next_cursor"]) == (AS_OF, None)
    columns = (
        "start_month",
        "treatment_plan_name",
        "plans_started",
        "attrition_percent",
        "sessions_completed",
        "sessions_expected",
        "adherence_percent",
        "plans_with_pain_reduction",
        "pain_reduction_points",
        "completed_pain_reduction_points",
    )
    shown = [tuple(each[name] for name in columns) for each in cohorts["items"]]
    assert shown[0] == ("2026-03-01", "Knee", 2, 0, 7, 10, 70, 1, 3, None)  # A fell from 7 to 4, F is known once
    assert shown[2] == ("2026-01-01", "Knee", 2, 0, 8, 8, 100, 2, 2.5, 2.5)
    assert shown[1][:4] == ("2026-01-01", "Shoulder", 2, 100)
    assert shown[1][7:] == (1, 0, None)  # D said 9 twice
    only = read(built, "/v1/organisations/1/cohorts?treatment_plan_id=2")
    assert [each["treatment_plan_id"] for each in only["items"]] == [2]


def test_trends_are_week_by_week_and_page_by_page(built: Api) -> None:
    path = "/v1/organisations/1/exercise-trends"
    quad = read(built, f"{path}?exercise_id=1")["items"]
    assert [(each["week_start"], each["logs"], each["reps"], each["mean_form_score"]) for each in quad] == [
        ("2026-03-09", 3, 30, 80),
        ("2026-03-02", 3, 30, 80),
        ("2026-01-05", 14, None, 80),
    ]
    assert (quad[1]["patients"], quad[1]["scored_logs"], quad[1]["mean_video_watch_percentage"]) == (1, 3, 90)
    whole = read(built, path)
    assert len(whole["items"]) == 9
    pages: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        page = read(built, f"{path}?limit=4{cursor and '&cursor='}{cursor}")
        pages.append(page["items"])
        cursor = page["next_cursor"]
    assert [len(page) for page in pages] == [4, 4, 1]
    assert [each for page in pages for each in page] == whole["items"]


def test_one_clinic_never_sees_the_others_figures(built: Api) -> None:
    for what in ("dashboard", "cohorts", "exercise-trends"):
        refused = built.call("GET", f"/v1/organisations/2/{what}", built.token(uuid.uuid4(), 1, "manager"))
        assert (refused.status_code, refused.json["code"]) == (404, "organisation_not_found")
    trends = read(built, "/v1/organisations/2/exercise-trends", organisation_id=2)
    assert [each["exercise_name"] for each in trends["items"]] == ["Squat"]
    south = read(built, "/v1/organisations/2/dashboard", organisation_id=2)
    assert (south["patients"], south["plans_total"], south["pain_reduction_points"]) == (1, 1, None)
    # Even a query that names the other clinic, or none at all, sees one clinic's rows.
    with built.deps.database.tenant(2) as tx:
        for mart in (
            "organisation_dashboard",
            "top_exercises",
            "revenue_per_plan",
            "exercise_trends",
            "cohort_outcomes",
        ):
            seen = tx.execute(f"select distinct organisation_id from analytics.{mart}".encode()).fetchall()
            assert {row["organisation_id"] for row in seen} <= {2}, mart


def test_the_console_sees_no_cell_of_fewer_than_eleven_patients(built: Api) -> None:
    answer = built.call("GET", "/v1/console/benchmarks", built.console())
    assert answer.status_code == 200, answer.text
    cells = {each["movement_profile"]: each for each in answer.json["items"] if each["quarter_start"] == "2025-10-01"}
    assert set(cells) == {"all", "profile_a", "profile_b", "profile_c"}
    figures = ("patients", "exercise_sessions", "reps", "mean_form_score", "mean_rom_deg")
    for each in answer.json["items"]:
        if each["suppression"] == "none":
            assert each["patients"] >= 11
        else:
            assert {each[name] for name in figures} == {None}
    # b has 5 patients; the smaller of the others is withheld with it, or b would be all minus the shown ones.
    assert cells["profile_b"]["suppression"] == "small_cell"
    assert cells["profile_a"]["suppression"] == "complementary"
    assert (cells["profile_c"]["patients"], cells["profile_c"]["mean_form_score"]) == (13, 80)
    # The total would give a and b together, 17 patients of whom a has 11 to 13: b could not be anything from 1 to 10.
    assert cells["all"]["suppression"] == "complementary"
    assert answer.json["as_of"] == AS_OF


def test_the_console_and_the_clinics_are_kept_apart(built: Api) -> None:
    for role in ("manager", "specialist", "patient"):
        refused = built.call("GET", "/v1/console/benchmarks", built.token(uuid.uuid4(), 1, role))
        assert (refused.status_code, refused.json["code"]) == (403, "role_not_allowed")
    for path in ("/v1/organisations/1/dashboard", "/v1/organisations/1/cohorts", f"/v1/sessions/{uuid.uuid4()}"):
        assert built.call("GET", path, built.console()).status_code == 403
    # By the databases' own roles too: neither can read what the other reads.
    with pytest.raises(psycopg.errors.InsufficientPrivilege), built.deps.database.tenant(1) as tx:
        tx.execute("select 1 from analytics.console_cohorts")
    assert built.deps.console is not None
    for table in ("analytics.organisation_dashboard", "core.patients", "telemetry.sessions"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), built.deps.console.tenant(1) as tx:
            tx.execute(f"select 1 from {table}".encode())


def test_without_marts_or_a_console_login_the_reads_say_so(api: Api, clinic: Clinic, make_api: ApiFactory) -> None:
    paths = [
        f"/v1/organisations/{clinic.organisation_id}/{what}" for what in ("dashboard", "cohorts", "exercise-trends")
    ]
    for path in paths:
        refused = api.call("GET", path, api.manager(clinic))
        assert (refused.status_code, refused.json["code"]) == (503, "not_built_yet")
        assert int(refused.headers["retry-after"]) > 0
    bare = make_api()
    refused = bare.call("GET", "/v1/console/benchmarks", bare.console())
    assert (refused.status_code, refused.json["code"]) == (503, "console_not_configured")
