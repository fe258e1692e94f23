"""What a data-protection officer asks for and a hostile tester tries, proved in numbers: forged tokens, other people's
sessions and tenants, and withdrawals under load.

``RESTARTIX_PROVE_WITHDRAWALS`` is how many patients withdraw; ``make prove`` has at least 200.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable

import falcon.testing
import httpx
import psycopg
import pytest

from infra.stack.throwaway import Database
from tests.core_api.clinics import Api, Clinic
from tests.core_api.conftest import admin, api, cipher, clinic, clock, foreign, make_api
from tests.core_api.conftest import pool as core_pool
from tests.core_api.test_tenancy import CASES, OPERATIONS, call_as, make_things, snapshot
from tests.ingest.node import Node, batch
from tests.privacy.forgery import forgeries
from tests.privacy.tenancy import fill, walk

from .load import portals

__all__ = ["admin", "api", "cipher", "clinic", "clock", "foreign", "make_api"]

_IS_FULL = "RESTARTIX_PROVE_KILLS" in os.environ
WITHDRAWALS = int(os.environ.get("RESTARTIX_PROVE_WITHDRAWALS", "200" if _IS_FULL else "8"))
WITHDRAWN_P99_MAX_MS = 100.0
_LOAD_PORTALS = 4
MakeNode = Callable[..., Node]
Proved = Callable[..., None]
pool = core_pool


def test_no_forged_token_is_served(make_node: MakeNode, proved: Proved) -> None:
    node = make_node().start()
    patient, other = node.patient("biometric", "analytics"), node.patient("biometric", "analytics")
    claims = node.claims(patient.principal_id, patient.session_id, 1)
    served: list[str] = []
    tried = 0

    def refused(name: str, answer: httpx.Response) -> None:
        nonlocal tried
        tried += 1
        if answer.status_code not in (401, 403):  # a 404, 422 or 500 would not say that the token was looked at
            served.append(f"{name}: {answer.status_code}")
        assert "Traceback" not in answer.text

    for name, token in forgeries(node.keys, claims, "core-api").items():
        if not token:
            continue  # no client sends such a header; the verifiers' own tests do
        forged = dataclasses.replace(patient, token=token)
        refused(f"{name}: pose", forged.post_pose(batch(1)))
        refused(f"{name}: media", forged.post_media([]))
        refused(f"{name}: end", forged.end())
    # A good token for another's session, or another organisation's.
    refused("other session's end", patient.end(session_id=other.session_id))
    event = {"event": "session_start", "session_id": str(other.session_id), "media_id": "m", "media_type": "video",
             "timestamp": "2026-03-02T08:00:10Z", "data": {"total_duration_seconds": 20}}  # fmt: skip
    refused("other session's event", patient.post_media(event))
    assert patient.post_pose(batch(1)).status_code == 204, "a good token is served"
    proved("attacks", tried=tried, refused=tried - len(served))
    assert served == []


def test_no_forged_identity_is_served(api: Api, clinic: Clinic, proved: Proved) -> None:
    claims = {"sub": str(clinic.specialist), "org": clinic.organisation_id, "role": "manager", "aud": "core-api",
              "exp": int(time.time()) + 3600}  # fmt: skip
    served = []
    forged = forgeries(api.identity, claims, "telemetry")
    for name, token in forged.items():
        answer = api.call("GET", "/v1/patients", token)
        if answer.status_code != 401:
            served.append(name)
    assert api.call("GET", "/v1/patients", api.manager(clinic)).status_code == 200
    proved("attacks", tried=len(forged), refused=len(forged) - len(served))
    assert served == []


def test_no_relation_shows_another_tenants_row(database: Database, proved: Proved) -> None:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("INSERT INTO core.organisations (id, name) VALUES (1, 'Clinic one'), (2, 'Clinic two')")
    fill(database)
    done = walk(database)
    proved("tenancy", relations_walked=done.relations, looks=done.looks, leaks=len(done.leaks))
    assert done.leaks == []


def test_no_endpoint_shows_or_changes_another_tenants_thing(
    api: Api, clinic: Clinic, foreign: Clinic, proved: Proved
) -> None:
    theirs = make_things(api, foreign)
    before = snapshot(api, foreign.organisation_id)
    secret = foreign.name
    leaks, walked = [], 0
    for case in CASES:
        for role in ("specialist", "manager", "patient"):
            answer: falcon.testing.Result = call_as(api, role, clinic, theirs, case)
            walked += 1
            names_theirs = "{" in case[1]
            if (names_theirs and answer.status_code < 400) or secret in answer.text:
                leaks.append(f"{role} {case}: {answer.status_code}")
    changed = snapshot(api, foreign.organisation_id) != before
    endpoints = len({path for _, path in OPERATIONS})
    proved("tenancy", endpoints_walked=endpoints, calls=walked, leaks=len(leaks) + changed)
    assert leaks == []
    assert not changed
    assert endpoints > 20


@pytest.mark.timeout(120 + WITHDRAWALS)
def test_a_withdrawal_is_felt_at_once_under_load(make_node: MakeNode, proved: Proved) -> None:
    """From the commit of the ledger's row to the first 403, while other patients' batches keep coming."""
    node = make_node(workers=2, RESTARTIX_BATCH_BURST="1000000").start()
    loading = [node.patient("biometric") for _ in range(_LOAD_PORTALS)]
    took_ms = []
    accepted_after = 0
    with portals(loading, _LOAD_PORTALS, pace_s=0.02) as running, node.client() as client:
        for number in range(WITHDRAWALS):
            patient = node.patient("biometric")
            headers = {**patient.headers, "Content-Type": "application/octet-stream"}
            assert client.post("/v1/pose/frames", content=batch(number), headers=headers).status_code == 204
            patient.consent("biometric", granted=False)
            committed_s = time.monotonic()
            answer = client.post("/v1/pose/frames", content=batch(number + 1), headers=headers)
            while answer.status_code == 204:
                accepted_after += 1
                assert time.monotonic() - committed_s < 10
                answer = client.post("/v1/pose/frames", content=batch(number + 1), headers=headers)
            took_ms.append((time.monotonic() - committed_s) * 1000)
            assert (answer.status_code, answer.json()["code"]) == (403, "consent_withdrawn")
        acknowledged = sum(len(portal.acknowledged) for portal in running)
    cuts = statistics.quantiles(took_ms, n=100, method="inclusive")
    figures = {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1), "worst": round(max(took_ms), 1)}
    proved("withdrawal_to_403_ms", withdrawals=WITHDRAWALS, acknowledged_beside=acknowledged, **figures)
    print(
        f"{WITHDRAWALS} withdrawals: {figures}, {acknowledged} batches beside, {accepted_after} accepted after a commit"
    )
    assert acknowledged > WITHDRAWALS
    assert figures["p99"] <= 10 * WITHDRAWN_P99_MAX_MS, "the target is 100 ms; a busy machine is given ten times that"
