"""Plans over HTTP: the catalogue they are made of, assignment, change, cancellation and expiry."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import falcon.testing
import msgspec
import psycopg
import pytest
from click.testing import CliRunner
from psycopg_pool import ConnectionPool

from core_api.database import enter_tenant
from core_api.encryption import ColumnCipher
from core_api.provision import PrescribedExerciseSpec, TreatmentPlanSpec
from core_api.queries import query
from infra.stack.throwaway import Database
from pipelines.plans.cli import expire
from pipelines.plans.expire import ExpiryReport, expire_plans
from tests.core_api.clinics import Api, Clinic, clinic_spec, make_clinic
from tests.core_api.test_sessions import open_session, start

PLANS = "/v1/patient-treatment-plans"


def code(result: falcon.testing.Result) -> tuple[int, str]:
    return result.status_code, result.json["code"]


def assignment(clinic: Clinic, **changes: object) -> dict[str, Any]:
    body: dict[str, Any] = {
        "patient_id": clinic.patient_id,
        "treatment_plan_id": clinic.ids.treatment_plans["Post-ACL Rehab"],
        "sessions_total": 6,
        "frequency_per_week": 3,
    }
    return {**body, **changes}


def test_a_clinic_is_made_and_a_patient_treated_over_http_alone(api: Api, clinic: Clinic) -> None:
    """From the exercise library to a started exercise, by the people who do it."""
    specialist, manager = api.specialist(clinic), api.manager(clinic)

    def made(token: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        result = api.call("POST", path, token, json=body)
        assert result.status_code == 201, result.text
        answer: dict[str, Any] = result.json
        return answer

    bridge = made(specialist, "/v1/exercises", {"name": "Bridge", "movement_profile": "deep_squat", "media_id": "m"})
    plank = made(specialist, "/v1/exercises", {"name": "Plank", "movement_profile": "none such"})
    prescribed = [
        {"exercise_id": plank["id"], "prescribed_sets": 2},
        {"exercise_id": bridge["id"], "prescribed_sets": 3, "prescribed_reps": 12, "side": "left"},
    ]
    treatment = made(specialist, "/v1/treatment-plans", {"name": "Core", "exercises": prescribed})
    assert [(each["name"], each["sort_order"]) for each in treatment["exercises"]] == [("Plank", 1), ("Bridge", 2)]
    service = made(manager, "/v1/service-plans", {"name": "Gold", "price_cents": 9900, "currency": "EUR"})
    doctor = made(manager, "/v1/specialists", {"principal_id": str(uuid.uuid4()), "full_name": "Doc Tor"})
    principal = uuid.uuid4()
    new = {
        "principal_id": str(principal),
        "full_name": "Ann New",
        "time_zone": "Asia/Tokyo",
        "contact": "ann@x.example",
    }
    patient = made(manager, "/v1/patients", new)
    assert {name: patient[name] for name in new} == new
    plan = made(
        specialist,
        PLANS,
        assignment(
            clinic,
            patient_id=patient["id"],
            treatment_plan_id=treatment["id"],
            specialist_id=doctor["id"],
            service_plan_id=service["id"],
        ),
    )
    assert (plan["status"], plan["started_on"], plan["ends_on"]) == ("active", "2026-03-18", None)
    paid = made(manager, f"{PLANS}/{plan['id']}/payments", {"amount_cents": 9900})
    assert (paid["amount_cents"], paid["currency"]) == (9900, "EUR")

    ann = api.token(principal, clinic.organisation_id, "patient")
    mine = api.call("GET", PLANS, ann).json["items"]
    assert [each["id"] for each in mine] == [plan["id"]]
    sitting = made(ann, f"{PLANS}/{plan['id']}/sessions", {"pain_level_before": 5})
    started = made(ann, f"/v1/treatment-sessions/{sitting['id']}/exercises", {"exercise_id": bridge["id"]})
    assert started["exercise"]["side"] == "left"
    actions = [action for action, _ in api.audited(clinic.organisation_id)]
    assert sorted(actions) == sorted(
        [
            *("exercise.create", "exercise.create", "treatment_plan.create", "service_plan.create"),
            *("specialist.create", "patient.create", "patient_treatment_plan.assign", "payment.create"),
            *("treatment_session.open", "exercise.start"),
        ]
    )


def test_names_and_contact_rest_sealed_and_only_field_names_are_audited(api: Api, clinic: Clinic) -> None:
    path = f"/v1/patients/{clinic.patient_id}"
    body = {"full_name": "Janet Doe", "contact": None, "time_zone": "Europe/Paris"}
    changed = api.call("PATCH", path, api.manager(clinic), json=body)
    assert {name: changed.json[name] for name in body} == body
    [row] = api.rows("select *, patients::text as whole from core.patients where id = %s", clinic.patient_id)
    assert row["contact_encrypted"] is None
    assert b"Janet" not in bytes(row["full_name_encrypted"])
    [entry] = api.rows("select details, entity_id from core.audit_log where action = 'patient.change'")
    assert entry["details"]["fields"] == ["contact", "full_name", "time_zone"]
    assert "Janet" not in str(entry)
    unknown = api.call("PATCH", path, api.manager(clinic), json={"time_zone": "Mars/Olympus"})
    assert code(unknown) == (422, "time_zone_unknown")


def test_what_is_there_already_is_not_made_again(api: Api, clinic: Clinic) -> None:
    for path, body in (
        ("/v1/exercises", {"name": "Quad Set", "movement_profile": "deep_squat"}),
        ("/v1/patients", {"principal_id": str(clinic.patient), "full_name": "X", "time_zone": "UTC"}),
        ("/v1/specialists", {"principal_id": str(clinic.specialist)}),
        ("/v1/form-templates", {"name": "After session", "version": 1}),
    ):
        assert code(api.call("POST", path, api.manager(clinic), json=body)) == (409, "already_exists"), path
    renamed = api.call(
        "PATCH", f"/v1/exercises/{clinic.ids.exercises['Quad Set']}", api.manager(clinic), json={"name": "Heel Slides"}
    )
    assert code(renamed) == (409, "already_exists")


def test_what_patients_were_given_no_longer_changes(api: Api, clinic: Clinic) -> None:
    exercise = {"exercise_id": clinic.ids.exercises["Quad Set"]}
    given = f"/v1/treatment-plans/{clinic.ids.treatment_plans['Post-ACL Rehab']}"
    refused = api.call("PATCH", given, api.specialist(clinic), json={"exercises": [exercise]})
    assert code(refused) == (409, "treatment_plan_in_use")
    made = api.call(
        "POST", "/v1/treatment-plans", api.specialist(clinic), json={"name": "New", "exercises": [exercise]}
    )
    other = {"exercise_id": clinic.ids.exercises["Heel Slides"], "prescribed_reps": 5}
    path = f"/v1/treatment-plans/{made.json['id']}"
    changed = api.call("PATCH", path, api.specialist(clinic), json={"exercises": [other, exercise]})
    assert [each["name"] for each in changed.json["exercises"]] == ["Heel Slides", "Quad Set"]


def test_a_plan_asks_for_a_range_of_motion_and_for_how_long_to_hold(api: Api, clinic: Clinic) -> None:
    asked = {"side": "right", "target_low_deg": 60.5, "target_high_deg": 90, "hold_ms": 20_000}
    path, token = "/v1/treatment-plans", api.specialist(clinic)

    def make(**changes: object) -> falcon.testing.Result:
        exercise = {"exercise_id": clinic.ids.exercises["Quad Set"], **asked, **changes}
        return api.call("POST", path, token, json={"name": f"Plan {changes}", "exercises": [exercise]})

    plan = make().json
    [shown] = api.call("GET", f"{path}/{plan['id']}", token).json["exercises"]
    assert {name: shown[name] for name in asked} == asked
    for wrong in ({"target_low_deg": 90.1}, {"target_high_deg": 361}, {"target_low_deg": -181}, {"hold_ms": 0}):
        assert code(make(**wrong)) == (422, "invalid_body"), wrong

    given = api.call("POST", PLANS, token, json=assignment(clinic, treatment_plan_id=plan["id"])).json
    sitting = api.call("POST", f"{PLANS}/{given['id']}/sessions", api.patient(clinic), json={}).json
    assert {name: sitting["exercises"][0][name] for name in asked} == asked
    start(api, clinic, sitting["id"], "Quad Set")
    [session] = api.rows("select prescription from telemetry.sessions")
    assert {name: session["prescription"][name] for name in asked} == asked


def test_provisioning_prescribes_the_same(pool: ConnectionPool[Any], cipher: ColumnCipher, api: Api) -> None:
    asked = {"target_low_deg": 60.5, "target_high_deg": 90.0, "hold_ms": 20_000}
    spec = clinic_spec("Fourth Clinic")
    prescribed = PrescribedExerciseSpec(exercise="Quad Set", **asked)  # type: ignore[arg-type]  # values of a table
    plan = TreatmentPlanSpec(name="Post-ACL Rehab", exercises=(prescribed,))
    with pool.connection() as connection:
        make_clinic(connection, cipher, msgspec.structs.replace(spec, treatment_plans=(plan,)))
    [row] = api.rows("select target_low_deg, target_high_deg, hold_ms from core.treatment_plan_exercises")
    assert row == asked
    with pytest.raises(ValueError, match="target_low_deg"):
        PrescribedExerciseSpec(exercise="Quad Set", target_low_deg=2, target_high_deg=1)


def test_references_are_the_clinics_own(api: Api, clinic: Clinic, foreign: Clinic) -> None:
    token = api.specialist(clinic)
    theirs = {
        "patient_id": foreign.patient_id,
        "treatment_plan_id": foreign.ids.treatment_plans["Post-ACL Rehab"],
        "specialist_id": foreign.ids.specialists[foreign.specialist],
        "service_plan_id": foreign.ids.service_plans["Rehab"],
    }
    for field, value in theirs.items():
        refused = api.call("POST", PLANS, token, json=assignment(clinic, **{field: value}))
        assert code(refused) == (422, "reference_not_found"), field
        assert refused.json["errors"][0]["field"] == field
    body = {"name": "X", "exercises": [{"exercise_id": foreign.ids.exercises["Quad Set"]}]}
    refused = api.call("POST", "/v1/treatment-plans", token, json=body)
    assert refused.json["errors"][0]["field"] == "exercises[0].exercise_id"
    assert len(api.rows("select id from core.treatment_plans")) == 2


def test_an_impossible_day_is_refused(api: Api, clinic: Clinic) -> None:
    for days in (
        {"started_on": "1999-12-31"},
        {"ends_on": "2026-03-17"},
        {"started_on": "2026-04-01", "ends_on": "2026-03-31"},
        {"ends_on": "2099-01-01"},
    ):
        refused = api.call("POST", PLANS, api.specialist(clinic), json=assignment(clinic, **days))
        assert code(refused) == (422, "time_out_of_range"), days


def test_a_cancelled_plan_takes_no_session_but_the_one_in_progress_counts(api: Api, clinic: Clinic) -> None:
    path = f"{PLANS}/{clinic.plan_id}"
    sitting = open_session(api, clinic)
    cancelled = api.call("POST", f"{path}/cancel", api.manager(clinic), json={"note": "moved away"})
    assert (cancelled.json["status"], cancelled.json["end_note"]) == ("cancelled", "moved away")
    assert cancelled.json["ended_at"] == "2026-03-18T10:00:00Z"
    [row] = api.rows("select end_note_encrypted from core.patient_treatment_plans where id = %s", clinic.plan_id)
    assert b"moved" not in bytes(row["end_note_encrypted"])
    done = api.call("POST", f"/v1/treatment-sessions/{sitting['id']}/complete", api.patient(clinic), json={})
    assert done.status_code == 200
    plan = api.call("GET", path, api.patient(clinic)).json
    assert (plan["status"], plan["sessions_completed"]) == ("cancelled", 1)
    for refused in (
        api.call("POST", f"{path}/sessions", api.patient(clinic)),
        api.call("POST", f"{path}/cancel", api.manager(clinic)),
        api.call("PATCH", path, api.manager(clinic), json={"sessions_total": 30}),
    ):
        assert code(refused) == (409, "plan_not_active")


def test_a_plan_cannot_shrink_below_what_was_done(api: Api, clinic: Clinic) -> None:
    sitting = open_session(api, clinic)
    api.call("POST", f"/v1/treatment-sessions/{sitting['id']}/skip", api.patient(clinic))
    path, token = f"{PLANS}/{clinic.plan_id}", api.specialist(clinic)
    assert code(api.call("PATCH", path, token, json={"sessions_total": 1})) == (422, "time_out_of_range")
    changed = api.call("PATCH", path, token, json={"sessions_total": 2, "frequency_per_week": 5})
    assert (changed.json["sessions_total"], changed.json["frequency_per_week"]) == (2, 5)


def expired(database: Database) -> ExpiryReport:
    from pipelines.adapters.postgres.plan_store import PostgresPlanStore

    with psycopg.connect(database.url("sweeper"), autocommit=True) as connection:
        return expire_plans(PostgresPlanStore(connection), batch_plans=1)


def test_a_plan_expires_when_its_last_day_is_over_where_the_patient_lives(
    api: Api, clinic: Clinic, foreign: Clinic, database: Database
) -> None:
    """The clock is Postgres's, so the day is one that is over, or not, in the patient's zone now."""
    plans = [clinic.plan_id, clinic.other_plan_id, foreign.plan_id, foreign.other_plan_id]
    now = datetime.now(UTC)
    # Pacific/Kiritimati is 14 hours ahead, Pacific/Pago_Pago 11 behind: never the same day.
    for plan_id, zone, ends_on in (
        (plans[0], "Pacific/Kiritimati", (now + timedelta(hours=14)).date() - timedelta(days=1)),
        (plans[1], "Pacific/Pago_Pago", (now - timedelta(hours=11)).date()),
        (plans[2], "Europe/Bucharest", date(2026, 3, 29)),  # the night the clocks went forward
        (plans[3], "UTC", None),
    ):
        api.rows(
            "with p as (update core.patients set time_zone = %s where id = (select patient_id from"
            " core.patient_treatment_plans where id = %s)) update core.patient_treatment_plans set ends_on = %s"
            " where id = %s returning 1",
            zone,
            plan_id,
            ends_on,
            plan_id,
        )
    assert expired(database) == ExpiryReport(expired=2, is_complete=True)
    rows = api.rows("select id, status, ended_at from core.patient_treatment_plans order by id")
    status = {row["id"]: row["status"] for row in rows}
    assert [status[plan_id] for plan_id in plans] == ["expired", "active", "expired", "active"]
    ended = {row["id"]: row["ended_at"] for row in rows}
    assert ended[plans[2]] == datetime(2026, 3, 29, 20, 59, 59, 999999, tzinfo=UTC)
    audited = api.rows("select entity_id, organisation_id, actor_role from core.audit_log where action like '%%expire'")
    assert {(row["entity_id"], row["organisation_id"]) for row in audited} == {
        (str(plans[0]), clinic.organisation_id),
        (str(plans[2]), foreign.organisation_id),
    }
    assert expired(database) == ExpiryReport(expired=0, is_complete=True)


def test_from_midnight_on_no_session_is_opened_before_the_nightly_run(api: Api, clinic: Clinic) -> None:
    body = assignment(clinic, ends_on="2026-03-20")
    plan = api.call("POST", PLANS, api.specialist(clinic), json=body).json["id"]
    api.clock.now = datetime(2026, 3, 20, 21, 59, tzinfo=UTC)  # Bucharest is two hours ahead
    assert api.call("POST", f"{PLANS}/{plan}/sessions", api.patient(clinic)).status_code == 201
    api.clock.forward(minutes=2)
    assert code(api.call("POST", f"{PLANS}/{plan}/sessions", api.patient(clinic))) == (409, "plan_not_active")


def test_the_command_reports_what_it_did(database: Database) -> None:
    environ = {"RESTARTIX_DATABASE_URL": database.url("sweeper")}
    done = CliRunner().invoke(expire, env=environ)
    assert (done.exit_code, done.output) == (0, '{"expired":0,"is_complete":true}\n')
    missing = CliRunner().invoke(expire, env={"RESTARTIX_DATABASE_URL": ""})
    assert missing.exit_code == 1
    assert "RESTARTIX_DATABASE_URL" in missing.output


@pytest.mark.parametrize(
    ("end_reason", "counted", "report", "done"),
    [
        (None, None, None, 0),  # only started
        ("abandoned", None, None, 0),
        ("timeout", None, None, 0),
        ("completed", None, None, 1),
        ("abandoned", 29, None, 0),  # of 3 x 10
        ("timeout", 30, None, 1),
        ("abandoned", None, {}, 1),  # the patient's word
        ("abandoned", None, {"actual_reps": 30}, 1),
        (None, None, {"actual_reps": 0}, 0),
        (None, None, {"actual_sets": 0}, 0),
        ("completed", 30, {"skipped": True}, 0),
    ],
)
def test_an_exercise_that_was_only_started_is_not_done(  # noqa: PLR0917 - pytest fills them in
    api: Api, clinic: Clinic, end_reason: str | None, counted: int | None, report: dict[str, Any] | None, done: int
) -> None:
    sitting = open_session(api, clinic)
    _, started = start(api, clinic, sitting["id"], "Quad Set")
    session_id = uuid.UUID(started["session_id"])
    if end_reason is not None:
        api.rows(
            "update telemetry.sessions set state = 'ended', end_reason = %s where session_id = %s returning 1",
            end_reason,
            session_id,
        )
    if counted is not None:
        api.rows(
            "update core.patient_exercise_logs set actual_reps = %s, actual_reps_source = 'counted' where id = %s"
            " returning 1",
            counted,
            started["exercise_log_id"],
        )
    said = [] if report is None else [{"exercise_id": clinic.ids.exercises["Quad Set"], **report}]
    path = f"/v1/treatment-sessions/{sitting['id']}/complete"
    result = api.call("POST", path, api.patient(clinic), json={"exercises": said})
    assert (result.json["exercises_completed"], result.json["exercises_total"]) == (done, 3)
    # The specialist's table says the same of it.
    read = api.call("GET", f"{PLANS}/{clinic.plan_id}/analytics", api.specialist(clinic)).json
    [line] = [each for each in read["exercises"] if each["name"] == "Quad Set"]
    skipped = int(bool(report and report.get("skipped")))
    assert (line["done"], line["skipped"], line["total"]) == (done, skipped, 1)
    assert line["unfinished"] == 1 - done - skipped


def test_notes_rest_sealed_and_are_read_again(api: Api, clinic: Clinic) -> None:
    sitting = open_session(api, clinic)
    path = f"/v1/treatment-sessions/{sitting['id']}"
    body = {"notes": "knee felt warm", "perceived_difficulty": 4}
    assert api.call("POST", f"{path}/complete", api.patient(clinic), json=body).json["notes"] == "knee felt warm"
    assert api.call("GET", path, api.specialist(clinic)).json["notes"] == "knee felt warm"
    [row] = api.rows("select notes_encrypted from core.patient_session_completions")
    assert b"warm" not in bytes(row["notes_encrypted"])


def test_a_specialist_reads_the_form_a_patient_submitted(api: Api, clinic: Clinic, foreign: Clinic) -> None:
    sitting = open_session(api, clinic)
    path = f"/v1/treatment-sessions/{sitting['id']}/forms"
    body = {"form_template_id": clinic.ids.form_templates["After session"], "responses": {"mood": ["good", None]}}
    assert api.call("POST", path, api.patient(clinic), json=body).status_code == 201
    [found] = api.call("GET", path, api.specialist(clinic)).json["items"]
    assert (found["form_template_name"], found["responses"]) == ("After session", {"mood": ["good", None]})
    assert api.call("GET", path, api.specialist(foreign)).status_code == 404


def test_lists_are_walked_by_cursor_each_row_once(api: Api, clinic: Clinic, foreign: Clinic) -> None:
    for number in range(7):
        body = {"name": f"Exercise {number}", "movement_profile": "deep_squat"}
        assert api.call("POST", "/v1/exercises", api.specialist(clinic), json=body).status_code == 201
    seen, url, pages = [], "/v1/exercises?limit=3", 0
    while url:
        page = api.call("GET", url, api.specialist(clinic))
        seen += [each["id"] for each in page.json["items"]]
        pages += 1
        cursor = page.json["next_cursor"]
        assert (cursor is None) == ("link" not in page.headers)
        url = page.headers.get("link", "<>").split("<")[1].split(">")[0]
    assert pages == 4
    own = api.rows("select id from core.exercises where organisation_id = %s order by id", clinic.organisation_id)
    assert seen == [row["id"] for row in own]
    cursor = api.call("GET", "/v1/exercises?limit=3", api.specialist(clinic)).json["next_cursor"]
    elsewhere = api.call("GET", "/v1/patients", api.specialist(clinic), params={"cursor": cursor})
    assert code(elsewhere) == (400, "cursor_invalid")
    # A cursor is no key to another clinic's rows.
    theirs = api.call("GET", "/v1/exercises", api.specialist(foreign), params={"cursor": cursor}).json["items"]
    assert {each["id"] for each in theirs} <= set(foreign.ids.exercises.values())


def test_sessions_of_a_plan_are_listed_newest_first(api: Api, clinic: Clinic) -> None:
    for _ in range(3):
        sitting = open_session(api, clinic)
        api.call("POST", f"/v1/treatment-sessions/{sitting['id']}/skip", api.patient(clinic))
    first = api.call("GET", f"{PLANS}/{clinic.plan_id}/sessions?limit=2", api.patient(clinic)).json
    assert [each["session_number"] for each in first["items"]] == [3, 2]
    params = {"limit": "2", "cursor": first["next_cursor"]}
    rest = api.call("GET", f"{PLANS}/{clinic.plan_id}/sessions", api.patient(clinic), params=params).json
    assert ([each["session_number"] for each in rest["items"]], rest["next_cursor"]) == ([1], None)


def test_plans_are_found_by_patient_and_status(api: Api, clinic: Clinic) -> None:
    api.call("POST", f"{PLANS}/{clinic.plan_id}/cancel", api.specialist(clinic))
    found = api.call("GET", PLANS, api.specialist(clinic), params={"status": "active"}).json["items"]
    assert [each["id"] for each in found] == [clinic.other_plan_id]
    found = api.call("GET", PLANS, api.manager(clinic), params={"patient_id": str(clinic.patient_id)}).json["items"]
    assert [each["id"] for each in found] == [clinic.plan_id]
    for params in ({"status": "lost"}, {"statsu": "active"}, {"limit": "0"}, {"patient_id": "1,2"}):
        assert code(api.call("GET", PLANS, api.manager(clinic), params=params)) == (422, "invalid_parameter"), params


def test_a_result_that_comes_after_the_completion_counts_the_session_again(
    api: Api, clinic: Clinic, foreign: Clinic, database: Database
) -> None:
    """As the subscriber does for each result it applies, in its role and within its tenant."""
    sitting = open_session(api, clinic)
    _, started = start(api, clinic, sitting["id"], "Quad Set")
    path = f"/v1/treatment-sessions/{sitting['id']}"
    completed = api.call("POST", f"{path}/complete", api.patient(clinic), json={})
    assert completed.json["exercises_completed"] == 0
    session_id = uuid.UUID(started["session_id"])
    api.rows("update telemetry.sessions set end_reason = 'completed' where session_id = %s returning 1", session_id)
    counted = []
    for organisation_id in (foreign.organisation_id, clinic.organisation_id, clinic.organisation_id):
        with psycopg.connect(database.url("subscriber")) as connection:
            enter_tenant(connection, organisation_id)
            scope = {"patient_exercise_log_id": started["exercise_log_id"]}
            connection.execute(query("hold_sitting"), scope)
            counted.append(connection.execute(query("recount_exercises"), scope).fetchone())
    assert counted == [(False,), (True,), (False,)]  # not this tenant's; counted; the same still
    assert api.call("GET", path, api.patient(clinic)).json["exercises_completed"] == 1
