"""The reads over HTTP: the drawn plan through the database, time zones, replay on a real store, and the dashboard."""

from __future__ import annotations

import gzip
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from core_api.queries import query
from core_api.replay import rep_ranges
from core_api.resources.session_answers import Movement, Rep, Stall, View
from core_api.surface import Answer
from infra.stack.throwaway import Bucket
from pipelines.adapters.s3.blob_store import S3BlobStore
from pipelines.adapters.s3.settings import S3Settings
from tests.core_api.clinics import NOW, Api, Clinic
from tests.core_api.test_sessions import complete, open_session, start

BEFORE, AFTER = (7, 6, 6, 5, 5, 4), (5, 4, 4, 3, 3, 3)
STARTS = tuple(datetime(2026, 3, 9, 8, tzinfo=UTC) + timedelta(days=day) for day in (0, 1, 2, 7, 8, 9))


def play_jane(api: Api, clinic: Clinic) -> None:
    """Six back-dated sessions: three in week 1, three in week 2; one leaves out the straight leg raise."""
    api.clock.now = datetime(2026, 3, 26, 9, tzinfo=UTC)
    exercises = clinic.ids.exercises
    for number, (started_at, before, after) in enumerate(zip(STARTS, BEFORE, AFTER, strict=True)):
        sitting = open_session(api, clinic, pain_level_before=before, started_at=started_at.isoformat())["id"]
        done = [each for name, each in exercises.items() if not (number == 2 and name == "Straight Leg Raise")]
        complete(
            api,
            clinic,
            sitting,
            pain_level_after=after,
            exercises=[{"exercise_id": each} for each in done],
            completed_at=(started_at + timedelta(minutes=28)).isoformat(),
        )


def test_the_specialist_reads_the_drawn_plan(api: Api, clinic: Clinic) -> None:
    play_jane(api, clinic)
    read = api.call("GET", f"/v1/patient-treatment-plans/{clinic.plan_id}/analytics", api.specialist(clinic)).json
    assert read["patient"]["full_name"] == "Jane Doe"
    assert read["adherence"] == {"completed": 6, "expected": 7, "percent": 86}  # 17 days: 2 weeks and 3 days
    assert read["average_duration_minutes"] == 28
    assert read["average_video_watch_percent"] is None
    table = [(each["name"], each["done"], each["total"], each["skipped"]) for each in read["exercises"]]
    assert table == [("Quad Set", 6, 6, 0), ("Heel Slides", 6, 6, 0), ("Straight Leg Raise", 5, 6, 1)]
    assert read["pain_before"]["values"] == list(BEFORE)
    assert read["pain_before"]["from_first"] == {"points": -3, "percent": -43, "important": True}
    assert read["pain_after"]["from_first"] == {"points": -2, "percent": -40, "important": True}
    weeks = [(each["completed"], each["expected"], each["percent"]) for each in read["weekly_adherence"]]
    assert weeks == [(3, 3, 100), (3, 3, 100), (0, 3, 0)]
    assert read["attrition"]["sessions_remaining"] == 6


def test_the_patient_reads_the_drawn_plan(api: Api, clinic: Clinic) -> None:
    play_jane(api, clinic)
    api.clock.now = STARTS[-1] + timedelta(hours=5)
    read = api.call("GET", f"/v1/patient-treatment-plans/{clinic.plan_id}/progress", api.patient(clinic)).json
    assert read["sessions"] == {"completed": 6, "skipped": 0, "total": 12, "percent": 50}
    assert [(point["before"], point["after"]) for point in read["pain_trend"]] == list(zip(BEFORE, AFTER, strict=True))
    assert (read["this_week"]["number"], read["this_week"]["completed"], read["this_week"]["expected"]) == (2, 3, 3)
    assert read["streak_days"] == 3
    assert read["time_zone"] == "Europe/Bucharest"


def test_days_are_the_patients_own_across_a_clock_change(api: Api, clinic: Clinic) -> None:
    """Clocks in Bucharest go forward on 2026-03-29 at 03:00. 22:30 UTC is 00:30 the next day before, 01:30 after."""
    api.clock.now = datetime(2026, 3, 30, 23, tzinfo=UTC)  # 31 March, 02:00 there
    for day in (27, 28, 29):
        started_at = datetime(2026, 3, day, 22, 30, tzinfo=UTC)
        sitting = open_session(api, clinic, started_at=started_at.isoformat())["id"]
        complete(api, clinic, sitting, completed_at=(started_at + timedelta(minutes=10)).isoformat())
    read = api.call("GET", f"/v1/patient-treatment-plans/{clinic.plan_id}/progress", api.patient(clinic)).json
    assert read["today"] == "2026-03-31"
    assert read["streak_days"] == 3  # 28, 29 and 30 March: yesterday still counts
    assert read["this_week"] == {
        "number": 4,
        "starts_on": "2026-03-30",
        "ends_on": "2026-04-05",
        "completed": 1,
        "expected": 3,
    }


