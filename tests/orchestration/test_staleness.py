"""What gets old is told: a source into which nothing is written any more, a mart that is not rebuilt."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.freshness import (
    FreshnessState,
    FreshnessStateChange,
    FreshnessStateRecord,
    FreshnessStateRecordBody,
)

from infra.stack.throwaway import Database
from orchestration.defs.alerts import staleness
from tests.orchestration.clinic import session

DASHBOARD = dg.AssetKey(["analytics", "organisation_dashboard"])


class _Hook(BaseHTTPRequestHandler):
    """A chat's webhook: keeps what it is sent."""

    bodies: list[dict[str, object]]

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, object]]]:
    """What reaches the webhook."""
    _Hook.bodies = []
    with HTTPServer(("127.0.0.1", 0), _Hook) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("RESTARTIX_ALERT_WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("RESTARTIX_RUNBOOK_URL", "https://r")
        yield _Hook.bodies
        server.shutdown()
        thread.join()


def checks(definitions: dg.Definitions) -> dict[str, dg.AssetCheckEvaluation]:
    """The job source_freshness, run here; its answers by table."""
    result = definitions.resolve_job_def("source_freshness").execute_in_process(raise_on_error=False)
    assert result.success
    return {one.asset_key.path[-1]: one for one in result.get_asset_check_evaluations()}


@pytest.mark.timeout(300)
def test_sources_are_fresh_or_warn_or_fail_by_their_newest_row(connected: dg.Definitions, database: Database) -> None:
    session(database)
    session(database)
    found = checks(connected)
    sittings, logs = found["patient_session_completions"], found["patient_exercise_logs"]
    assert sittings.passed and logs.passed
    age = sittings.metadata["age_hours"].value
    assert isinstance(age, float) and 0 <= age < 1
    # No result was ever applied: nothing is known, and nobody is woken for it.
    results = found["pose_session_metrics"]
    assert (results.passed, results.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "last_written_at" not in results.metadata
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("update core.patient_session_completions set created_at = now() - interval '5 days'")
        # The newest counts: one log of today among old ones.
        connection.execute("update core.patient_exercise_logs set created_at = now() - interval '11 days' where id = 1")
    found = checks(connected)
    sittings = found["patient_session_completions"]
    assert (sittings.passed, sittings.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found["patient_exercise_logs"].passed
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("update core.patient_session_completions set created_at = now() - interval '11 days'")
    sittings = checks(connected)["patient_session_completions"]
    assert (sittings.passed, sittings.severity) == (False, dg.AssetCheckSeverity.ERROR)


def test_a_mart_too_old_is_told_once_and_so_is_that_it_is_fresh_again(
    definitions: dg.Definitions, told: list[dict[str, object]]
) -> None:
    repository = definitions.get_repository_def()
    cursor = None
    with dg.DagsterInstance.ephemeral() as instance:
        for state, expected in (
            (FreshnessState.WARN, []),
            (FreshnessState.FAIL, ["failed"]),
            (FreshnessState.FAIL, []),
            (FreshnessState.PASS, ["recovered"]),
        ):
            told.clear()
            instance._report_runless_asset_event(  # as the daemon does
                asset_event=FreshnessStateChange(
                    key=DASHBOARD, new_state=state, previous_state=FreshnessState.UNKNOWN, state_change_timestamp=1e9
                )
            )
            with dg.build_sensor_context(instance=instance, repository_def=repository, cursor=cursor) as context:
                result = repository.get_sensor_def("failed_checks").evaluate_tick(context)
            cursor = result.cursor
            assert [body["kind"] for body in told] == expected
            for body in told:
                assert body["what"] == "analytics/organisation_dashboard: up_to_date"
                assert body["runbook"] == "https://r#up-to-date"


def test_only_what_is_older_than_allowed_is_an_error() -> None:
    at = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    records = [
        FreshnessStateRecord(
            entity_key=dg.AssetKey(["analytics", state.value.lower()]),
            freshness_state=state,
            updated_at=at,
            record_body=FreshnessStateRecordBody(metadata={}),
        )
        for state in FreshnessState
    ]
    found = {verdict.name: verdict for verdict in staleness(records)}
    assert {name: verdict.passed for name, verdict in found.items()} == {
        "analytics/fail: up_to_date": False,
        "analytics/pass: up_to_date": True,
    }
    assert found["analytics/fail: up_to_date"].metadata == {"since": "2026-03-01T00:00:00+00:00"}
