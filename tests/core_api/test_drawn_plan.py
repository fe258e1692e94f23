"""The plan drawn in the specification, over HTTP and to the digit; a week an hour longer; a plan without a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from psycopg import Connection
from psycopg.rows import DictRow
from psycopg_pool import ConnectionPool

from core_api.encryption import ColumnCipher
from core_api.provision import ExerciseSpec, PrescribedExerciseSpec, TreatmentPlanSpec
from tests.core_api.clinics import Api, Clinic, clinic_spec, make_clinic
from tests.core_api.test_sessions import complete, open_session, start

MONDAY = date(2026, 3, 2)
WATCHED = {"Quad Set": 92, "Heel Slides": 88, "Straight Leg Raise": 78, "Prone Hang": 85}
BEFORE, AFTER = (7, 6, 6, 5, 5, 4), (5, 4, 4, 3, 3, 3)
DAYS = (0, 2, 4, 7, 9, 14)  # three in week 1, two in week 2, one in the running week 3

MakePlan = Callable[[date], Clinic]


@pytest.fixture
def drawn_clinic(pool: ConnectionPool[Connection[DictRow]], cipher: ColumnCipher) -> MakePlan:
    """A clinic with the drawing's four exercises, whose plans begin on a day."""

    def make(started_on: date) -> Clinic:
        spec = msgspec.structs.replace(
            clinic_spec("Drawn", started_on=started_on),
            exercises=tuple(ExerciseSpec(name=each, movement_profile="deep_squat") for each in WATCHED),
            treatment_plans=(
                TreatmentPlanSpec(
                    name="Post-ACL Rehab",
                    exercises=tuple(PrescribedExerciseSpec(exercise=each, sets=3, reps=10) for each in WATCHED),
                ),
            ),
        )
        with pool.connection() as connection:
            return make_clinic(connection, cipher, spec)

    return make