REFERENCE = {
    "progress": """
        SELECT psc.session_number, psc.completed_at, psc.pain_level_before, psc.pain_level_after,
               psc.perceived_difficulty, psc.exercises_completed, psc.exercises_total, psc.duration_seconds
        FROM patient_session_completions psc
        WHERE psc.patient_treatment_plan_id = 42 AND psc.status = 'completed'
        ORDER BY psc.completed_at;""",
    "exercises": """
        SELECT e.name AS exercise_name, pel.prescribed_sets, pel.prescribed_reps, pel.actual_sets, pel.actual_reps,
               pel.video_watch_percentage, pel.pose_accuracy_score, pel.skipped
        FROM patient_exercise_logs pel
        JOIN exercises e ON e.id = pel.exercise_id
        WHERE pel.session_completion_id = 789
        ORDER BY pel.sort_order;""",
    "adherence": """
        SELECT EXTRACT(WEEK FROM psc.started_at) AS week_number,
               COUNT(*) FILTER (WHERE psc.status = 'completed') AS completed,
               COUNT(*) FILTER (WHERE psc.status = 'skipped') AS skipped,
               ptp.frequency_per_week AS expected
        FROM patient_session_completions psc
        JOIN patient_treatment_plans ptp ON ptp.id = psc.patient_treatment_plan_id
        WHERE psc.patient_treatment_plan_id = 42
        GROUP BY week_number, ptp.frequency_per_week
        ORDER BY week_number;""",
}


def test_the_reference_queries_run_as_written(api: Api, clinic: Clinic) -> None:
    play_jane(api, clinic)
    # The queries name plan 42 and session 789: make this clinic's plan and first session those.
    for statement in (
        "set session_replication_role = replica",
        "update core.patient_treatment_plans set id = 42 where id = 1",
        "update core.patient_session_completions set patient_treatment_plan_id = 42",
        "update core.patient_session_completions set id = 789 where session_number = 3",
        "update core.patient_exercise_logs set session_completion_id = 789 where session_completion_id = 3",
    ):
        api.admin.execute(statement.encode())
    with api.deps.database.tenant(clinic.organisation_id) as tx:
        rows = {name: tx.execute(statement.encode()).fetchall() for name, statement in REFERENCE.items()}
    assert [row["pain_level_before"] for row in rows["progress"]] == list(BEFORE)
    assert {row["duration_seconds"] for row in rows["progress"]} == {28 * 60}
    assert [(row["exercise_name"], row["skipped"]) for row in rows["exercises"]] == [
        ("Quad Set", False),
        ("Heel Slides", False),
        ("Straight Leg Raise", True),
    ]
    weeks = [tuple(row.values()) for row in rows["adherence"]]
    assert weeks == [(11, 3, 0, 3), (12, 3, 0, 3)]


def finalise(api: Api, session_id: str, key: str | None, version_id: str | None, members: list[dict[str, Any]]) -> None:
    """What the finaliser leaves behind, written by the superuser."""
    api.admin.execute(
        "update telemetry.sessions set state = 'finalised', revision = 1, applied_revision = 1, blob_key = %s,"
        " blob_version_id = %s, blob_bytes = %s where session_id = %s",
        (key, version_id, sum(each["byte_length"] for each in members) if key else None, session_id),
    )
    for ordinal, each in enumerate(members):
        api.admin.execute(
            "insert into telemetry.blob_members (session_id, revision, ordinal, organisation_id, start_ms, end_ms,"
            " byte_offset, byte_length) select session_id, 1, %s, organisation_id, %s, %s, %s, %s"
            " from telemetry.sessions where session_id = %s",
            (ordinal, each["start_ms"], each["end_ms"], each["byte_offset"], each["byte_length"], session_id),
        )
    api.admin.execute(
        "insert into telemetry.pose_rep_metrics (session_id, started_at, rep_number, organisation_id, patient_id,"
        " start_ms, end_ms, cycle_start_ms, cycle_end_ms, peak_rom_deg, form_score, concentric_ms, hold_ms,"
        " eccentric_ms, side, confidence) select session_id, started_at, 1, organisation_id, patient_id,"
        " 1200, 1900, 1100, 2500, 90, 80, 600, 100, 600, 'both', 1"
        " from telemetry.sessions where session_id = %s",
        (session_id,),
    )


