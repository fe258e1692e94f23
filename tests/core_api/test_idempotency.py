"""A POST counts once for its key: replayed, refused, concurrent, expired, and never across callers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import falcon.testing
import psycopg
import pytest

from core_api import changes
from core_api.database import Tx, run
from infra.stack.throwaway import Database
from pipelines.adapters.postgres.retention_store import PostgresRetentionStore
from pipelines.retention import policy
from tests.core_api.clinics import Api, Clinic

PATH = "/v1/exercises"
BODY = {"name": "Bridge", "movement_profile": "deep_squat"}


def post(api: Api, token: str, key: str | None, body: object = BODY, path: str = PATH) -> falcon.testing.Result:
    return api.call("POST", path, token, json=body, headers={"Idempotency-Key": key})


def test_the_same_request_again_changes_nothing_and_is_answered_the_same(api: Api, clinic: Clinic) -> None:
    token = api.specialist(clinic)
    first, again = post(api, token, "a"), post(api, token, "a")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert first.headers["etag"] == again.headers["etag"]
    assert first.headers["location"] == again.headers["location"] == f"/v1/exercises/{first.json['id']}"
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert len(api.rows("select id from core.exercises where name = 'Bridge'")) == 1
    assert api.audited(clinic.organisation_id) == [("exercise.create", str(first.json["id"]))]


def test_a_post_without_a_usable_key_is_refused(api: Api, clinic: Clinic) -> None:
    for key in (None, "", "x" * 256, "\x80\x81"):
        refused = post(api, api.specialist(clinic), key)
        assert (refused.status_code, refused.json["code"]) == (400, "idempotency_key_missing"), key
    assert api.rows("select id from core.exercises where name = 'Bridge'") == []


def test_a_key_stands_for_one_request(api: Api, clinic: Clinic) -> None:
    token = api.specialist(clinic)
    assert post(api, token, "a").status_code == 201
    for body, path in (({**BODY, "name": "Plank"}, PATH), (BODY, "/v1/treatment-plans")):
        exercise = {"name": "P", "exercises": [{"exercise_id": 1}]} if path != PATH else body
        refused = post(api, token, "a", exercise, path)
        assert (refused.status_code, refused.json["code"]) == (422, "idempotency_key_reused"), path


def test_a_key_is_its_callers_own(api: Api, clinic: Clinic, foreign: Clinic) -> None:
    made = [
        post(api, api.specialist(clinic), "a", {**BODY, "name": "One"}),
        post(api, api.manager(clinic), "a", {**BODY, "name": "Two"}),
        post(api, api.token(clinic.specialist, foreign.organisation_id, "specialist"), "a", {**BODY, "name": "Three"}),
    ]
    assert [each.status_code for each in made] == [201, 201, 201]
    assert len({each.json["id"] for each in made}) == 3


def test_a_refused_request_leaves_its_key_free(api: Api, clinic: Clinic) -> None:
    token = api.specialist(clinic)
    taken = post(api, token, "a", {**BODY, "name": "Quad Set"})
    assert (taken.status_code, taken.json["code"]) == (409, "already_exists")
    assert api.rows("select 1 from core.idempotency_keys") == []
    assert post(api, token, "a").status_code == 201


def test_of_two_at_once_one_executes_and_the_other_is_told_to_come_back(
    api: Api, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = api.specialist(clinic)
    is_inside, may_go_on = threading.Event(), threading.Event()

    def slowly(tx: Tx, name: str, values: dict[str, Any]) -> None:
        is_inside.set()
        assert may_go_on.wait(20)
        run(tx, name, values)

    monkeypatch.setattr(changes, "run", slowly)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(post, api, token, "a")
        try:
            assert is_inside.wait(20)
            second = post(api, token, "a")
        finally:
            may_go_on.set()
        assert (second.status_code, second.json["code"]) == (409, "idempotency_key_in_use")
        assert second.headers["retry-after"] == "1"
        assert first.result().status_code == 201
    assert post(api, token, "a").content == first.result().content
    assert len(api.rows("select id from core.exercises where name = 'Bridge'")) == 1


def test_many_at_once_make_one(api: Api, clinic: Clinic) -> None:
    token = api.specialist(clinic)

    def until_answered(_: int) -> bytes:
        while True:
            result = post(api, token, "a")
            if result.status_code == 201:
                return result.content
            assert result.json["code"] == "idempotency_key_in_use", result.text

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(until_answered, range(12)))) == 1
    assert len(api.rows("select id from core.exercises where name = 'Bridge'")) == 1


def test_the_effect_and_its_key_stand_or_fall_together(
    api: Api, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the answer cannot be remembered, nothing has happened."""
    with monkeypatch.context() as broken:
        broken.setattr(changes, "run", lambda *_: (_ for _ in ()).throw(RuntimeError("no more")))
        assert post(api, api.specialist(clinic), "a").status_code == 500
    assert api.rows("select 1 from core.exercises where name = 'Bridge'") == []
    assert api.audited(clinic.organisation_id) == []
    assert post(api, api.specialist(clinic), "a").status_code == 201


def test_an_answer_rests_sealed_and_its_key_is_not_kept(api: Api, clinic: Clinic) -> None:
    sitting = api.call("POST", f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions", api.patient(clinic)).json["id"]
    body = {"exercise_id": clinic.ids.exercises["Quad Set"]}
    started = post(api, api.patient(clinic), "my-key", body, f"/v1/treatment-sessions/{sitting}/exercises")
    assert started.status_code == 201
    rows = api.rows(
        "select *, idempotency_keys::text as whole from core.idempotency_keys order by created_at, key_hash"
    )
    whole = " ".join(row["whole"] for row in rows)
    for secret in (started.json["token"], "my-key", started.json["token"].encode().hex(), b"my-key".hex()):
        assert secret not in whole


def test_a_key_is_forgotten_when_the_policy_says(api: Api, clinic: Clinic) -> None:
    assert policy.load().row_rule("idempotency_keys").kept_days == changes.KEPT.days
    token = api.specialist(clinic)
    first = post(api, token, "a")
    api.clock.forward(days=2, seconds=1)
    # As if the nightly deletion had not come by yet.
    again = post(api, token, "a", {**BODY, "name": "Plank"})
    assert again.status_code == 201
    assert again.json["id"] != first.json["id"]
    assert post(api, token, "a", {**BODY, "name": "Plank"}).content == again.content


def test_the_nightly_retention_deletes_old_keys(api: Api, clinic: Clinic, database: Database) -> None:
    """Requests are dated by the service's clock, which in these tests is months ago; one is dated as new."""
    post(api, api.specialist(clinic), "old")
    post(api, api.specialist(clinic), "new", {**BODY, "name": "Plank"})
    api.rows(
        "update core.idempotency_keys set created_at = clock_timestamp() - interval '47 hours' where key_hash ="
        " sha256('new') returning 1"
    )
    with psycopg.connect(database.url("sweeper"), autocommit=True) as connection:
        store = PostgresRetentionStore(connection)
        oldest = store.oldest()["idempotency_keys"]
        assert oldest is not None
        assert oldest == api.clock.now
        assert store.expire_rows("idempotency_keys", policy.load().row_rule("idempotency_keys").kept_days, 10) == 1
    [left] = api.rows("select key_hash = sha256('new') as is_new from core.idempotency_keys")
    assert left == {"is_new": True}