@dataclass
class Plan:
    api: Api
    clinic: Clinic

    def hold(self, started_at: datetime, *, without: str | None = None, **pain: int) -> None:
        """One completed session of 28 minutes, with every exercise done but one."""
        before = {"pain_level_before": pain["before"]} if pain else {}
        after = {"pain_level_after": pain["after"]} if pain else {}
        sitting = open_session(self.api, self.clinic, started_at=started_at.isoformat(), **before)["id"]
        done = [{"exercise_id": each} for name, each in self.clinic.ids.exercises.items() if name != without]
        completed_at = (started_at + timedelta(minutes=28)).isoformat()
        complete(self.api, self.clinic, sitting, exercises=done, completed_at=completed_at, **after)

    def read(self, what: str) -> dict[str, Any]:
        answer = self.api.call(
            "GET",
            f"/v1/patient-treatment-plans/{self.clinic.plan_id}/{what}",
            self.api.specialist(self.clinic),
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json
        return found


def play_the_drawing(api: Api, drawn_clinic: MakePlan) -> Plan:
    clinic = drawn_clinic(MONDAY)
    api.clock.now = datetime(2026, 3, 19, 12, tzinfo=UTC)  # 17 days in: 7 of 12 expected
    plan = Plan(api, clinic)
    for number, (day, before, after) in enumerate(zip(DAYS, BEFORE, AFTER, strict=True)):
        started_at = datetime(2026, 3, 2, 8, tzinfo=UTC) + timedelta(days=day)
        plan.hold(started_at, without="Straight Leg Raise" if number == 3 else None, before=before, after=after)
    for name, percent in WATCHED.items():
        api.admin.execute(
            "update core.patient_exercise_logs set video_watch_percentage = %s where exercise_id = %s and not skipped",
            (percent, clinic.ids.exercises[name]),
        )
    return plan


def test_the_specialists_drawing_to_the_digit(api: Api, drawn_clinic: MakePlan) -> None:
    read = play_the_drawing(api, drawn_clinic).read("analytics")
    assert read["patient"]["full_name"] == "Jane Doe"
    # Drawn as 85 %: 6 of 7 is 85.71, and percentages here round half up.
    assert read["adherence"] == {"completed": 6, "expected": 7, "percent": 86}
    assert read["average_duration_minutes"] == 28
    # Drawn as 88 %, which is not the mean of its own column: 85.75 by row, and by log
    # (6 x 92 + 6 x 88 + 5 x 78 + 6 x 85) / 23 = 86.09.
    assert read["average_video_watch_percent"] == 86
    table = [
        (each["name"], f"{each['done']}/{each['total']}", each["skipped"], each["video_watch_percent"])
        for each in read["exercises"]
    ]
    assert table == [
        ("Quad Set", "6/6", 0, 92),
        ("Heel Slides", "6/6", 0, 88),
        ("Straight Leg Raise", "5/6", 1, 78),
        ("Prone Hang", "6/6", 0, 85),
    ]
    assert (read["pain_before"]["values"], read["pain_before"]["from_first"]["percent"]) == (list(BEFORE), -43)
    assert (read["pain_after"]["values"], read["pain_after"]["from_first"]["percent"]) == (list(AFTER), -40)
    weeks = [(each["percent"], each["completed"], each["expected"]) for each in read["weekly_adherence"]]
    assert weeks[:2] == [(100, 3, 3), (67, 2, 3)]
    assert (weeks[2], read["weekly_adherence"][2]["in_progress"]) == ((33, 1, 3), True)
    assert [each["incomplete"] for each in read["sessions"]] == [False] * 6
    assert [each["revision"] for each in read["sessions"]] == [None] * 6  # nothing was streamed


def test_the_patients_drawing_to_the_digit(api: Api, drawn_clinic: MakePlan) -> None:
    """Its other week: two of three done, the last of them today, after a day of the week before."""
    clinic = drawn_clinic(MONDAY)
    api.clock.now = datetime(2026, 3, 17, 20, tzinfo=UTC)
    plan = Plan(api, clinic)
    for day, before, after in zip((0, 4, 7, 13, 14, 15), BEFORE, AFTER, strict=True):
        plan.hold(datetime(2026, 3, 2, 8, tzinfo=UTC) + timedelta(days=day), before=before, after=after)
    read = plan.read("progress")
    assert read["sessions"] == {"completed": 6, "skipped": 0, "total": 12, "percent": 50}
    assert [(each["session_number"], each["before"]) for each in read["pain_trend"]] == list(enumerate(BEFORE, start=1))
    assert (read["this_week"]["completed"], read["this_week"]["expected"], read["streak_days"]) == (2, 3, 3)


def test_the_week_the_clocks_go_back_has_its_own_days(api: Api, drawn_clinic: MakePlan) -> None:
    """In Bucharest 2026-10-25 has 25 hours. Half past nine in the evening, UTC, is half past midnight of the 25th
    before it, and still the 25th a day later; an hour on, it is Monday.
    """
    plan = Plan(api, drawn_clinic(date(2026, 10, 19)))
    api.clock.now = datetime(2026, 10, 26, 10, tzinfo=UTC)
    for at in ("2026-10-24T21:30", "2026-10-25T21:30", "2026-10-25T22:30"):
        plan.hold(datetime.fromisoformat(at).replace(tzinfo=UTC))
    read = plan.read("analytics")
    assert [each["day"] for each in read["sessions"]] == ["2026-10-25", "2026-10-25", "2026-10-26"]
    weeks = [(each["starts_on"], each["ends_on"], each["completed"]) for each in read["weekly_adherence"]]
    assert weeks == [("2026-10-19", "2026-10-25", 2), ("2026-10-26", "2026-11-01", 1)]
    progress = plan.read("progress")
    assert (progress["streak_days"], progress["this_week"]["completed"]) == (2, 1)


def test_a_plan_without_a_session_knows_nothing_and_says_so(api: Api, drawn_clinic: MakePlan) -> None:
    plan = Plan(api, drawn_clinic(MONDAY))
    api.clock.now = datetime(2026, 3, 2, 9, tzinfo=UTC)
    read = plan.read("analytics")
    assert read["adherence"] == {"completed": 0, "expected": 0, "percent": None}
    unknown = ("average_duration_seconds", "average_duration_minutes", "average_video_watch_percent")
    assert {read[name] for name in unknown} == {None}
    assert [(each["done"], each["total"], each["video_watch_percent"]) for each in read["exercises"]] == [
        (0, 0, None)
    ] * 4
    assert read["pain_before"] == {"values": [], "from_first": None, "from_previous": None}
    assert read["attrition"]["days_since_last_session"] is None
    progress = plan.read("progress")
    assert (progress["sessions"]["percent"], progress["pain_trend"], progress["streak_days"]) == (0, [], 0)
    trend = plan.read(f"exercises/{plan.clinic.ids.exercises['Quad Set']}/trend")
    assert (trend["points"], trend["change"]) == (
        [],
        {"form_score": None, "rom_mean_deg": None, "rom_max_deg": None},
    )


def test_one_exercises_trend_is_live_with_its_revision(api: Api, drawn_clinic: MakePlan) -> None:
    clinic = drawn_clinic(MONDAY)
    api.clock.now = datetime(2026, 3, 9, 12, tzinfo=UTC)
    for day, score, rom in ((0, "70.00", "80.00"), (2, None, None), (4, "82.50", "95.50")):
        at = datetime(2026, 3, 2, 8, tzinfo=UTC) + timedelta(days=day)
        sitting = open_session(api, clinic, started_at=at.isoformat())["id"]
        _, started = start(api, clinic, sitting, "Quad Set", started_at=at.isoformat())
        if score is not None:
            apply_movement(api, started["session_id"], score, rom)
        complete(api, clinic, sitting, completed_at=(at + timedelta(minutes=5)).isoformat())
    read = Plan(api, clinic).read(f"exercises/{clinic.ids.exercises['Quad Set']}/trend")
    shown = [(each["day"], each["form_score"], each["rom_max_deg"], each["revision"]) for each in read["points"]]
    assert shown == [
        ("2026-03-02", 70, 80, 2),
        ("2026-03-04", None, None, None),
        ("2026-03-06", 82.5, 95.5, 2),
    ]
    assert [each["incomplete"] for each in read["points"]] == [True, False, True]
    assert read["change"] == {"form_score": 12.5, "rom_mean_deg": 15.5, "rom_max_deg": 15.5}
    path = f"/v1/patient-treatment-plans/{clinic.plan_id}/exercises"
    for unknown in ("999999", "x"):
        refused = api.call("GET", f"{path}/{unknown}/trend", api.patient(clinic))
        assert (refused.status_code, refused.json["code"]) == (404, "exercise_not_found")


def apply_movement(api: Api, session_id: str, score: str, rom: str | None) -> None:
    """What the subscriber writes of a second result, in a stream that broke off."""
    api.admin.execute(
        "insert into telemetry.pose_session_metrics (session_id, started_at, organisation_id, patient_id, exercise_id,"
        " patient_exercise_log_id, revision, rep_count, average_form_score, active_duration_ms, rom_mean_deg,"
        " rom_max_deg, gap_count, gap_ms, frame_count, duration_ms, end_reason, incomplete, movement_profile,"
        " algorithm_version) select session_id, started_at, organisation_id, patient_id, exercise_id,"
        " patient_exercise_log_id, 2, 10, %s, 1000, %s, %s, 0, 0, 900, 30000, 'timeout', true, 'deep_squat', '1'"
        " from telemetry.sessions where session_id = %s",
        (score, rom, rom, session_id),
    )
    api.admin.execute(
        "update core.patient_exercise_logs l set pose_accuracy_score = %s, incomplete = true from telemetry.sessions s"
        " where s.patient_exercise_log_id = l.id and s.session_id = %s",
        (score, session_id),
    )
    api.admin.execute(
        "update telemetry.sessions set state = 'finalised', revision = 2, applied_revision = 2 where session_id = %s",
        (session_id,),
    )
