"""The subscriber: what is published is written once, the newest revision wins, what cannot be applied is set aside."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
from click.testing import CliRunner
from prometheus_client.samples import Sample
from psycopg_pool import ConnectionPool

from core_api.cli import run_subscriber
from core_api.subscriber.apply import ResultRefused, apply_result
from core_api.subscriber.backlog import BacklogWatch
from core_api.subscriber.meter import SubscriberMeter
from core_api.subscriber.runner import CONSUMER, Runner
from core_api.subscriber.settings import SubscriberSettings
from infra.cli import main
from infra.stack.throwaway import Database
from pipelines.adapters.postgres.bus import PostgresConsumer, PostgresPublisher
from pipelines.environment import SettingInvalid
from pipelines.finalise import payload
from pipelines.finalise.payload import ByteRange, SessionFinalised
from pipelines.media.model import MediaSummary, StallEvent, ViewMetrics
from pipelines.ports.bus import RetryPolicy
from pipelines.pose.model import PoseSummary, RepMetrics
from tests.core_api.clinics import NOW, Api, Clinic
from tests.core_api.test_sessions import complete, open_session, start


@dataclasses.dataclass
class Bench:
    """A started exercise, the finaliser's end of the bus, and one subscriber thread's loop."""

    api: Api
    clinic: Clinic
    database: Database
    runner: Runner[Any]
    meter: SubscriberMeter
    sitting_id: int
    session_id: uuid.UUID

    def result(self, revision: int = 1, **changes: object) -> SessionFinalised:
        [row] = self.api.rows("select * from telemetry.sessions where session_id = %s", self.session_id)
        result = SessionFinalised(
            session_id=self.session_id,
            revision=revision,
            organisation_id=row["organisation_id"],
            patient_id=row["patient_id"],
            exercise_id=row["exercise_id"],
            patient_exercise_log_id=row["patient_exercise_log_id"],
            started_at=row["started_at"],
            ended_at=row["started_at"] + timedelta(minutes=1),
            finalised_at=row["started_at"] + timedelta(minutes=1),
            end_reason="completed",
            incomplete=False,
            algorithm_version="1",
            pose=pose_summary(2),
            rep_byte_ranges=(ByteRange(offset=0, length=100), None),
            media=media_summary(),
            counts=None,
            blob=None,
            events_object=None,
        )
        return msgspec.structs.replace(result, **changes)

    def publish(self, result: SessionFinalised, key: str | None = None, body: bytes | None = None) -> None:
        with psycopg.connect(self.database.url("finaliser")) as connection:
            connection.execute("select set_config('app.org_id', %s, true)", [str(self.clinic.organisation_id)])
            assert PostgresPublisher().publish(
                connection,
                topic=payload.TOPIC,
                key=key or payload.key(result.session_id, result.revision),
                organisation_id=self.clinic.organisation_id,
                payload=payload.encode(result) if body is None else body,
            )

    def drain(self) -> int:
        return self.runner.drain(threading.Event())

    def log(self) -> dict[str, Any]:
        [row] = self.api.rows(
            "select l.* from core.patient_exercise_logs l join telemetry.sessions s on s.patient_exercise_log_id = l.id"
            " where s.session_id = %s",
            self.session_id,
        )
        return row

    def deliveries(self) -> list[tuple[str, int]]:
        rows = self.api.rows("select state, attempts from bus.deliveries order by event_id")
        return [(row["state"], row["attempts"]) for row in rows]

    def numbers(self) -> list[list[dict[str, Any]]]:
        """Every row the subscriber writes, without when it did."""
        tables = ("pose_session_metrics", "pose_rep_metrics", "media_session_metrics", "media_buffering_events")
        return [
            [
                {name: value for name, value in row.items() if name != "applied_at"}
                for row in self.api.rows(f"select * from telemetry.{table} order by 1, 2, 3, 4")
            ]
            for table in tables
        ]


def pose_summary(rep_count: int) -> PoseSummary:
    reps = tuple(
        RepMetrics(
            rep_number=number,
            start_ms=3000 * number,
            end_ms=3000 * number + 2500,
            peak_rom_deg=92.456,
            form_score=81.25,
            concentric_ms=1000,
            hold_ms=500,
            eccentric_ms=1000,
            deviation_max_deg=None,
            deviation_name=None,
            side="both",
            confidence=0.987654,
        )
        for number in range(1, rep_count + 1)
    )
    return PoseSummary(
        reps=reps,
        rep_count=rep_count,
        average_form_score=81.25,
        active_duration_ms=2500 * rep_count,
        rom_mean_deg=92.456,
        rom_max_deg=95.0,
        rom_sd_deg=1.5,
        tempo_mean_ms=2500.0,
        symmetry_percent=None,
        smoothness_sparc=-1.6,
        tracking_quality=0.99,
        gap_count=0,
        gap_ms=0,
        frame_count=900,
        duration_ms=30_000,
        movement_profile="deep_squat",
        algorithm_version="1",
    )


def media_summary(watch_percentage: float = 88.123) -> MediaSummary:
    view = ViewMetrics(
        media_id="media-0",
        ordinal=1,
        media_type="video",
        began_at=NOW,
        ended_at=None,
        total_duration_seconds=42.0,
        startup_ms=340,
        ttfb_ms=None,
        watched_seconds=37.0,
        unique_seconds=37.0,
        unique_seconds_error=5.0,
        watch_percentage=watch_percentage,
        completed=False,
        milestone_percent=75,
        stall_count=1,
        stall_ms=400,
        played_ms=37_000,
        mean_bitrate=2_500_000.0,
        upswitch_count=0,
        downswitch_count=1,
        quality_seconds={"720p": 37.0},
        dropped_frames=2,
        total_frames=1100,
        exit_before_start=False,
        error_count=None,
    )
    stall = StallEvent(view_ordinal=1, stall_number=1, began_at=NOW, position_seconds=12.5, duration_ms=None)
    return MediaSummary(views=(view,), stalls=(stall,), watch_percentage=watch_percentage, event_count=5)


@pytest.fixture
def bench(api: Api, clinic: Clinic, database: Database) -> Iterator[Bench]:
    sitting = open_session(api, clinic)
    _, started = start(api, clinic, sitting["id"], "Quad Set")
    with ConnectionPool(database.url("subscriber"), min_size=1, max_size=4, timeout=5) as pool:
        policy = RetryPolicy(attempts_max=3, delay_base_s=0.0)
        consumer = PostgresConsumer(pool, database.url("subscriber"), CONSUMER, policy)
        meter = SubscriberMeter(lambda: NOW + timedelta(minutes=1, seconds=3))
        runner = Runner(consumer, pool.connection, apply_result, claim_max=4, poll_s=0.1, meter=meter)
        yield Bench(api, clinic, database, runner, meter, sitting["id"], uuid.UUID(started["session_id"]))
        consumer.close()


def test_a_result_fills_the_metrics_and_the_log(bench: Bench) -> None:
    bench.publish(bench.result())
    assert bench.drain() == 1
    sessions, reps, views, stalls = bench.numbers()
    assert [len(rows) for rows in (sessions, reps, views, stalls)] == [1, 2, 1, 1]
    assert (float(sessions[0]["average_form_score"]), sessions[0]["symmetry_percent"]) == (81.25, None)
    assert [(row["byte_offset"], row["byte_length"]) for row in reps] == [(0, 100), (None, None)]
    log = bench.log()
    assert (float(log["pose_accuracy_score"]), float(log["video_watch_percentage"])) == (81.25, 88.12)
    assert (log["actual_reps"], log["actual_reps_source"], log["incomplete"]) == (2, "counted", False)
    assert bench.deliveries() == [("done", 1)]


def samples(bench: Bench, name: str) -> list[Sample]:
    return [each for family in bench.meter.registry.collect() for each in family.samples if each.name == name]


def test_the_age_of_what_was_applied_is_measured(bench: Bench) -> None:
    """From the finaliser's result, not from the delivery: waiting counts."""
    bench.publish(bench.result(finalised_at=NOW + timedelta(minutes=1)))
    bench.drain()
    [total] = samples(bench, "subscriber_result_age_seconds_sum")
    [looked] = samples(bench, "subscriber_looked_timestamp_seconds")
    assert (total.value, looked.value) == (3.0, (NOW + timedelta(minutes=1, seconds=3)).timestamp())