def test_a_replay_url_reads_the_pinned_version_and_one_rep_of_it(api: Api, clinic: Clinic, s3: Bucket) -> None:
    _, started = start(api, clinic, open_session(api, clinic)["id"], "Quad Set")
    path = f"/v1/sessions/{started['session_id']}/replay"
    early = api.call("GET", path, api.specialist(clinic))
    assert (early.status_code, early.json["code"]) == (409, "replay_not_ready")
    assert "replay.mint" not in {action for action, _ in api.audited(clinic.organisation_id)}

    contents = [f"second {second}".encode() for second in range(4)]
    sealed = [gzip.compress(each, mtime=0) for each in contents]
    offsets = [sum(len(each) for each in sealed[:index]) for index in range(4)]
    members = [
        {"start_ms": 1000 * n, "end_ms": 1000 * n + 999, "byte_offset": offsets[n], "byte_length": len(sealed[n])}
        for n in range(4)
    ]
    store = S3BlobStore(s3.client(), S3Settings(bucket=s3.bucket, endpoint_url=s3.endpoint_url, encryption="none"))
    key = f"{clinic.organisation_id}/{started['session_id']}.bin.gz"
    blob = store.put(key, b"".join(sealed), tags={"retention": "default"}, metadata={})
    store.put(key, b"a later version", tags={"retention": "default"}, metadata={})
    finalise(api, started["session_id"], key, blob.version_id, members)
    object.__setattr__(api.deps, "blobs", store)

    minted = api.call("GET", path, api.specialist(clinic)).json
    assert minted["version_id"] == blob.version_id
    assert minted["expires_at"] == (NOW + timedelta(seconds=300)).isoformat().replace("+00:00", "Z")
    assert [each["byte_offset"] for each in minted["members"]] == offsets
    whole = httpx.get(minted["url"], trust_env=False)
    assert gzip.decompress(whole.content) == b"".join(contents)
    [rep] = minted["reps"]
    first, last = rep["byte_offset"], rep["byte_offset"] + rep["byte_length"] - 1
    part = httpx.get(minted["url"], headers={"Range": f"bytes={first}-{last}"}, trust_env=False)
    assert part.status_code == 206
    assert gzip.decompress(part.content) == contents[1] + contents[2]
    assert httpx.get(minted["url"].replace(blob.version_id or "", "other"), trust_env=False).status_code >= 400
    [audit] = api.rows("select * from core.audit_log where action = 'replay.mint'")
    assert (audit["actor_principal_id"], str(audit["session_id"])) == (clinic.specialist, started["session_id"])
    assert "http" not in str(audit["details"])


def test_a_session_without_a_blob_has_no_replay(api: Api, clinic: Clinic) -> None:
    _, started = start(api, clinic, open_session(api, clinic)["id"], "Quad Set")
    finalise(api, started["session_id"], None, None, [])
    result = api.call("GET", f"/v1/sessions/{started['session_id']}/replay", api.specialist(clinic))
    assert (result.status_code, result.json["code"]) == (404, "replay_not_found")
    detail = api.call("GET", f"/v1/sessions/{started['session_id']}", api.specialist(clinic)).json
    assert (detail["state"], detail["pose"], detail["views"]) == ("finalised", None, [])


def test_a_rep_outside_every_member_has_no_bytes() -> None:
    reps = [{"rep_number": 1, "start_ms": 5000, "end_ms": 6000, "cycle_start_ms": 4900, "cycle_end_ms": 6100}]
    members = [{"start_ms": 0, "end_ms": 999, "byte_offset": 0, "byte_length": 10}]
    assert rep_ranges(reps, members)[0]["byte_offset"] is None


