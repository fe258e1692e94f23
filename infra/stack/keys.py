"""Keys of a local stack or a test: Ed25519 signing keys with their public JWKS, and the column-encryption key file.

Belongs here: making keys, writing them to files, signing claims. Does not belong here: which claims a token carries
(the Core API mints session tokens) nor verification (each service has its own).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

COLUMN_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """An Ed25519 key pair on disk: `pem_path` (private, mode 0600) and `jwks_path` (public).

    The key id is the RFC 7638 thumbprint of the public key, so the private key's holder can derive it.
    """

    pem_path: Path
    jwks_path: Path
    key_id: str
    private_key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def load_or_create(cls, directory: Path, name: str) -> SigningKeys:
        """The pair `<name>.pem` / `<name>.jwks.json` in `directory`, made on first use."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        pem_path = directory / f"{name}.pem"
        if pem_path.exists():
            private_key = serialization.load_pem_private_key(pem_path.read_bytes(), password=None)
            if not isinstance(private_key, Ed25519PrivateKey):
                raise ValueError(f"{pem_path} does not hold an Ed25519 key")
        else:
            private_key = Ed25519PrivateKey.generate()
            encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
            write_secret(pem_path, private_key.private_bytes(encoding, form, serialization.NoEncryption()))
        jwk = public_jwk(private_key)
        jwks_path = directory / f"{name}.jwks.json"
        jwks_path.write_text(json.dumps({"keys": [jwk]}, indent=2) + "\n")
        return cls(pem_path, jwks_path, jwk["kid"], private_key)

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public key as a JSON Web Key Set (RFC 7517, RFC 8037)."""
        return {"keys": [public_jwk(self.private_key)]}

    def mint(self, claims: Mapping[str, Any], *, headers: Mapping[str, Any] | None = None) -> str:
        """Sign `claims`, exactly as given, into a compact JWT (EdDSA, `kid` in the header)."""
        header = {"kid": self.key_id, **(headers or {})}
        return jwt.encode(dict(claims), self.private_key, algorithm="EdDSA", headers=header)


def public_jwk(private_key: Ed25519PrivateKey) -> dict[str, str]:
    """The public half as a JWK whose `kid` is its RFC 7638 thumbprint."""
    raw = private_key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    required = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}
    canonical = json.dumps(required, sort_keys=True, separators=(",", ":"))
    return {**required, "alg": "EdDSA", "use": "sig", "kid": _base64url(hashlib.sha256(canonical.encode()).digest())}


def column_key_file(path: Path) -> Path:
    """The file that holds the key-encryption key of column encryption (32 random bytes, base64), made on first use."""
    if not path.exists():
        write_secret(path, base64.b64encode(secrets.token_bytes(COLUMN_KEY_BYTES)) + b"\n")
    return path


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, complete or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        output.write(content)
    draft.replace(path)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
