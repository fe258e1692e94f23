"""Erasures by Dagster: asked for as the clinic does, gone on with by the job, over a real Postgres and a real S3."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any

import dagster as dg
import psycopg
import pytest

from infra.stack.throwaway import Bucket
from orchestration.defs.erasure import LATE, late
from pipelines.adapters.s3.blob_store import S3BlobStore
from pipelines.adapters.s3.settings import S3Settings
from pipelines.erasure.cli import Outcome
from pipelines.erasure.ledger import PREFIX
from pipelines.erasure.run import STEPS
from tests.erasure.conftest import bodies, clinic, copies, finalise, finaliser, node, pool, squats, store
from tests.erasure.test_erasure import RETAINED_ID, Scene, scene

__all__ = ["bodies", "clinic", "copies", "finalise", "finaliser", "node", "pool", "scene", "squats", "store"]


@pytest.fixture
def blobs(s3: Bucket) -> S3BlobStore:
    return S3BlobStore(s3.client(), S3Settings.from_env(s3.environment()))


@pytest.fixture
def location(with_bucket: dg.Definitions) -> Iterator[dg.Definitions]:
    yield with_bucket


def run(location: dg.Definitions) -> tuple[dict[str, Any], dict[str, bool]]:
    """One run of the job: what it told, and its checks."""
    result = location.resolve_job_def("erasure").execute_in_process()
    [event] = result.get_asset_materialization_events()
    told = {name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()}
    return told, {each.check_name: each.passed for each in result.get_asset_check_evaluations()}


def asked_to_run(location: dg.Definitions, instance: dg.DagsterInstance) -> int:
    repository = location.get_repository_def()
    resources = repository.get_top_level_resources()
    with dg.build_sensor_context(instance=instance, repository_def=repository, resources=resources) as context:
        return len(repository.get_sensor_def("open_erasures").evaluate_tick(context).run_requests or [])


def test_an_erasure_is_gone_on_with_until_its_certificate(location: dg.Definitions, scene: Scene, s3: Bucket) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert asked_to_run(location, instance) == 0, "none is open"
        with psycopg.connect(scene.clinic.database.url("core_api")) as tx:
            tx.execute("select set_config('app.org_id', '1', true)")
            tx.execute("select core.request_erasure(%s, 1, %s, 'letter 12')", [scene.erasure_id, RETAINED_ID])
        assert asked_to_run(location, instance) == 1
    told, checks = run(location)
    assert (told["certified"], told["waiting"], told["failed"]) == (0, 1, 0)
    [row] = told["progress"].records
    assert row.data["waiting_for"].startswith("1 sessions may still be on disks")
    assert 0 < row.data["steps_done"] < row.data["steps"] == len(STEPS)
    assert checks == {"no_erasure_fails": True, "erased_within_a_month": True}

    scene.clean_disk()
    assert scene.confirm() == (1, 0)
    told, checks = run(location)
    assert (told["certified"], told["waiting"], told["failed"]) == (1, 0, 0)
    certificate = told["certificates"][str(scene.erasure_id)]
    state = scene.store.state(scene.erasure_id)
    assert state is not None
    assert state.certificate is not None
    assert certificate == {name: value for name, value in state.certificate.items() if name != "requested_by"}
    assert {each["remaining"] for each in certificate["verified"]} == {0}
    listed = s3.client().list_object_versions(Bucket=s3.bucket)
    assert [each["Key"] for each in listed["Versions"]] == [f"{PREFIX}1/{scene.erasure_id}.json"]
    assert listed.get("DeleteMarkers", []) == []
    with dg.DagsterInstance.ephemeral() as instance:
        assert asked_to_run(location, instance) == 0
    assert run(location)[0]["certified"] == 0, "a certified one is not gone on with"


def test_one_that_fails_fails_the_check_and_is_not_certified(location: dg.Definitions, scene: Scene) -> None:
    scene.request()
    scene.clinic.execute(
        "create function public.no() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;"
        "create trigger no before delete on core.personal_references for each row execute function public.no()"
    )
    told, checks = run(location)
    assert (told["certified"], told["failed"]) == (0, 1)
    assert checks["no_erasure_fails"] is False


def test_one_that_takes_nearly_a_month_is_late() -> None:
    now = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)

    def outcome(age: dt.timedelta, certificate: dict[str, Any] | None = None) -> Outcome:
        return Outcome(erasure_id=uuid.uuid4(), requested_at=now - age, steps_done=3, certificate=certificate)

    slow = outcome(LATE + dt.timedelta(hours=1))
    assert late([slow, outcome(LATE), outcome(LATE * 2, {"sha256": "x"})], now) == [slow]