MARTS = """
CREATE TABLE analytics.organisation_dashboard AS SELECT
  o.id AS organisation_id, 2 AS patients, 2 AS plans_total, 1 AS plans_active, 1 AS plans_completed, 0 AS plans_expired,
  0 AS plans_cancelled, 100 AS plan_completion_percent, 1 AS plans_with_pain_reduction, 2.50 AS pain_reduction_points,
  100 AS important_pain_reduction_percent, 6 AS sessions_completed, 0 AS sessions_skipped, 7 AS sessions_expected,
  86 AS adherence_percent, timestamptz '2026-03-18 03:00Z' AS as_of FROM core.organisations o;
CREATE TABLE analytics.top_exercises AS SELECT
  o.id AS organisation_id, 'most_prescribed' AS ranking, 1 AS position, 1 AS exercise_id, 'Quad Set' AS exercise_name,
  2 AS patient_plans, NULL::integer AS scored_logs, NULL::numeric AS mean_form_score,
  timestamptz '2026-03-18 03:00Z' AS as_of FROM core.organisations o;
CREATE TABLE analytics.revenue_per_plan AS SELECT
  o.id AS organisation_id, 1 AS treatment_plan_id, 'Knee' AS treatment_plan_name, 1 AS service_plan_id,
  'Rehab' AS service_plan_name, 'EUR' AS currency, 2 AS patient_plans, 1 AS patient_plans_completed, 2 AS payments,
  39800 AS paid_cents, 19900 AS paid_cents_per_patient_plan, timestamptz '2026-03-18 03:00Z' AS as_of
  FROM core.organisations o;
GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO restartix_core_api;
"""


def test_the_organisation_dashboard_is_the_marts_with_their_time(api: Api, clinic: Clinic, foreign: Clinic) -> None:
    path = f"/v1/organisations/{clinic.organisation_id}/dashboard"
    unbuilt = api.call("GET", path, api.manager(clinic))
    assert (unbuilt.status_code, unbuilt.json["code"]) == (503, "not_built_yet")
    api.admin.execute(MARTS.encode())
    read = api.call("GET", path, api.manager(clinic)).json
    assert (read["organisation_id"], read["as_of"]) == (clinic.organisation_id, "2026-03-18T03:00:00Z")
    assert (read["pain_reduction_points"], read["adherence_percent"]) == (2.5, 86)
    assert [each["exercise_name"] for each in read["top_exercises"]["most_prescribed"]] == ["Quad Set"]
    assert read["top_exercises"]["best_form"] == []
    assert [each["paid_cents"] for each in read["revenue_per_plan"]] == [39800]
    assert foreign.organisation_id != clinic.organisation_id
    api.admin.execute(b"delete from analytics.organisation_dashboard")
    assert api.call("GET", path, api.manager(clinic)).json["code"] == "not_built_yet"


@pytest.mark.parametrize("path", ["/v1/sessions/{}", "/v1/sessions/{}/replay"])
def test_an_unknown_session_is_not_found(api: Api, clinic: Clinic, path: str) -> None:
    result = api.call("GET", path.format(uuid.uuid4()), api.specialist(clinic))
    assert (result.status_code, result.json["code"]) == (404, "session_not_found")


@pytest.mark.parametrize(
    ("name", "shape"),
    [("session_pose", Movement), ("session_reps", Rep), ("session_views", View), ("session_stalls", Stall)],
)
def test_what_is_selected_of_a_session_is_answered(api: Api, clinic: Clinic, name: str, shape: type[Answer]) -> None:
    with api.deps.database.tenant(clinic.organisation_id) as tx:
        cursor = tx.execute(query(name), {"session_id": uuid.uuid4(), "started_at": NOW})
    assert cursor.description is not None
    assert [column.name for column in cursor.description] == list(shape.__struct_fields__)


SAID_ONCE = {"session_id", "started_at", "organisation_id", "patient_id", "exercise_id", "patient_exercise_log_id"}


@pytest.mark.parametrize(
    ("table", "shape", "elsewhere"),
    [
        ("media_session_metrics", View, {"revision", "applied_at"}),
        ("media_buffering_events", Stall, set()),
        ("pose_session_metrics", Movement, set()),
        ("pose_rep_metrics", Rep, {"byte_offset", "byte_length"}),
    ],
)
def test_whatever_is_stored_of_a_session_is_answered(
    api: Api, table: str, shape: type[Answer], elsewhere: set[str]
) -> None:
    """Each ratio's parts too, so that nobody averages ratios. ``elsewhere``: the session or its replay says it."""
    stored = {
        row["column_name"]
        for row in api.rows(
            "select column_name from information_schema.columns where table_schema = 'telemetry' and table_name = %s",
            table,
        )
    }
    assert stored - SAID_ONCE - elsewhere == set(shape.__struct_fields__)
