"""Every known attack on a token, against both services; a good token passes beside each."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import pytest

from core_api.errors import Problem
from core_api.identity import IdentityVerifier
from core_api.jwks import KeySet as CoreKeys
from core_api.jwks import reader
from infra.stack.keys import SigningKeys
from ingest_service.problems import ProblemError
from ingest_service.tokens import KeySet, TokenVerifier, fetch_jwks
from tests.core_api.clinics import Api, Clinic
from tests.privacy.forgery import forgeries

NAMES = sorted(
    {"alg none", "alg none, the signature left", "alg NoNe", "HS256 with the public key", "expired", "empty",
     "HS256 with the public key as it is published", "HS256 with the whole key set", "wrong audience", "no audience",
     "replaced kid", "kid that is a path", "kid that is SQL", "no kid", "own key under the issuer's kid",
     "own key carried in the header", "own key by URL in the header", "expiry rewritten", "no expiry",
     "subject rewritten", "signature cut", "signature of another token", "three dots"}
)  # fmt: skip


def session_claims() -> dict[str, object]:
    now_s = int(time.time())
    ids = {"sub": str(uuid.uuid4()), "sid": str(uuid.uuid4()), "org": 1, "log": 2, "exr": 3, "nod": "node-a"}
    times = {"sta": now_s * 1000, "iat": now_s, "exp": now_s + 3600}
    return {"iss": "restartix-core-api", "aud": "telemetry", **ids, **times}


def identity_claims() -> dict[str, object]:
    now_s = int(time.time())
    return {"sub": str(uuid.uuid4()), "org": 1, "role": "manager", "aud": "core-api", "exp": now_s + 3600}


@pytest.mark.parametrize("attack", NAMES)
def test_ingest_refuses(session_keys: SigningKeys, attack: str) -> None:
    keys = KeySet(lambda: fetch_jwks(str(session_keys.jwks_path)), time.monotonic, 0)
    verifier = TokenVerifier(keys, "restartix-core-api", 100, 5)
    claims = session_claims()
    assert str(verifier.verify(f"Bearer {session_keys.mint(claims)}", time.time()).header.session_id) == claims["sid"]
    with pytest.raises(ProblemError) as refused:
        verifier.verify(f"Bearer {forgeries(session_keys, claims, 'core-api')[attack]}", time.time())
    assert refused.value.status == 401
    assert refused.value.code in {"token_invalid", "token_expired", "token_missing"}
    assert (refused.value.code == "token_expired") == (attack == "expired")


@pytest.mark.parametrize("attack", NAMES)
def test_the_core_api_refuses(identity: SigningKeys, attack: str) -> None:
    verifier = IdentityVerifier(CoreKeys(reader(str(identity.jwks_path)), lambda: 0.0))
    claims = identity_claims()
    assert str(verifier.authenticate(f"Bearer {identity.mint(claims)}").principal_id) == claims["sub"]
    with pytest.raises(Problem) as refused:
        verifier.authenticate(f"Bearer {forgeries(identity, claims, 'telemetry')[attack]}")
    assert refused.value.status_code == 401
    assert (refused.value.problem_code == "token_expired") == (attack == "expired")


def test_every_forgery_there_is_is_tried(session_keys: SigningKeys) -> None:
    assert set(NAMES) == set(forgeries(session_keys, session_claims(), "core-api"))


def test_a_remembered_token_still_expires(session_keys: SigningKeys) -> None:
    verifier = TokenVerifier(
        KeySet(lambda: Path(session_keys.jwks_path).read_bytes(), time.monotonic, 0), "restartix-core-api", 100, 5
    )
    token = f"Bearer {session_keys.mint(session_claims())}"
    assert verifier.verify(token, time.time())
    with pytest.raises(ProblemError) as refused:
        verifier.verify(token, time.time() + 3601)
    assert refused.value.code == "token_expired"


def test_a_session_token_is_no_identity_and_an_identity_opens_no_stream(
    api: Api, clinic: Clinic, session_keys: SigningKeys
) -> None:
    answer = api.call("GET", "/v1/patients", session_keys.mint(session_claims()))
    assert (answer.status_code, answer.json["code"]) == (401, "token_invalid")
    keys = KeySet(lambda: fetch_jwks(str(session_keys.jwks_path)), time.monotonic, 0)
    with pytest.raises(ProblemError):
        TokenVerifier(keys, "restartix-core-api", 100, 5).verify(f"Bearer {api.manager(clinic)}", time.time())


def test_a_refusal_shows_no_stack_and_carries_the_security_headers(api: Api) -> None:
    for path in ("/v1/patients", "/v1/no-such-thing", "/v1/patients/x'"):
        answer = api.call("GET", path, "x.y.z")
        assert "Traceback" not in answer.text
        assert ".py" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "max-age" in answer.headers["strict-transport-security"]
