"""What the stack tells its processes is what they ask for, and no more than they need."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import core_api.settings
import ingest_service.settings
import orchestration.settings
import pipelines.finalise.settings
from infra.stack import environment
from infra.stack.state import BUCKET, StackState, prepare_state
from pipelines.adapters.s3.settings import S3Settings

PROCESSES: dict[str, Callable[[StackState], dict[str, str]]] = {
    "core_api": environment.core_api,
    "ingest": environment.ingest,
    "finaliser": environment.finaliser,
    "subscriber": environment.subscriber,
    "orchestration": environment.orchestration,
    "dagster": environment.dagster,
    "simulator": environment.simulator,
}


@pytest.fixture
def state(tmp_path: Path) -> StackState:
    return prepare_state({"RESTARTIX_STATE": str(tmp_path / "state")}, running=False)


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_no_process_can_become_another(state: StackState, process: str) -> None:
    told = PROCESSES[process](state)
    assert state.postgres is not None
    values = "\n".join(told.values())
    assert state.secret not in values
    assert state.postgres.password not in values
    roles = {role for role in PROCESSES if f"//{role}:" in values}
    assert roles <= {process}
    has_signing_key = "RESTARTIX_SESSION_SIGNING_KEY" in told
    assert has_signing_key is (process == "core_api")


@pytest.mark.parametrize("process", ["ingest", "subscriber", "dagster", "simulator"])
def test_no_process_without_need_reaches_the_bucket(state: StackState, process: str) -> None:
    assert not {name for name in PROCESSES[process](state) if name.startswith("AWS_ACCESS") or "_S3_" in name}


def test_nothing_of_the_starting_shell_leaks_in(state: StackState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    for tell in PROCESSES.values():
        assert not {"AWS_PROFILE", "PYTHONPATH"} & tell(state).keys()


def test_every_process_accepts_what_it_is_told(state: StackState) -> None:
    api = core_api.settings.Settings.from_env(environment.core_api(state))
    node = ingest_service.settings.Settings.from_env(environment.ingest(state))
    finaliser = pipelines.finalise.settings.FinaliserSettings.from_env(environment.finaliser(state))
    sweep = pipelines.finalise.settings.SweepSettings.from_env(environment.orchestration(state))
    pace = orchestration.settings.Pace.from_env(environment.orchestration(state))
    buckets = {S3Settings.from_env(tell(state)) for tell in (environment.core_api, environment.finaliser)}

    assert api.allow_backdated_starts
    assert set(api.portal_origins) == set(node.portal_origins) == set(environment.PORTAL_ORIGINS)
    assert (finaliser.data_dir, finaliser.node_id) == (node.data_dir, node.node_id)
    assert [(s3.bucket, s3.endpoint_url) for s3 in buckets] == [(BUCKET, state.s3.endpoint_url)]
    assert (sweep.silence_s, pace.sweep_interval_s) == (20, 5)
    assert sweep.touch_interval_s == node.touch_interval_s == 1
    assert node.touch_interval_s < node.lease_s < sweep.silence_s, "a node that is ready must look ready to the sweep"
