"""What holds for every route, read off the declarations the service runs by: no route can forget it."""

from __future__ import annotations

import dataclasses
import re
import typing
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from core_api.app import ROUTES
from core_api.surface import Operation, PageQuery
from tests.core_api.clinics import Api, Clinic
from tests.core_api.test_tenancy import CASES, filled

OPERATIONS: dict[tuple[str, str], Operation] = {
    (method, route.path): operation for route in ROUTES for method, operation in route.operations.items()
}
# POSTs that change something that exists; the others append, and need no ETag.
TRANSITIONS = ("/cancel", "/complete", "/skip", "/versions")
NAMES = ("exercise_id", "treatment_plan_id", "patient_id", "form_template_id")
KEYLESS = "idempotency_key_missing"
# Shows a session that has only begun, or names one without showing it.
NAMES_ONLY = {"StartedExercise", "UsedReference"}


def _shapes(shape: Any) -> Iterator[type]:  # noqa: ANN401 - whatever an operation answers
    """Every struct and dataclass an answer is made of."""
    for inner in typing.get_args(shape):
        yield from _shapes(inner)
    shape = typing.get_origin(shape) or shape
    if not isinstance(shape, type) or not (issubclass(shape, msgspec.Struct) or dataclasses.is_dataclass(shape)):
        return
    yield shape
    for name, hint in typing.get_type_hints(shape).items():
        if not name.startswith("_"):
            yield from _shapes(hint)


def _fields(shape: type) -> set[str]:
    return {name for name in typing.get_type_hints(shape) if not name.startswith("_")}


def test_every_post_has_an_idempotency_key() -> None:
    posts = [operation for (method, _), operation in OPERATIONS.items() if method == "post"]
    assert len(posts) > 15
    assert all(operation.has_key for operation in posts)


def test_every_change_of_what_exists_is_conditional_and_what_it_is_read_from_has_an_etag() -> None:
    changed = 0
    for (method, path), operation in OPERATIONS.items():
        changes = method in ("patch", "put", "delete") or (method == "post" and path.endswith(TRANSITIONS))
        assert operation.is_conditional == changes, (method, path)
        if changes:
            read = path.rpartition("/")[0] if method == "post" else path
            assert OPERATIONS["get", read].is_tagged, read
            assert operation.is_tagged, (method, path)
            changed += 1
    assert changed > 12


def test_every_list_is_taken_by_pages() -> None:
    """An answer with ``items`` is a page, but for the few a patient has at most one of for each exercise or purpose."""
    bounded = {"ReferenceSessions", "ConsentState"}
    pages = 0
    for (method, path), operation in OPERATIONS.items():
        shape = operation.answers.get(200)
        origin = typing.get_origin(shape) or shape
        if method != "get" or not isinstance(origin, type) or origin.__name__ in bounded:
            continue
        assert origin is not list, path
        if hasattr(origin, "__annotations__") and "items" in _fields(origin):
            assert operation.query is not None and issubclass(operation.query, PageQuery), path
            assert "next_cursor" in _fields(origin), path
            pages += 1
    assert pages > 12


def test_wherever_a_session_is_shown_so_are_incomplete_and_its_revision() -> None:
    shown = {
        shape
        for operation in OPERATIONS.values()
        for answered in operation.answers.values()
        for shape in _shapes(answered)
        if {"session_id", "treatment_session_id", "session_number"} & _fields(shape)
        and shape.__name__ not in NAMES_ONLY
    }
    assert len(shown) >= 8
    assert {"TreatmentSession", "ListedTreatmentSession"} <= {shape.__name__ for shape in shown}
    for shape in shown:
        assert {"incomplete", "revision"} <= _fields(shape), shape.__name__


def test_what_comes_from_marts_says_of_when_and_what_is_live_does_not() -> None:
    marts = 0
    for (method, path), operation in OPERATIONS.items():
        if method != "get" or operation.answers.get(200) is None:
            continue
        from_marts = path.startswith(("/v1/organisations/", "/v1/console/"))
        shapes = list(_shapes(operation.answers[200]))
        assert any("as_of" in _fields(shape) for shape in shapes) == from_marts, path
        assert ("not_built_yet" in operation.refusals) == from_marts, path
        marts += from_marts
    assert marts == 4


def test_no_post_is_taken_without_a_key_and_no_change_without_an_etag(api: Api, clinic: Clinic) -> None:
    """Asked of every route as it runs: both are demanded before anything is looked up, so the ids need not exist."""
    rows = "select (select count(*) from core.audit_log) + (select count(*) from core.idempotency_keys) as rows"
    before = api.rows(rows)
    asked = 0
    for (method, path), operation in OPERATIONS.items():
        if method == "get":
            continue
        token = {"specialist": api.specialist, "manager": api.manager}[operation.roles[-1]](clinic)
        url = re.sub(r"{\w+}", "1", path).replace("/sessions/1/", f"/sessions/{uuid.UUID(int=1)}/")
        body = filled(CASES[method, path], dict.fromkeys(NAMES, 1))
        for header, status, code in (("If-Match", 428, "if_match_missing"), ("Idempotency-Key", 400, KEYLESS)):
            demanded = operation.is_conditional if header == "If-Match" else method == "post"
            if demanded:
                given = {"If-Match": '"x"', "Idempotency-Key": "k", header: None}
                refused = api.call(method.upper(), url, token, json=body, headers=given)
                assert (refused.status_code, refused.json["code"]) == (status, code), (method, path)
                asked += 1
    assert asked > 30
    assert api.rows(rows) == before
