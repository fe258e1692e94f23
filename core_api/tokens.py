"""Session tokens: signing and publishing. The ingest service verifies them and holds public keys only."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

AUDIENCE = "telemetry"
LIFETIME = timedelta(hours=4)  # from the first minting; back-dated starts do not shorten it


@dataclass(frozen=True, slots=True)
class SessionClaims:
    """What an exercise session's token says. ``started_at`` fixes the partition of everything computed from it."""

    principal_id: UUID
    session_id: UUID
    organisation_id: int
    exercise_log_id: int
    exercise_id: int
    node_id: str
    started_at: datetime
    issued_at: datetime
    expires_at: datetime


class SigningKey:
    """An Ed25519 private key. Its ``kid`` is the RFC 7638 thumbprint of the public key, so its holder can derive it."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        raw = private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._public_jwk = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}
        canonical = json.dumps(self._public_jwk, separators=(",", ":"), sort_keys=True).encode()
        self.kid = _base64url(hashlib.sha256(canonical).digest())

    @classmethod
    def from_pem(cls, pem: bytes) -> SigningKey:
        """Raises ``ValueError`` for anything but an unencrypted Ed25519 private key."""
        try:
            key = load_pem_private_key(pem, password=None)
        except TypeError as error:
            raise ValueError("the session signing key is encrypted") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("the session signing key must be an Ed25519 private key")
        return cls(key)

    def mint(self, claims: SessionClaims, issuer: str) -> str:
        """The signed token (JWT, EdDSA)."""
        payload = {
            "iss": issuer,
            "aud": AUDIENCE,
            "sub": str(claims.principal_id),
            "sid": str(claims.session_id),
            "org": claims.organisation_id,
            "log": claims.exercise_log_id,
            "exr": claims.exercise_id,
            "nod": claims.node_id,
            "sta": round(claims.started_at.timestamp() * 1000),
            "iat": int(claims.issued_at.timestamp()),
            "exp": int(claims.expires_at.timestamp()),
        }
        return jwt.encode(payload, self._private_key, algorithm="EdDSA", headers={"kid": self.kid})

    def jwks(self) -> dict[str, Any]:
        """The public key as a JSON Web Key Set."""
        return {"keys": [{**self._public_jwk, "kid": self.kid, "use": "sig", "alg": "EdDSA"}]}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
