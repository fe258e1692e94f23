"""The surface itself: who is let in, what a bad request is told, and that nothing a caller sends is a 500."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core_api.identity import TokenRules
from core_api.jwks import KeySet, KeysUnavailable, parse
from core_api.settings import Settings
from infra.stack.keys import SigningKeys
from pipelines.environment import SettingInvalid
from tests.core_api.clinics import PORTAL, Api, ApiFactory, Clinic

PLAN_READS = ("progress", "analytics")


def code(result: Any) -> tuple[int, str]:  # noqa: ANN401 - falcon.testing.Result
    assert result.headers["content-type"] == "application/problem+json"
    assert result.json["status"] == result.status_code
    assert result.json["title"]
    return result.status_code, result.json["code"]


def test_liveness_readiness_and_keys_need_no_token(api: Api, session_keys: SigningKeys) -> None:
    assert api.call("GET", "/healthz").json == {"status": "alive"}
    assert api.call("GET", "/readyz").json == {"status": "ready"}
    assert api.call("GET", "/.well-known/jwks.json").json == session_keys.jwks()


def test_without_postgres_it_is_alive_but_not_ready(api: Api, clinic: Clinic) -> None:
    api.deps.database.close()
    assert api.call("GET", "/healthz").status_code == 200
    assert code(api.call("GET", "/readyz")) == (503, "not_ready")
    path = f"/v1/patient-treatment-plans/{clinic.plan_id}/progress"
    refused = api.call("GET", path, api.patient(clinic))
    assert code(refused) == (503, "database_unavailable")
    assert refused.headers["retry-after"] == "2"


def forgeries(api: Api, clinic: Clinic, session_keys: SigningKeys) -> dict[str, str]:
    good: dict[str, Any] = {
        "sub": str(clinic.patient),
        "org": clinic.organisation_id,
        "role": "patient",
        "aud": "core-api",
        "exp": int((datetime.now(UTC) + timedelta(hours=1)).timestamp()),
    }
    public_pem = api.identity.private_key.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )
    kid = {"kid": api.identity.key_id}
    return {
        "not a token": "abc",
        "alg none": jwt.encode(good, "", algorithm="none", headers=kid),
        "HS256 with the public key": jwt.encode(good, public_pem, algorithm="HS256", headers=kid),
        "another audience": api.identity.mint({**good, "aud": "telemetry"}),
        "a key of somebody else": session_keys.mint(good, headers=kid),
        "an unknown kid": api.identity.mint(good, headers={"kid": "unheard-of"}),
        "no kid": jwt.encode(good, api.identity.private_key, algorithm="EdDSA"),
        "no expiry": api.identity.mint({name: value for name, value in good.items() if name != "exp"}),
        "not valid yet": api.identity.mint({**good, "nbf": good["exp"] - 60}),
        "sub is no principal": api.identity.mint({**good, "sub": "jane"}),
        "org is text": api.identity.mint({**good, "org": "1"}),
        "org is true": api.identity.mint({**good, "org": True}),
        "org is zero": api.identity.mint({**good, "org": 0}),
        "org is beyond bigint": api.identity.mint({**good, "org": 2**63}),
        "an unknown role": api.identity.mint({**good, "role": "owner"}),
        "role is a list": api.identity.mint({**good, "role": ["patient"]}),
    }


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
def test_a_forged_token_opens_nothing(api: Api, clinic: Clinic, session_keys: SigningKeys) -> None:
    path = f"/v1/patient-treatment-plans/{clinic.plan_id}/progress"
    for name, token in forgeries(api, clinic, session_keys).items():
        refused = api.call("GET", path, token)
        assert code(refused) == (401, "token_invalid"), name
        assert refused.headers["www-authenticate"] == "Bearer"
    expired = api.token(clinic.patient, clinic.organisation_id, "patient", exp=datetime.now(UTC) - timedelta(minutes=1))
    assert code(api.call("GET", path, expired)) == (401, "token_expired")
    assert code(api.call("GET", path)) == (401, "token_missing")
    assert code(api.call("GET", path, headers={"Authorization": "Basic abc"})) == (401, "token_missing")


def test_a_demanded_issuer_is_demanded(api: Api, clinic: Clinic) -> None:
    api.deps.verifier._rules = TokenRules(issuer="https://idp.example")
    path = f"/v1/patient-treatment-plans/{clinic.plan_id}/progress"
    assert code(api.call("GET", path, api.patient(clinic))) == (401, "token_invalid")
    token = api.token(clinic.patient, clinic.organisation_id, "patient", iss="https://idp.example")
    assert api.call("GET", path, token).status_code == 200


def test_each_role_has_its_own_routes(api: Api, clinic: Clinic) -> None:
    plan = f"/v1/patient-treatment-plans/{clinic.plan_id}"
    nobody = f"/v1/sessions/{uuid.uuid4()}"
    organisation = f"/v1/organisations/{clinic.organisation_id}/dashboard"
    refused = {
        "patient": [("GET", f"{plan}/analytics"), ("GET", f"{nobody}/replay"), ("GET", organisation)],
        "specialist": [("GET", organisation)],
        "manager": [("GET", f"{plan}/progress"), ("POST", f"{plan}/sessions"), ("GET", nobody)],
    }
    for role, calls in refused.items():
        token = api.token(clinic.patient, clinic.organisation_id, role)
        for method, path in calls:
            assert code(api.call(method, path, token)) == (403, "role_not_allowed"), (role, path)


BAD_BODIES: list[tuple[bytes, str, tuple[int, str]]] = [
    (b"{", "application/json", (400, "malformed_json")),
    (b"{}x", "application/json", (400, "malformed_json")),
    (b'{"started_at": "\xed\xa0\x80"}', "application/json", (422, "invalid_body")),
    (b"[" * 60_000, "application/json", (422, "invalid_body")),
    (b"[]", "application/json", (422, "invalid_body")),
    (b'{"pain_level_before": 11}', "application/json", (422, "invalid_body")),
    (b'{"pain_level_before": -1}', "application/json", (422, "invalid_body")),
    (b'{"pain_level_before": true}', "application/json", (422, "invalid_body")),
    (b'{"pain_level_before": 1e999}', "application/json", (422, "invalid_body")),
    (b'{"pain_level_before": "5"}', "application/json", (422, "invalid_body")),
    (b'{"pain_level_befor": 5}', "application/json", (422, "invalid_body")),
    (b'{"started_at": "yesterday"}', "application/json", (422, "invalid_body")),
    (b"{}", "text/plain", (415, "unsupported_media_type")),
    (b" " * 70_000, "application/json", (413, "body_too_large")),
]


def test_a_bad_body_is_told_what_is_wrong(api: Api, clinic: Clinic) -> None:
    path = f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions"
    for body, content_type, expected in BAD_BODIES:
        result = api.call("POST", path, api.patient(clinic), body=body, headers={"Content-Type": content_type})
        assert code(result) == expected, body[:60]
    assert api.rows("select id from core.patient_session_completions") == []


def test_answers_nested_too_deep_or_not_text_are_refused(api: Api, clinic: Clinic) -> None:
    for inner in (b"[" * 50_000, b'"\xed\xa0\x80"}}', b'"\\ud800"}}'):
        body = b'{"form_template_id": 1, "responses": {"a": ' + inner
        result = api.call("POST", "/v1/treatment-sessions/1/forms", api.patient(clinic), body=body, headers=AS_JSON)
        assert code(result) == (400, "malformed_json"), inner[:20]


def test_an_invalid_field_is_named(api: Api, clinic: Clinic) -> None:
    sitting = api.call("POST", f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions", api.patient(clinic)).json["id"]
    body = {"exercises": [{"exercise_id": 1, "actual_reps": 5}, {"exercise_id": 2, "actual_reps": "many"}]}
    result = api.call("POST", f"/v1/treatment-sessions/{sitting}/complete", api.patient(clinic), json=body)
    assert code(result) == (422, "invalid_body")
    assert result.json["errors"] == [
        {"field": "exercises[1].actual_reps", "message": "Expected `int | null`, got `str`"}
    ]
    for contradiction in (
        [{"exercise_id": 1, "skipped": True, "actual_reps": 3}],
        [{"exercise_id": 1}, {"exercise_id": 1}],
    ):
        result = api.call(
            "POST", f"/v1/treatment-sessions/{sitting}/complete", api.patient(clinic), json={"exercises": contradiction}
        )
        assert code(result) == (422, "invalid_body")


IDS = ("0", "-1", "1.5", "9223372036854775807", "9223372036854775808", "9" * 40, "abc", "%00", "١", "1 ", "null")
UUIDS = ("abc", "0" * 32, "{" + str(uuid.uuid4()) + "}", str(uuid.uuid4()), "%00", "g" * 36)


def test_an_id_that_cannot_be_one_does_not_exist(api: Api, clinic: Clinic) -> None:
    token = api.specialist(clinic)
    for each in IDS:
        for method, path in (
            ("POST", f"/v1/patient-treatment-plans/{each}/sessions"),
            ("GET", f"/v1/patient-treatment-plans/{each}/progress"),
            ("GET", f"/v1/patient-treatment-plans/{each}/analytics"),
            ("POST", f"/v1/treatment-sessions/{each}/complete"),
            ("POST", f"/v1/treatment-sessions/{each}/skip"),
            ("GET", f"/v1/patients/{each}/consents"),
        ):
            assert code(api.call(method, path, token))[0] == 404, path
    for each in UUIDS:
        for path in (f"/v1/sessions/{each}", f"/v1/sessions/{each}/replay"):
            assert code(api.call("GET", path, token)) == (404, "session_not_found"), path


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "pain_level_before",
        "pain_level_after",
        "perceived_difficulty",
        "started_at",
        "completed_at",
        "exercises",
        "exercise_id",
        "purpose",
        "granted",
        "form_id",
        "form_template_id",
        "responses",
    ]
)
VALUES = JSON | st.integers(-1, 11) | st.sampled_from(["biometric", "analytics", "0001-01-01T00:00:00+14:00"])
ROUTES = ("complete", "skip", "exercises", "forms", "sessions", "consents")


def test_nothing_a_caller_sends_is_a_500(api: Api, clinic: Clinic) -> None:
    sitting = api.call("POST", f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions", api.patient(clinic)).json["id"]
    paths = {
        "sessions": f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions",
        "consents": f"/v1/patients/{clinic.patient_id}/consents",
    }

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(ROUTES), st.dictionaries(FIELDS, VALUES, max_size=4))
    def attack(route: str, body: dict[str, Any]) -> None:
        path = paths.get(route, f"/v1/treatment-sessions/{sitting}/{route}")
        result = api.call("POST", path, api.patient(clinic), body=json.dumps(body), headers=AS_JSON)
        assert result.status_code < 500, (path, body, result.text)

    attack()


AS_JSON = {"Content-Type": "application/json"}


def test_null_characters_in_answers_are_stored_sealed(api: Api, clinic: Clinic) -> None:
    sitting = api.call("POST", f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions", api.patient(clinic)).json["id"]
    body = {"form_template_id": clinic.ids.form_templates["After session"], "responses": {"mood": "a\x00b"}}
    result = api.call("POST", f"/v1/treatment-sessions/{sitting}/forms", api.patient(clinic), json=body)
    assert result.status_code == 201


def test_unknown_routes_and_methods_are_problems_too(api: Api, clinic: Clinic) -> None:
    assert code(api.call("GET", "/v1/nothing", api.patient(clinic))) == (404, "not_found")
    path = f"/v1/patient-treatment-plans/{clinic.plan_id}/progress"
    assert code(api.call("DELETE", path, api.patient(clinic))) == (405, "method_not_allowed")


def test_the_portal_may_call_from_its_origin_and_read_errors(api: Api) -> None:
    preflight = {"Origin": PORTAL, "Access-Control-Request-Method": "POST"}
    allowed = api.call("OPTIONS", "/v1/patient-treatment-plans/1/sessions", headers=preflight)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == PORTAL
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert "Authorization" in allowed.headers["access-control-allow-headers"]
    assert allowed.headers["access-control-max-age"] == "86400"
    refused = api.call("POST", "/v1/patient-treatment-plans/1/sessions", headers={"Origin": PORTAL})
    assert code(refused) == (401, "token_missing")
    assert refused.headers["access-control-allow-origin"] == PORTAL
    stranger = api.call("OPTIONS", "/healthz", headers={**preflight, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in stranger.headers
    assert stranger.headers["vary"] == "Origin"


def test_a_request_id_is_given_back_and_audited(api: Api, clinic: Clinic) -> None:
    path = f"/v1/patient-treatment-plans/{clinic.plan_id}/sessions"
    result = api.call("POST", path, api.patient(clinic), headers={"X-Request-Id": "abc-1"})
    assert result.headers["x-request-id"] == "abc-1"
    [row] = api.rows("select details from core.audit_log where action = 'treatment_session.open'")
    assert row["details"]["request_id"] == "abc-1"
    odd = api.call("GET", "/healthz", headers={"X-Request-Id": "a b\x00"})
    assert odd.headers["x-request-id"] != "a b\x00"


def test_a_defect_of_ours_reveals_nothing(make_api: ApiFactory, clinic: Clinic) -> None:
    api = make_api()

    def broken() -> datetime:
        raise RuntimeError("secret detail")

    object.__setattr__(api.deps, "now", broken)
    result = api.call("GET", f"/v1/patient-treatment-plans/{clinic.plan_id}/progress", api.patient(clinic))
    assert code(result) == (500, "internal_error")
    assert "secret" not in result.text


@pytest.mark.parametrize("error", [psycopg.errors.DeadlockDetected, psycopg.errors.QueryCanceled])
def test_a_database_in_trouble_asks_to_try_again(api: Api, clinic: Clinic, error: type[psycopg.Error]) -> None:
    def troubled(organisation_id: int) -> Callable[[], None]:
        raise error(str(organisation_id))

    object.__setattr__(api.deps.database, "tenant", troubled)
    result = api.call("GET", f"/v1/patient-treatment-plans/{clinic.plan_id}/progress", api.patient(clinic))
    assert code(result) == (503, "database_unavailable")


def test_keys_are_read_again_for_an_unknown_kid_but_not_for_every_one(identity: SigningKeys) -> None:
    reads, now_s, document = 0, 0.0, b'{"keys": []}'

    def read() -> bytes:
        nonlocal reads
        reads += 1
        if document == b"away":
            raise OSError("the source is away")
        return document

    keys = KeySet(read, lambda: now_s, refresh_min_s=10, max_age_s=300)
    document = b"away"
    with pytest.raises(KeysUnavailable):
        keys.find("x")
    now_s, document = 20, json.dumps(identity.jwks()).encode()
    assert keys.find(identity.key_id) is not None
    for _ in range(100):
        assert keys.find("made-up") is None
    assert reads == 2
    now_s, document = 400, b"away"
    assert keys.find(identity.key_id) is not None  # the keys last read go on
    now_s, document = 800, b'{"keys": []}'.replace(b"[]", json.dumps([{"kty": "oct", "k": "AA", "kid": "s"}]).encode())
    assert keys.find(identity.key_id) is None  # withdrawn


def test_a_symmetric_key_in_a_key_set_is_never_used(identity: SigningKeys) -> None:
    document = {"keys": [*identity.jwks()["keys"], {"kty": "oct", "k": "c2VjcmV0", "kid": "symmetric", "alg": "HS256"}]}
    assert set(parse(json.dumps(document).encode())) == {identity.key_id}


def test_a_missing_or_wrong_setting_is_named(tmp_path: Path) -> None:
    environ = {
        "RESTARTIX_DATABASE_URL": "postgres://",
        "RESTARTIX_SESSION_SIGNING_KEY": str(tmp_path),
        "RESTARTIX_IDENTITY_JWKS": str(tmp_path),
        "RESTARTIX_KEY_FILE": str(tmp_path),
    }
    assert not Settings.from_env(environ).allow_backdated_starts
    for name in environ:
        with pytest.raises(SettingInvalid, match=name):
            Settings.from_env({**environ, name: " "})
    for name, value in (
        ("RESTARTIX_ALLOW_BACKDATED_STARTS", "yes"),
        ("RESTARTIX_PORTAL_ORIGINS", "portal.example"),
        ("RESTARTIX_POOL_TIMEOUT_S", "soon"),
        ("RESTARTIX_REPLAY_URL_S", "1000000"),
    ):
        with pytest.raises(SettingInvalid, match=name):
            Settings.from_env({**environ, name: value})
