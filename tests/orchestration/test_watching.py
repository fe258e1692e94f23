"""What stands still is seen by a sensor within a minute, and people are told once, by a webhook."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dagster as dg
import psycopg
import pytest

from infra.stack.throwaway import Database
from orchestration.defs.alerts import Failing, Verdict, notices
from orchestration.defs.keeping_up import REPORT_AGAIN_S, WATCHED, Look, Seen, changes
from orchestration.node_metrics import parse
from orchestration.notifications import NotDeliveredError, Notice, send
from orchestration.settings import SettingsError, Watch
from tests.orchestration.clinic import session

METRICS = """# HELP ingest_spool_bytes Bytes of the node's spool
ingest_spool_bytes 5000.0
ingest_disk_free_bytes {free}
ingest_requests_total{{code="204"}} 9
ingest_consent_age_seconds NaN
restartix_finaliser_waiting_sessions 2.000
restartix_finaliser_unknown_sessions {unknown}
"""


class Server:
    """An HTTP server of the test's own: answers GET with `text`, POST with the next of `answers`; keeps the bodies."""

    def __init__(self) -> None:
        self.text = ""
        self.answers: list[int] = []
        self.bodies: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200, outer.text.encode())

            def do_POST(self) -> None:
                outer.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._answer(outer.answers.pop(0) if outer.answers else 200, b"")

            def _answer(self, code: int, body: bytes) -> None:
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


def notice(text: str = "It fails.") -> Notice:
    return Notice(kind="failed", what="a: b", text=text, severity="error", at="2026-01-01T00:00:00+00:00")


def test_a_notice_is_tried_again_with_back_off(server: Server) -> None:
    waits: list[float] = []
    server.answers = [503, 429, 204]
    send(server.url, notice(), sleep=waits.append)
    assert waits == [1.0, 4.0]
    assert [body["text"] for body in server.bodies] == ["It fails."] * 3
    server.answers = [500] * 3
    with pytest.raises(NotDeliveredError, match="HTTP 500"):
        send(server.url, notice(), sleep=waits.append)
    server.bodies.clear()
    server.answers = [404]
    with pytest.raises(NotDeliveredError, match="HTTP 404"):
        send(server.url, notice(), sleep=waits.append)
    assert len(server.bodies) == 1, "asking again cannot mend an address that is wrong"
    with pytest.raises(NotDeliveredError):
        send("http://127.0.0.1:9", notice(), sleep=waits.append)


def test_a_check_is_told_when_it_begins_to_fail_fails_on_for_a_day_and_passes_again() -> None:
    watch = Watch(dagster_url="https://d", runbook_url="https://r")
    failing = [Verdict("t/s: not_applied", passed=False, url_path="/assets/t/s?view=checks", metadata={"sessions": 3})]
    well = [failing[0]._replace(passed=True)]
    assert notices(well, {}, watch, 0.0) == ([], {})
    [first], seen = notices(failing, {}, watch, 1000.0)
    assert (first.kind, first.severity, first.metadata) == ("failed", "error", {"sessions": 3})
    assert first.url == "https://d/assets/t/s?view=checks"
    assert first.runbook == "https://r#not-applied"
    assert seen == {"t/s: not_applied": Failing(1000.0, 1000.0)}
    assert notices(failing, seen, watch, 2000.0) == ([], seen)
    [again], seen = notices(failing, seen, watch, 1000.0 + 86_400)
    assert again.kind == "reminder"
    assert seen["t/s: not_applied"].since_s == 1000.0
    [last], seen = notices(well, seen, watch, 200_000.0)
    assert (last.kind, seen) == ("recovered", {})


