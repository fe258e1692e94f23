"""The sweep ends silent sessions, never because of an outage of ours."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys

import pytest

from pipelines.environment import SettingInvalid
from pipelines.finalise.cli import run_sweep
from pipelines.finalise.settings import FinaliserSettings, SafetyCopySettings, SweepSettings
from pipelines.finalise.sweep import SweepReport
from tests.finalise.scene import Clinic


def _ago(seconds: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)


def _environment(clinic: Clinic, **more: str) -> dict[str, str]:
    return {
        "RESTARTIX_DATABASE_URL": clinic.database.url("sweeper"),
        "RESTARTIX_SILENCE_S": "20",
        "RESTARTIX_TOUCH_INTERVAL_S": "5",
        **more,
    }


def _sweep(clinic: Clinic, **more: str) -> SweepReport:
    return run_sweep(_environment(clinic, **more))


def test_a_silent_session_of_a_ready_node_is_a_timeout(clinic: Clinic) -> None:
    silent = clinic.session(created_at=_ago(100), last_received_at=_ago(26))
    never_heard = clinic.session(created_at=_ago(26))
    heard = clinic.session(created_at=_ago(100), last_received_at=_ago(15))
    unreported = clinic.session(created_at=_ago(100), last_received_at=_ago(22))  # a receipt may not be told yet
    young = clinic.session(created_at=_ago(10))
    assert _sweep(clinic) == SweepReport(timeout=2, node_lost=0, spared=0, is_complete=True)
    for header in (silent, never_heard):
        row = clinic.row(header)
        assert (row["state"], row["end_reason"], row["incomplete"]) == ("ended", "timeout", True)
        assert row["ended_at"] is not None
    assert {clinic.row(header)["state"] for header in (heard, unreported, young)} == {"open"}
    assert _sweep(clinic) == SweepReport(timeout=0, node_lost=0, spared=0, is_complete=True)


@pytest.mark.parametrize(
    "node",
    [
        "ready_since = now() - interval '10 seconds'",  # became ready during the silence
        "ready_since = null",  # is not ready
        "lease_until = now() - interval '1 second'",  # is not heard of
    ],
)
def test_an_outage_of_ours_ends_nobodys_session(clinic: Clinic, node: str) -> None:
    header = clinic.session(created_at=_ago(1000), last_received_at=_ago(900))
    clinic.execute(f"update telemetry.nodes set {node}")
    assert _sweep(clinic) == SweepReport(timeout=0, node_lost=0, spared=1, is_complete=True)
    assert clinic.row(header)["state"] == "open"


def test_sessions_of_a_node_that_is_given_up_are_node_lost(clinic: Clinic) -> None:
    header = clinic.session(created_at=_ago(1000), last_received_at=_ago(5))
    clinic.execute("update telemetry.nodes set lease_until = now() - interval '14 minutes'")
    assert _sweep(clinic).node_lost == 0
    clinic.execute("update telemetry.nodes set lease_until = now() - interval '16 minutes'")
    assert _sweep(clinic) == SweepReport(timeout=0, node_lost=1, spared=0, is_complete=True)
    row = clinic.row(header)
    assert (row["state"], row["end_reason"], row["incomplete"]) == ("ended", "node_lost", True)


def test_a_pass_is_bounded_and_says_that_another_has_to_follow(clinic: Clinic) -> None:
    for _ in range(3):
        clinic.session(created_at=_ago(100))
    bounded = {"RESTARTIX_SWEEP_SESSIONS_MAX": "2"}
    assert _sweep(clinic, **bounded) == SweepReport(timeout=2, node_lost=0, spared=1, is_complete=False)
    assert _sweep(clinic, **bounded) == SweepReport(timeout=1, node_lost=0, spared=0, is_complete=True)


def test_other_states_are_left_alone(clinic: Clinic) -> None:
    states = ("ended", "finalised", "failed", "erased")
    headers = [clinic.session(created_at=_ago(100), state=state) for state in states]
    assert _sweep(clinic).timeout == 0
    assert [clinic.row(header)["state"] for header in headers] == list(states)


def test_the_command_prints_its_report(clinic: Clinic) -> None:
    clinic.session(created_at=_ago(100))
    program = "from pipelines.finalise.cli import sweep; sweep()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | _environment(clinic), capture_output=True, check=True
    )
    assert json.loads(done.stdout) == {"timeout": 1, "node_lost": 0, "spared": 0, "is_complete": True}


def test_settings_name_the_variable_that_is_wrong() -> None:
    with pytest.raises(SettingInvalid, match="RESTARTIX_DATABASE_URL"):
        SweepSettings.from_env({})
    with pytest.raises(SettingInvalid, match="RESTARTIX_SILENCE_S"):
        SweepSettings.from_env({"RESTARTIX_DATABASE_URL": "x", "RESTARTIX_SILENCE_S": "soon"})
    named = {"RESTARTIX_DATABASE_URL": "x", "RESTARTIX_DATA_DIR": "/d", "RESTARTIX_NODE_ID": "n"}
    assert FinaliserSettings.from_env(named).poll_s == 0.1
    with pytest.raises(SettingInvalid, match="RESTARTIX_FINALISER_THREADS"):
        FinaliserSettings.from_env({**named, "RESTARTIX_FINALISER_THREADS": "0"})
    assert FinaliserSettings.from_env(named).safety_copy == SafetyCopySettings()
    assert not FinaliserSettings.from_env({**named, "RESTARTIX_SAFETY_COPY": "off"}).safety_copy.is_on
    for name, value in (("", "maybe"), ("_PART_BYTES", "1048576"), ("_AGE_S", "-1"), ("_INTERVAL_S", "0")):
        with pytest.raises(SettingInvalid, match=f"RESTARTIX_SAFETY_COPY{name}"):
            FinaliserSettings.from_env({**named, f"RESTARTIX_SAFETY_COPY{name}": value})