def test_metrics_are_served_where_they_are_asked_for() -> None:
    meter = SubscriberMeter(lambda: NOW)
    meter.count("dead")
    server, thread = meter.serve("127.0.0.1", 0)
    try:
        page = httpx.get(f"http://127.0.0.1:{server.server_port}/metrics", trust_env=False).text
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
    assert 'subscriber_results_total{outcome="dead"} 1.0' in page.splitlines()


@pytest.mark.parametrize("text", ["9100", ":9100", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:x"])
def test_an_address_that_is_none_is_named(text: str) -> None:
    environ = {"RESTARTIX_DATABASE_URL": "postgresql://localhost/x", "RESTARTIX_SUBSCRIBER_METRICS_BIND": text}
    with pytest.raises(SettingInvalid, match="RESTARTIX_SUBSCRIBER_METRICS_BIND must be host:port"):
        SubscriberSettings.from_env(environ)


def test_a_finished_session_shows_in_the_reads(bench: Bench) -> None:
    # As the finaliser leaves it: the patient ended it.
    bench.api.rows("update telemetry.sessions set state = 'finalised', end_reason = 'completed' returning 1")
    bench.publish(bench.result())
    bench.drain()
    detail = bench.api.call("GET", f"/v1/sessions/{bench.session_id}", bench.api.patient(bench.clinic)).json
    assert (detail["applied_revision"], detail["pose"]["rep_count"], len(detail["reps"])) == (1, 2, 2)
    assert detail["reps"][0]["peak_rom_deg"] == 92.46
    assert detail["views"][0]["watch_percentage"] == 88.12
    complete(bench.api, bench.clinic, bench.sitting_id)
    analytics = bench.api.call(
        "GET",
        f"/v1/patient-treatment-plans/{bench.clinic.plan_id}/analytics",
        bench.api.specialist(bench.clinic),
    ).json
    first = analytics["exercises"][0]
    assert (first["name"], first["done"], first["video_watch_percent"], first["form_score"]) == (
        "Quad Set",
        1,
        88,
        81.3,
    )


def test_what_the_patient_reported_stays(bench: Bench) -> None:
    reported = [{"exercise_id": bench.clinic.ids.exercises["Quad Set"], "actual_reps": 30}]
    complete(bench.api, bench.clinic, bench.sitting_id, exercises=reported)
    bench.publish(bench.result())
    bench.drain()
    assert (bench.log()["actual_reps"], bench.log()["actual_reps_source"]) == (30, "patient")
    assert float(bench.log()["pose_accuracy_score"]) == 81.25


def test_a_newer_revision_replaces_and_an_older_one_is_ignored(bench: Bench) -> None:
    newer = bench.result(2, pose=pose_summary(5), rep_byte_ranges=(None,) * 5, media=None, incomplete=True)
    bench.publish(bench.result(1))
    bench.drain()
    bench.publish(newer)
    bench.drain()
    replaced = bench.numbers()
    assert [len(rows) for rows in replaced] == [1, 5, 0, 0]
    assert (bench.log()["actual_reps"], bench.log()["video_watch_percentage"]) == (5, None)
    assert bench.log()["incomplete"]
    bench.publish(bench.result(1), key="late again")
    bench.publish(newer, key="twice")
    bench.drain()
    assert bench.numbers() == replaced
    assert bench.deliveries() == [("done", 1)] * 4


def test_out_of_order_equals_in_order(bench: Bench) -> None:
    bench.publish(bench.result(2, pose=pose_summary(7), rep_byte_ranges=()))
    bench.publish(bench.result(1))
    bench.drain()
    [session], reps, _, _ = bench.numbers()
    assert (session["revision"], session["rep_count"], len(reps)) == (2, 7, 7)


def test_without_pose_the_counted_repetitions_are_unknown_again(bench: Bench) -> None:
    bench.publish(bench.result(1))
    bench.publish(bench.result(2, pose=None, rep_byte_ranges=()))
    bench.drain()
    log = bench.log()
    assert (log["actual_reps"], log["actual_reps_source"], log["pose_accuracy_score"]) == (None, None, None)


def test_an_erased_session_stays_erased(bench: Bench) -> None:
    bench.api.rows("update telemetry.sessions set state = 'erased' where session_id = %s returning 1", bench.session_id)
    bench.publish(bench.result())
    bench.drain()
    assert bench.numbers() == [[], [], [], []]
    assert bench.deliveries() == [("done", 1)]


@pytest.mark.parametrize(
    "changes",
    [
        {"session_id": uuid.UUID(int=7)},
        {"patient_id": 999_999},
        {"started_at": datetime.fromisoformat("2026-03-18T10:00:00.001Z")},
        {"pose": msgspec.structs.replace(pose_summary(1), average_form_score=100.5)},
    ],
    ids=["unknown session", "another patient", "another start", "impossible score"],
)
def test_a_poisonous_result_becomes_a_dead_letter_and_blocks_nobody(bench: Bench, changes: dict[str, object]) -> None:
    poison = bench.result(3, rep_byte_ranges=(), **changes)
    bench.publish(poison, key="poison")
    bench.publish(bench.result(2))
    for _ in range(4):
        bench.drain()
    assert bench.deliveries() == [("dead", 3), ("done", 1)]
    [session], *_ = bench.numbers()
    assert session["revision"] == 2
    counted = {sample.labels["outcome"]: sample.value for sample in samples(bench, "subscriber_results_total")}
    assert counted == {"applied": 1, "not_newer": 0, "failed": 2, "dead": 1}
    standing = {name: figure(bench, name) for name in ("pending", "dead_letters")}
    assert all(math.isnan(value) for value in standing.values()), "nothing is known before the first look"
    look(bench)
    assert (figure(bench, "pending"), figure(bench, "dead_letters")) == (0, 1)
    assert math.isnan(figure(bench, "oldest_pending_timestamp_seconds"))
    [given_up] = bench.api.rows(
        "select extract(epoch from settled_at)::float8 as at from bus.deliveries where state = 'dead'"
    )
    assert figure(bench, "oldest_dead_letter_timestamp_seconds") == pytest.approx(given_up["at"])
    [letter] = bench.api.rows("select last_error from bus.deliveries where state = 'dead'")
    assert "100.5" not in letter["last_error"]  # a kind of error and a place, never a value


def look(bench: Bench) -> None:
    with ConnectionPool(bench.database.url("subscriber"), min_size=1, max_size=1, timeout=5) as pool:
        BacklogWatch(pool.connection, CONSUMER, bench.meter).look()


def figure(bench: Bench, name: str) -> float:
    [sample] = samples(bench, f"subscriber_{name}")
    return sample.value


def test_what_waits_is_told_and_unknown_where_the_database_is_away(bench: Bench) -> None:
    bench.publish(bench.result())
    look(bench)
    assert (figure(bench, "pending"), figure(bench, "dead_letters")) == (1, 0)
    [waits] = bench.api.rows("select extract(epoch from created_at)::float8 as at from bus.events")
    assert figure(bench, "oldest_pending_timestamp_seconds") == pytest.approx(waits["at"])

    def nowhere() -> contextlib.AbstractContextManager[psycopg.Connection[Any]]:
        raise psycopg.OperationalError("away")

    BacklogWatch(nowhere, CONSUMER, bench.meter).look()
    assert math.isnan(figure(bench, "pending"))
    assert math.isnan(figure(bench, "dead_letters"))


def test_an_unreadable_payload_becomes_a_dead_letter(bench: Bench) -> None:
    bench.publish(bench.result(), key="future", body=b'{"version": 2}')
    for _ in range(4):
        bench.drain()
    assert bench.deliveries() == [("dead", 3)]


def dead_letters(bench: Bench, *arguments: str) -> tuple[int, str]:
    environment = {"RESTARTIX_DATABASE_URL": bench.database.url("subscriber")}
    done = CliRunner().invoke(main, ["dead-letters", *arguments], env=environment)
    return done.exit_code, done.output


def test_a_dead_letter_is_seen_and_replayed_by_command(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cause is mended between: a result refused for a while is applied in the end, once."""
    assert dead_letters(bench, "list") == (0, "No dead letters.\n")
    with monkeypatch.context() as broken:
        broken.setattr("core_api.subscriber.apply._check", refuse_everything)
        bench.publish(bench.result())
        for _ in range(4):
            bench.drain()
    assert bench.numbers()[0] == []
    status, listed = dead_letters(bench, "list")
    assert (status, str(bench.session_id) in listed, ": not today" in listed) == (0, True, True)
    _, as_json = dead_letters(bench, "list", "--json")
    letter = msgspec.json.decode(as_json.strip())
    assert (letter["key"], letter["attempts"]) == (f"{bench.session_id}:1", 3)

    assert dead_letters(bench, "replay", str(letter["event_id"])) == (0, f"{letter['event_id']} is due again\n")
    assert bench.deliveries() == [("pending", 0)]
    assert bench.drain() == 1
    assert bench.deliveries() == [("done", 1)]
    assert [row["rep_count"] for row in bench.numbers()[0]] == [2]
    audited = bench.api.rows(
        "select organisation_id, actor_role, entity_id from core.audit_log where action = 'dead_letter.replay'"
    )
    assert audited == [
        {
            "organisation_id": bench.clinic.organisation_id,
            "actor_role": "operator",
            "entity_id": str(letter["event_id"]),
        }
    ]
    assert dead_letters(bench, "list") == (0, "No dead letters.\n")


def refuse_everything(*_: object) -> None:
    raise ResultRefused("not today")


def test_replaying_says_what_it_cannot_do(bench: Bench) -> None:
    assert dead_letters(bench, "replay", "--all") == (0, "No dead letters.\n")
    status, said = dead_letters(bench, "replay", "4711")
    assert (status, "not dead letters: 4711" in said) == (1, True)
    assert dead_letters(bench, "replay")[0] == 2
    assert dead_letters(bench, "replay", "1", "--all")[0] == 2
    bench.publish(bench.result())
    bench.drain()
    [delivery] = bench.api.rows("select event_id from bus.deliveries")
    status, _ = dead_letters(bench, "replay", str(delivery["event_id"]))
    assert (status, bench.deliveries()) == (1, [("done", 1)])


def test_nothing_is_left_half_applied(bench: Bench) -> None:
    view = media_summary().views[0]
    twice = msgspec.structs.replace(media_summary(), views=(view, view))  # the second breaks the primary key
    bench.publish(bench.result(media=twice))
    bench.drain()
    assert bench.numbers() == [[], [], [], []]
    assert bench.log()["actual_reps"] is None


@contextlib.contextmanager
def running(database: Database) -> Iterator[None]:
    stop = threading.Event()
    settings = SubscriberSettings(database_url=database.url("subscriber"), poll_s=30)
    outcome: list[bool] = []
    thread = threading.Thread(target=lambda: outcome.append(run_subscriber(settings, stop)))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        with psycopg.connect(database.admin_url, autocommit=True) as admin:
            admin.execute("notify bus")  # wakes the sleepers, so that the test need not wait for their look-round
            thread.join(10)
    assert outcome == [True]


def test_a_result_is_readable_well_within_a_second(bench: Bench) -> None:
    """Woken, not polled: the subscriber here would otherwise look only every 30 s."""
    with running(bench.database):
        time.sleep(0.5)
        waits = []
        for revision in range(1, 11):
            published_s = time.perf_counter()
            bench.publish(bench.result(revision))
            while bench.api.rows("select applied_revision as n from telemetry.sessions")[0]["n"] < revision:
                assert time.perf_counter() - published_s < 10
                time.sleep(0.01)
            waits.append(time.perf_counter() - published_s)
    assert sorted(waits)[-2] < 1.0


def test_a_killed_subscriber_goes_on_where_it_stopped(bench: Bench) -> None:
    """SIGKILL in the middle of applying: nothing of it is there, and the next process applies it and what followed."""
    environment = {**os.environ, "RESTARTIX_DATABASE_URL": bench.database.url("subscriber")}
    command = [sys.executable, "-m", "infra.cli", "subscriber"]
    with psycopg.connect(bench.database.admin_url) as holder:
        holder.execute("select 1 from telemetry.sessions for update")
        bench.publish(bench.result(1))
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            wait_for(lambda: bench.deliveries() == [("pending", 1)])
            wait_for(lambda: bench.api.rows(WAITING) != [])
            process.kill()
            process.wait(10)
        holder.rollback()
    assert bench.numbers() == [[], [], [], []]
    bench.publish(bench.result(2, pose=pose_summary(4), rep_byte_ranges=()))
    bench.api.admin.execute("update bus.deliveries set next_attempt_at = now()")  # as when the claim's lease is over
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: {state for state, _ in bench.deliveries()} == {"done"})
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert bench.deliveries() == [("done", 2), ("done", 1)]
    assert [(row["revision"], row["rep_count"]) for row in bench.numbers()[0]] == [(2, 4)]


WAITING = "select from pg_stat_activity where application_name = 'subscriber' and wait_event_type = 'Lock'"


def wait_for(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_process_stops_on_sigterm_after_finishing(bench: Bench) -> None:
    environment = {**os.environ, "RESTARTIX_DATABASE_URL": bench.database.url("subscriber")}
    command = [sys.executable, "-m", "infra.cli", "subscriber"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        bench.publish(bench.result())
        deadline = time.monotonic() + 20
        while bench.deliveries() != [("done", 1)]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert '"event": "result_applied"' in printed