def test_a_failing_check_reaches_the_webhook_once_and_again_when_it_was_not_taken(
    connected: dg.Definitions, database: Database, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTARTIX_ALERT_WEBHOOK_URL", server.url)
    monkeypatch.setattr("orchestration.notifications.time.sleep", lambda _: None)
    repository = connected.get_repository_def()
    session(database, state="failed", silent_s=60)
    with dg.DagsterInstance.ephemeral() as instance:
        connected.resolve_job_def("keeping_up").execute_in_process(instance=instance)
        cursor = None
        for answers, expected in (([404] * 9, []), ([], ["failed"]), ([], [])):
            server.bodies.clear()
            server.answers = list(answers)
            with dg.build_sensor_context(instance=instance, repository_def=repository, cursor=cursor) as context:
                result = repository.get_sensor_def("failed_checks").evaluate_tick(context)
            cursor = result.cursor
            told = [body["kind"] for body in server.bodies if body["what"] == "telemetry/sessions: no_session_failed"]
            assert told == (expected or ["failed"] if answers else expected)


def test_a_failed_run_reaches_the_webhook(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestration.defs.alerts import failed_runs

    @dg.op
    def broken() -> None:
        raise ValueError("the bucket is away")

    @dg.job
    def breaking() -> None:
        broken()

    monkeypatch.setenv("RESTARTIX_ALERT_WEBHOOK_URL", server.url)
    monkeypatch.setenv("RESTARTIX_DAGSTER_URL", "https://dagster.example")
    with dg.DagsterInstance.ephemeral() as instance:
        result = breaking.execute_in_process(instance=instance, raise_on_error=False)
        context = dg.build_run_status_sensor_context(
            sensor_name="failed_runs",
            dagster_event=result.get_run_failure_event(),
            dagster_instance=instance,
            dagster_run=result.dagster_run,
        ).for_run_failure()
        failed_runs(context)
    [body] = server.bodies
    assert body["what"] == "job breaking"
    assert body["url"] == f"https://dagster.example/runs/{result.run_id}"


def test_the_sensor_sees_dead_letters_and_reports_only_what_changed(
    connected: dg.Definitions, database: Database, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTARTIX_NODE_METRICS_URL", f"{server.url}/metrics")
    server.text = METRICS.format(free=10**12, unknown=0)
    repository = connected.get_repository_def()

    def tick(cursor: str | None) -> tuple[dict[str, bool], str | None]:
        resources = repository.get_top_level_resources()
        with dg.build_sensor_context(repository_def=repository, resources=resources, cursor=cursor) as context:
            result = repository.get_sensor_def("standstill").evaluate_tick(context)
        return {
            event.check_name: event.passed
            for event in result.asset_events
            if isinstance(event, dg.AssetCheckEvaluation)
        }, result.cursor

    session(database)
    first, cursor = tick(None)
    assert first == {watched.name: True for watched in WATCHED}
    assert tick(cursor)[0] == {}
    with psycopg.connect(database.admin_url) as connection:
        connection.execute(
            "insert into bus.events (topic, key, organisation_id, payload)"
            " select 'session.finalised', 'k', id, '{}' from core.organisations"
        )
        connection.execute("update bus.deliveries set state = 'dead', settled_at = now()")
    server.text = METRICS.format(free=10, unknown=1)
    changed, cursor = tick(cursor)
    assert changed == {"no_dead_letters": False, "nodes_have_room": False}
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("update telemetry.nodes set lease_until = now() - interval '1 minute'")
    assert tick(cursor)[0] == {"a_node_is_ready": False, "nodes_have_room": True}


def test_what_did_not_change_is_reported_each_hour() -> None:
    watched = WATCHED[0]
    name = f"{watched.asset.to_user_string()}: {watched.name}"
    seen = {name: Seen(True, 0.0)}
    look = Look(True, {})
    assert changes(iter([(watched, look)]), seen, REPORT_AGAIN_S - 1.0)[0] == []
    events, after = changes(iter([(watched, look)]), seen, REPORT_AGAIN_S + 0.0)
    assert len(events) == 1
    assert after[name].at_s == REPORT_AGAIN_S


def test_a_nodes_metrics_are_read_and_what_is_not_said_is_unknown() -> None:
    figures = parse(METRICS.format(free=123.0, unknown=1))
    assert (figures.spool_bytes, figures.disk_free_bytes, figures.unknown_sessions) == (5000, 123, 1)
    assert figures.waiting_sessions == 2
    assert figures.finaliser_seen_s is None
    assert parse("").spool_bytes is None


def test_a_wrong_address_is_named() -> None:
    with pytest.raises(SettingsError, match="RESTARTIX_ALERT_WEBHOOK_URL"):
        Watch.from_env({"RESTARTIX_ALERT_WEBHOOK_URL": "hooks.example"})
    assert Watch.from_env({"RESTARTIX_ALERT_REMINDER_S": "60"}).reminder_s == 60
    assert dt.timedelta(seconds=Watch().reminder_s) == dt.timedelta(days=1)
