"""Identity tokens as a provider such as Clerk signs them: RS256 by JWKS, ids in claims of its own, and every known
attack on such a token, one a test.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core_api.errors import Problem
from core_api.identity import Actor, Console, IdentityVerifier, TokenRules
from core_api.jwks import KeySet, parse
from core_api.settings import Settings
from pipelines.environment import SettingInvalid

ISSUER = "https://clerk.example.com"
PRINCIPAL = uuid.UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")
KID = "ins_2aBcD"
RULES = TokenRules(
    issuer=ISSUER,
    principal_claim="external_id",
    organisation_claim="o.clinic",
    role_claim="o.rol",
    roles={"patient": "patient", "physio": "specialist", "admin": "manager", "platform": "console"},
    authorised_parties=("https://portal.example.com",),
)
ENVIRON = {
    "RESTARTIX_IDENTITY_ISSUER": ISSUER,
    "RESTARTIX_IDENTITY_PRINCIPAL_CLAIM": "external_id",
    "RESTARTIX_IDENTITY_ORGANISATION_CLAIM": "o.clinic",
    "RESTARTIX_IDENTITY_ROLE_CLAIM": "o.rol",
    "RESTARTIX_IDENTITY_ROLES": "patient=patient,physio=specialist, admin=manager,platform=console",
    "RESTARTIX_IDENTITY_AUTHORISED_PARTIES": "https://portal.example.com",
}


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def other_key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


def jwks(key: RSAPrivateKey, **changes: object) -> bytes:
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    jwk = {"kty": "RSA", "n": public["n"], "e": public["e"], "kid": KID, "use": "sig", "alg": "RS256", **changes}
    return json.dumps({"keys": [{name: value for name, value in jwk.items() if value is not None}]}).encode()


def claims(**changes: object) -> dict[str, Any]:
    """What Clerk puts into a session token (version 2) with a template that adds ``external_id`` and ``o.clinic``."""
    now = datetime.now(UTC)
    usual: dict[str, Any] = {
        "iss": ISSUER,
        "aud": "core-api",
        "azp": "https://portal.example.com",
        "sub": "user_2aBcDeF",
        "sid": "sess_2aBcDeF",
        "external_id": str(PRINCIPAL),
        "o": {"id": "org_2aBcDeF", "slg": "north", "rol": "physio", "clinic": 42},
        "v": 2,
        "iat": now,
        "nbf": now - timedelta(seconds=5),
        "exp": now + timedelta(minutes=1),
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def organisation(**changes: object) -> dict[str, Any]:
    return {"o": {**claims()["o"], **changes}}


def signed(key: RSAPrivateKey, kid: str = KID, **changes: object) -> str:
    return jwt.encode(claims(**changes), key, algorithm="RS256", headers={"kid": kid})


def verifier(document: bytes, rules: TokenRules = RULES) -> IdentityVerifier:
    return IdentityVerifier(KeySet(lambda: document, lambda: 0.0), rules)


def refused(key: RSAPrivateKey, token: str) -> str:
    with pytest.raises(Problem) as problem:
        verifier(jwks(key)).authenticate(f"Bearer {token}")
    assert problem.value.status_code == 401
    return problem.value.problem_code


def test_a_token_as_clerk_signs_it_names_who_is_asking(key: RSAPrivateKey) -> None:
    who = verifier(jwks(key))
    assert who.authenticate(f"Bearer {signed(key)}") == Actor(PRINCIPAL, 42, "specialist")
    manager = signed(key, **organisation(rol="admin"))
    assert who.authenticate(f"bearer {manager}") == Actor(PRINCIPAL, 42, "manager")
    console = signed(key, **organisation(rol="platform", clinic=None))
    assert who.authenticate(f"Bearer {console}") == Console(PRINCIPAL)


def test_the_settings_say_the_same() -> None:
    needed = {
        "RESTARTIX_DATABASE_URL": "x",
        "RESTARTIX_SESSION_SIGNING_KEY": "x",
        "RESTARTIX_IDENTITY_JWKS": "x",
        "RESTARTIX_KEY_FILE": "x",
    }
    assert Settings.from_env({**needed, **ENVIRON}).identity == RULES
    assert Settings.from_env(needed).identity == TokenRules()
    for wrong in ("physio", "=specialist", "physio=owner", "physio=specialist,boss="):
        with pytest.raises(SettingInvalid, match="RESTARTIX_IDENTITY_ROLES"):
            Settings.from_env({**needed, "RESTARTIX_IDENTITY_ROLES": wrong})


def _unsigned(key: RSAPrivateKey, other: RSAPrivateKey) -> str:  # noqa: ARG001
    return jwt.encode(claims(), "", algorithm="none", headers={"kid": KID})


def _unsigned_in_capitals(key: RSAPrivateKey, other: RSAPrivateKey) -> str:  # noqa: ARG001
    header, payload = ({"alg": "NONE", "kid": KID}, claims(iat=None, nbf=None, exp=4_000_000_000))
    return f"{_part(header)}.{_part(payload)}."


def _hs256_with_the_public_key(key: RSAPrivateKey, other: RSAPrivateKey) -> str:  # noqa: ARG001
    """Made by hand: the library that signs knows better."""
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": KID}
    message = f"{_part(header)}.{_part(claims(iat=None, nbf=None, exp=4_000_000_000))}"
    return f"{message}.{_base64url(hmac.new(pem, message.encode(), hashlib.sha256).digest())}"


def _part(value: dict[str, Any]) -> str:
    return _base64url(json.dumps(value).encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _tampered(key: RSAPrivateKey, other: RSAPrivateKey) -> str:  # noqa: ARG001
    header, _, signature = signed(key).split(".")
    return f"{header}.{_part(claims(iat=None, nbf=None, exp=4_000_000_000, **organisation(clinic=43)))}.{signature}"


def _embedded_key(key: RSAPrivateKey, other: RSAPrivateKey) -> str:  # noqa: ARG001
    """The attacker's own key, sent along in the header (CVE-2018-0114)."""
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(other.public_key()))
    return jwt.encode(claims(), other, algorithm="RS256", headers={"kid": KID, "jwk": jwk})


