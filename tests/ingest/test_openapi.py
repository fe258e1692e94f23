"""The served OpenAPI document is true: whatever is sent, no answer is a 500 or is not in the document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ingest_service.http import errors
from ingest_service.problems import REFUSALS

from .node import Node, Patient, batch, heartbeat

GOLDEN = Path(__file__).parents[1] / "pose" / "golden" / "wire"
SERVICE = Path(__file__).parents[2] / "ingest_service"
OPERATIONS = (
    *("POST /v1/pose/frames", "POST /v1/media/events", "POST /v1/sessions/{session_id}/end"),
    *("GET /healthz", "GET /readyz", "GET /metrics", "GET /openapi.json"),
)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

_bodies = st.one_of(
    st.binary(max_size=400),
    st.sampled_from(sorted(path.read_bytes() for path in GOLDEN.glob("*.bin"))),
    st.integers(0, 50).map(batch),
    st.tuples(st.integers(0, 5).map(batch), st.integers(0, 200)).map(lambda pair: pair[0][: pair[1]]),
)
schemathesis.openapi.media_type("application/octet-stream", _bodies)


def _described(node: Node) -> dict[str, Any]:
    document: dict[str, Any] = node.http.get("/openapi.json").json()
    return document


@pytest.fixture(scope="module")
def schema(node: Node) -> Iterator[Any]:
    yield schemathesis.openapi.from_dict(_described(node))


def _adopt(body: object, session_id: str) -> None:
    """Put the token's session into the events, or nearly all of them would be refused for naming another."""
    for event in body if isinstance(body, list) else [body]:
        if isinstance(event, dict) and isinstance(event.get("session_id"), str):
            event["session_id"] = session_id


def test_the_document_describes_the_whole_surface(node: Node) -> None:
    document = _described(node)
    assert document["openapi"].startswith("3.1")
    described = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert described == set(OPERATIONS)
    events = document["components"]["schemas"]
    assert events["Heartbeat"]["properties"]["event"] == {"enum": ["heartbeat"]}


@pytest.mark.parametrize(
    ("operation", "mode"),
    # A request without parameters cannot be wrong.
    [
        (operation, mode)
        for operation in OPERATIONS
        for mode in GenerationMode
        if "POST" in operation or mode == "positive"
    ],
)
def test_no_answer_is_undocumented(node: Node, schema: Any, operation: str, mode: GenerationMode) -> None:  # noqa: ANN401
    method, path = operation.split(" ")
    patient = node.patient("biometric", "analytics")
    strategy = schema[path][method].as_strategy(generation_mode=mode)

    @seed(20260302)  # the same requests at every run: what is found once stays found
    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy, st.sampled_from(("own", "own", "own", "none", "wrong")))
    def send(case: Any, token: str) -> None:  # noqa: ANN401
        headers = {} if token == "none" else {"Authorization": f"Bearer {patient.token if token == 'own' else 'x.y.z'}"}
        if "session_id" in (case.path_parameters or {}) and token == "own":
            case.path_parameters["session_id"] = str(patient.session_id)
        if token == "own":
            _adopt(case.body, str(patient.session_id))
        case.call_and_validate(base_url=node.url, headers=headers, checks=CHECKS)

    send()


def test_what_is_documented_as_good_is_taken(node: Node, schema: Any) -> None:  # noqa: ANN401
    patient: Patient = node.patient("biometric", "analytics")
    for path, answer in {
        "/v1/pose/frames": patient.post_pose(batch(1), **{"Batch-Seq": "1"}),
        "/v1/media/events": patient.post_media([heartbeat(patient.session_id)]),
        "/v1/sessions/{session_id}/end": patient.end({"reason": "abandoned"}),
    }.items():
        assert answer.is_success
        schema[path]["POST"].validate_response(schemathesis.Response.from_httpx(answer, verify=False))


def _codes_in(*paths: Path) -> set[str]:
    refusing = (
        r'(?:ProblemError|WireUndecodable|WireOutOfBounds)\(\s*(?:\d+, )?"([a-z_]+)"|self\._deny\([^"]+"([a-z_]+)"'
    )
    return {first or second for path in paths for first, second in re.findall(refusing, path.read_text())}


def test_every_refusal_in_the_code_is_described_and_documented() -> None:
    wire = SERVICE.parent / "pipelines" / "pose" / "wire.py"
    found = _codes_in(*SERVICE.glob("*.py"), wire) - {"internal"}
    from_falcon = {"bad_request", "not_found", "method_not_allowed"}
    from_the_worker = set(errors.CODES.values()) - {"internal"}
    assert found | from_falcon | from_the_worker == set(REFUSALS)
    documented = (SERVICE.parent / "docs" / "ingest.md").read_text()
    assert [code for code in REFUSALS if f"`{code}`" not in documented] == []


def test_a_refusal_has_one_status(node: Node) -> None:
    for http_status, code in errors.CODES.items():
        assert code == "internal" or REFUSALS[code].status == http_status
    for path in SERVICE.glob("*.py"):
        for status, code in re.findall(r'ProblemError\(\s*(\d+), "([a-z_]+)"', path.read_text()):
            assert code == "internal" or REFUSALS[code].status == int(status), (path.name, code)
    patient = node.patient()
    answer = patient.post_pose(batch())
    assert answer.status_code == REFUSALS[answer.json()["code"]].status
    assert answer.json()["type"] == "about:blank"
