"""Every route that changes something, once, well: each leaves its audit row, with who it was and which request; and
reading leaves none. A route that comes later is walked by itself, or fails here for want of a case.
"""

from __future__ import annotations

import uuid
from dataclasses import replace

import falcon.testing
import pytest

from infra.stack.throwaway import Database
from tests.core_api.clinics import TRANSITIONS, Api, Clinic
from tests.core_api.test_personal_reference import consenting, squats
from tests.core_api.test_sessions import open_session
from tests.core_api.test_tenancy import CASES, NOBODYS, OPERATIONS, Things, filled, make_things

# What ends something comes after what needs it; a session is opened where none is in progress.
LATE = ("/reference", "/complete", "/sessions", "/skip", "/cancel", "/erasure")
MINTS = ("get", "/v1/sessions/{session_id}/replay")  # the one read that is audited: it gives away a URL
NEEDS_MARTS = "/v1/organisations/"


def _rank(case: tuple[str, str]) -> tuple[int, str, int]:
    """PUT before DELETE of the same thing; what comes late last."""
    method, path = case
    late = next((number for number, end in enumerate(LATE, start=1) if path.endswith(end)), 0)
    return late, path, ("post", "put", "patch", "delete").index(method)


def _walked(api: Api, clinic: Clinic, things: Things, case: tuple[str, str]) -> falcon.testing.Result:
    method, path = case
    operation = OPERATIONS[case]
    token = {"patient": api.patient, "specialist": api.specialist, "manager": api.manager}[operation.roles[-1]](clinic)
    url = path.format(**things.ids)
    headers = {}
    if operation.is_conditional and url.rpartition("/")[2] not in TRANSITIONS:
        headers["If-Match"] = api.tag(url, token)
    return api.call(method.upper(), url, token, json=filled(CASES[case], things.ids), headers=headers)


@pytest.fixture
def things(api: Api, clinic: Clinic, database: Database) -> Things:
    """A clinic with one of everything; the exercise session is finalised, and fit to be a reference."""
    scene = consenting(api, clinic, database)
    made = make_things(api, clinic)
    scene.finalise(made.session_id, squats())
    return made


def test_every_change_is_audited_and_no_read_is(api: Api, clinic: Clinic, things: Things) -> None:
    mutations = sorted((case for case in CASES if case[0] != "get"), key=_rank)
    assert len(mutations) > 25
    for case in mutations:
        if case[1].endswith("/skip"):  # the one before was completed
            things = replace(things, sitting_id=open_session(api, clinic)["id"])
        before = {row["id"] for row in api.rows("select id from core.audit_log")}
        answer = _walked(api, clinic, things, case)
        assert answer.status_code in (200, 201), (case, answer.text)
        rows = [row for row in api.rows("select * from core.audit_log order by id") if row["id"] not in before]
        assert rows, f"{case} left no audit row"
        for row in rows:
            assert row["organisation_id"] == clinic.organisation_id, case
            assert row["actor_role"] == OPERATIONS[case].roles[-1], case
            assert isinstance(row["actor_principal_id"], uuid.UUID), case
            assert row["details"]["request_id"] == answer.headers["x-request-id"], case
    written = api.rows("select id from core.audit_log")
    for case in CASES:
        if case[0] == "get" and case != MINTS and not case[1].startswith(NEEDS_MARTS):
            answer = _walked(api, clinic, things, case)
            assert answer.status_code == 200, (case, answer.text)
    assert api.rows("select id from core.audit_log") == written
    _walked(api, clinic, things, MINTS)
    assert len(api.rows("select id from core.audit_log")) == len(written) + 1


def test_what_is_not_walked_belongs_to_no_tenant() -> None:
    assert {path for _, path in OPERATIONS} - {path for _, path in CASES} == NOBODYS
    assert all(method == "get" for method, path in OPERATIONS if path in NOBODYS)
