"""What Prometheus reads: requests by route and status, their duration, refusals by code, the pool; and never an id."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from tests.core_api.clinics import PORTAL, Api, Clinic


def samples(api: Api) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    result = api.call("GET", "/metrics")
    assert result.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(result.text)
        for sample in family.samples
    }


def counted(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0.0)


def test_requests_are_counted_by_route_and_status(api: Api, clinic: Clinic) -> None:
    route = "/v1/patients/{patient_id}"
    token = api.patient(clinic)
    for _ in range(3):
        api.call("GET", f"/v1/patients/{clinic.patient_id}", token)
    api.call("GET", "/v1/patients/999999", token)
    api.call("GET", "/v1/nothing/here", token)
    found = samples(api)
    assert counted(found, "core_api_requests_total", route=route, method="GET", status="200") == 3
    assert counted(found, "core_api_requests_total", route=route, method="GET", status="404") == 1
    assert counted(found, "core_api_requests_total", route="(none)", method="GET", status="404") == 1
    assert counted(found, "core_api_refusals_total", code="patient_not_found") == 1
    assert counted(found, "core_api_request_seconds_count", route=route, method="GET") == 4
    assert counted(found, "core_api_request_seconds_bucket", route=route, method="GET", le="+Inf") == 4
    assert counted(found, "core_api_pool_size") >= 1
    assert counted(found, "core_api_pool_available") >= 1
    assert counted(found, "core_api_requests_waiting") == 0


def test_no_label_says_who_or_whose(api: Api, clinic: Clinic) -> None:
    """Labels are templates and codes: ids would be personal, and without bound."""
    api.call("GET", f"/v1/patient-treatment-plans/{clinic.plan_id}/progress", api.patient(clinic))
    for _, labels in samples(api):
        for name, value in labels:
            assert name in {"route", "method", "status", "code", "le"}
            assert name in {"le", "status"} or not re.search(r"\d{2,}|/\d", value), value


def test_a_replayed_answer_is_counted(api: Api, clinic: Clinic) -> None:
    body, token = {"name": "Bridge", "movement_profile": "deep_squat"}, api.specialist(clinic)
    for _ in range(3):
        api.call("POST", "/v1/exercises", token, json=body, headers={"Idempotency-Key": "a"})
    assert counted(samples(api), "core_api_replayed_answers_total") == 2


def test_every_answer_has_the_security_headers(api: Api) -> None:
    for path in ("/healthz", "/v1/patients", "/nowhere"):
        headers = api.call("GET", path, headers={"Origin": PORTAL}).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["strict-transport-security"].startswith("max-age=63072000")
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert {"ETag", "Location", "Link"} <= set(headers["access-control-expose-headers"].split(", "))
    preflight = {"Origin": PORTAL, "Access-Control-Request-Method": "PATCH"}
    allowed = api.call("OPTIONS", "/v1/patients/1", headers=preflight).headers
    assert {"Idempotency-Key", "If-Match"} <= set(allowed["access-control-allow-headers"].split(", "))
    assert "PATCH" in allowed["access-control-allow-methods"]
