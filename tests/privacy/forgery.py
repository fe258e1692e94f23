"""Forged tokens: each known attack on a signed token, made of what an attacker has, public keys and old tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from infra.stack.keys import SigningKeys

Claims = Mapping[str, Any]


def forgeries(keys: SigningKeys, claims: Claims, wrong_audience: str) -> dict[str, str]:
    """Attack -> token. Every claim is a good token's, but for what the attack changes."""
    jwk = json.loads(Path(keys.jwks_path).read_text())["keys"][0]
    kid, own = jwk["kid"], Ed25519PrivateKey.generate()
    good = keys.mint(dict(claims))
    head, body, signature = good.split(".")
    public = own.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    own_jwk = {"kty": "OKP", "crv": "Ed25519", "x": _text(public), "kid": kid}

    def signed(header: dict[str, Any], payload: Claims = claims) -> str:
        return jwt.encode(dict(payload), own, algorithm="EdDSA", headers=header)

    raw_public = base64.urlsafe_b64decode(jwk["x"] + "==")
    past = {**claims, "exp": int(time.time()) - 3600}
    return {
        "alg none": _unsigned({"alg": "none", "kid": kid}, claims),
        "alg none, the signature left": _unsigned({"alg": "none", "kid": kid}, claims) + signature,
        "alg NoNe": _unsigned({"alg": "NoNe", "kid": kid}, claims),
        "HS256 with the public key": _hs256(raw_public, kid, claims),
        "HS256 with the public key as it is published": _hs256(jwk["x"].encode(), kid, claims),
        "HS256 with the whole key set": _hs256(Path(keys.jwks_path).read_bytes(), kid, claims),
        "wrong audience": keys.mint({**claims, "aud": wrong_audience}),
        "no audience": keys.mint({name: value for name, value in claims.items() if name != "aud"}),
        "replaced kid": signed({"kid": "another"}),
        "kid that is a path": signed({"kid": "../../dev/null"}),
        "kid that is SQL": signed({"kid": "' OR 1=1 --"}),
        "no kid": signed({}),
        "own key under the issuer's kid": signed({"kid": kid}),
        "own key carried in the header": signed({"kid": kid, "jwk": own_jwk}),
        "own key by URL in the header": signed({"kid": kid, "jku": "https://attacker.example/jwks.json"}),
        "expired": keys.mint(past),
        "expiry rewritten": f"{head}.{_text(json.dumps({**claims, 'exp': 4_000_000_000}).encode())}.{signature}",
        "no expiry": keys.mint({name: value for name, value in claims.items() if name != "exp"}),
        "subject rewritten": f"{head}.{_text(json.dumps({**claims, 'sub': str(_OTHER)}).encode())}.{signature}",
        "signature cut": good[:-8],
        "signature of another token": f"{head}.{body}.{keys.mint({**claims, 'jti': 'x'}).split('.')[2]}",
        "empty": "",
        "three dots": "...",
    }


_OTHER = "00000000-0000-4000-8000-00000000000f"


def _unsigned(header: dict[str, Any], claims: Claims) -> str:
    return f"{_text(json.dumps(header).encode())}.{_text(json.dumps(dict(claims)).encode())}."


def _hs256(secret: bytes, kid: str, claims: Claims) -> str:
    header = {"alg": "HS256", "typ": "JWT", "kid": kid}
    body = f"{_text(json.dumps(header).encode())}.{_text(json.dumps(dict(claims)).encode())}"
    return f"{body}.{_text(hmac.new(secret, body.encode(), hashlib.sha256).digest())}"


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
