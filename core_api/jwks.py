"""A JSON Web Key Set (RFC 7517) from a file or a URL: public keys by ``kid``, looked up again when one is unknown."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_DOCUMENT_MAX_BYTES = 262_144
_KEYS_MAX = 64
_RSA_MIN_BITS = 2048  # RFC 7518, section 3.3
_ALGORITHMS = {"OKP": "EdDSA", "RSA": "RS256"}  # a key's type decides its algorithm; the token's header never does


class KeysUnavailable(RuntimeError):  # noqa: N818
    """The key set could not be read, and none was read before."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key and the only algorithm it is used with."""

    algorithm: str
    key: jwt.PyJWK


class KeySet:
    """Keys of one issuer. Read on first use, again after ``max_age_s``, and on an unknown ``kid`` (at most once every
    ``refresh_min_s``, so that made-up kids cost nothing). While the source is away the keys last read go on.
    """

    def __init__(
        self,
        read: Callable[[], bytes],
        monotonic_s: Callable[[], float],
        *,
        refresh_min_s: float = 10.0,
        max_age_s: float = 300.0,
    ) -> None:
        self._read = read
        self._monotonic_s = monotonic_s
        self._refresh_min_s = refresh_min_s
        self._max_age_s = max_age_s
        self._lock = threading.Lock()
        self._keys: dict[str, VerificationKey] | None = None
        self._tried_at_s = float("-inf")

    def find(self, kid: str) -> VerificationKey | None:
        """The key named ``kid``, or None. Raises ``KeysUnavailable``."""
        with self._lock:
            age_s = self._monotonic_s() - self._tried_at_s
            known = self._keys is not None and kid in self._keys
            if age_s >= (self._max_age_s if known else self._refresh_min_s):
                self._refresh()
            if self._keys is None:
                raise KeysUnavailable("the identity provider's keys cannot be read")
            return self._keys.get(kid)

    def _refresh(self) -> None:
        self._tried_at_s = self._monotonic_s()
        try:
            self._keys = parse(self._read())
        except (OSError, ValueError, httpx.HTTPError) as error:
            if self._keys is None:
                raise KeysUnavailable("the identity provider's keys cannot be read") from error


def parse(document: bytes) -> dict[str, VerificationKey]:
    """Usable keys of a JWKS document by kid. Raises ``ValueError`` for what is none, or too long."""
    if len(document) > _DOCUMENT_MAX_BYTES:
        raise ValueError(f"a key set of more than {_DOCUMENT_MAX_BYTES} bytes")
    keys: dict[str, VerificationKey] = {}
    try:
        told = msgspec.json.decode(document)
    except msgspec.DecodeError as error:
        raise ValueError("a key set that is not JSON") from error
    found = told.get("keys") if isinstance(told, dict) else None
    if not isinstance(found, list):
        raise ValueError("a key set without keys")
    for jwk in found[:_KEYS_MAX]:
        usable = _usable(jwk) if isinstance(jwk, dict) else None
        if usable is not None:
            keys[jwk["kid"]] = usable
    return keys


def _usable(jwk: dict[str, Any]) -> VerificationKey | None:
    """A key to verify signatures with; None for one that is for something else, weak, or not understood."""
    algorithm = _ALGORITHMS.get(str(jwk.get("kty")))
    if algorithm is None or jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
        return None
    if not (isinstance(jwk.get("kid"), str) and jwk["kid"]):
        return None
    try:
        key = jwt.PyJWK(jwk, algorithm)
    except jwt.PyJWTError:
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < _RSA_MIN_BITS:
        return None
    return VerificationKey(algorithm, key)


def reader(source: str) -> Callable[[], bytes]:
    """How to read ``source``: a path, or an http(s) URL."""
    if source.startswith(("http://", "https://")):
        return lambda: _fetch(source)
    return Path(source).read_bytes


def _fetch(url: str) -> bytes:
    with httpx.stream("GET", url, timeout=3.0, follow_redirects=False) as response:
        response.raise_for_status()
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _DOCUMENT_MAX_BYTES:
                raise ValueError(f"a key set of more than {_DOCUMENT_MAX_BYTES} bytes")
        return bytes(body)