def _key_from_elsewhere(key: RSAPrivateKey, other: RSAPrivateKey) -> str:  # noqa: ARG001
    headers = {"kid": KID, "jku": "https://evil.example/jwks.json", "x5u": "https://evil.example/x.pem"}
    return jwt.encode(claims(), other, algorithm="RS256", headers=headers)


ATTACKS: dict[str, Callable[[RSAPrivateKey, RSAPrivateKey], str]] = {
    "alg none": _unsigned,
    "alg NONE": _unsigned_in_capitals,
    "HS256 with the public key": _hs256_with_the_public_key,
    "changed claims under the old signature": _tampered,
    "somebody else's key under the known kid": lambda _, other: signed(other),
    "another kid": lambda key, _: signed(key, kid="ins_other"),
    "a kid that is a path": lambda key, _: signed(key, kid="../../etc/passwd"),
    "no kid": lambda key, _: jwt.encode(claims(), key, algorithm="RS256"),
    "a key in the header": _embedded_key,
    "a key's address in the header": _key_from_elsewhere,
    "another algorithm of the same key": lambda key, _: jwt.encode(claims(), key, "RS512", headers={"kid": KID}),
    "EdDSA under an RSA kid": lambda *_: jwt.encode(claims(), Ed25519PrivateKey.generate(), "EdDSA", {"kid": KID}),
    "another audience": lambda key, _: signed(key, aud="telemetry"),
    "no audience": lambda key, _: signed(key, aud=None),
    "another issuer": lambda key, _: signed(key, iss="https://clerk.evil.example"),
    "no issuer": lambda key, _: signed(key, iss=None),
    "another party": lambda key, _: signed(key, azp="https://evil.example"),
    "no expiry": lambda key, _: signed(key, exp=None),
    "not valid yet": lambda key, _: signed(key, nbf=datetime.now(UTC) + timedelta(minutes=5)),
    "no principal": lambda key, _: signed(key, external_id=None),
    "Clerk's own id for a principal": lambda key, _: signed(key, external_id="user_2aBcDeF"),
    "an organisation that is text": lambda key, _: signed(key, **organisation(clinic="42")),
    "an organisation that is true": lambda key, _: signed(key, **organisation(clinic=True)),
    "no organisation": lambda key, _: signed(key, o={"rol": "physio"}),
    "organisation claim of another kind": lambda key, _: signed(key, o="org_2aBcDeF"),
    "our word for a role, not the provider's": lambda key, _: signed(key, **organisation(rol="specialist")),
    "no role": lambda key, _: signed(key, **organisation(rol=None)),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_forged_token_opens_nothing(key: RSAPrivateKey, other_key: RSAPrivateKey, attack: str) -> None:
    assert refused(key, ATTACKS[attack](key, other_key)) == "token_invalid"


def test_an_expired_token_says_so(key: RSAPrivateKey) -> None:
    assert refused(key, signed(key, exp=datetime.now(UTC) - timedelta(minutes=1))) == "token_expired"


def test_a_replaced_key_is_found_and_the_old_one_forgotten(key: RSAPrivateKey, other_key: RSAPrivateKey) -> None:
    """The provider rotates its key: tokens of the new one are taken at once, those of the old one no longer."""
    now_s, document = 0.0, jwks(key)
    who = IdentityVerifier(KeySet(lambda: document, lambda: now_s, refresh_min_s=10), RULES)
    assert who.authenticate(f"Bearer {signed(key)}") == Actor(PRINCIPAL, 42, "specialist")
    now_s, document = 20, jwks(other_key, kid="ins_new")
    assert who.authenticate(f"Bearer {signed(other_key, kid='ins_new')}") == Actor(PRINCIPAL, 42, "specialist")
    with pytest.raises(Problem, match="token_invalid"):
        who.authenticate(f"Bearer {signed(key)}")


def test_a_key_that_is_not_for_signing_with_rs256_is_not_used(key: RSAPrivateKey) -> None:
    short = generate_private_key(public_exponent=65537, key_size=1024)
    for document in (jwks(key, use="enc"), jwks(key, alg="RS512"), jwks(key, alg="HS256"), jwks(short)):
        assert parse(document) == {}
    for document in (jwks(key), jwks(key, alg=None), jwks(key, use=None)):
        assert set(parse(document)) == {KID}


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"{}", b'{"keys": 1}', b"\xff", b"{}" * 200_000])
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match="key set"):
        parse(document)
    assert (
        parse(b'{"keys": [1, {}, {"kty": ["RSA"], "kid": "x"}, {"kty": "RSA", "kid": "x", "n": "!", "e": "AQAB"}]}')
        == {}
    )
