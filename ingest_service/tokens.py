"""Session tokens, verified offline: a signature is checked once, the result is remembered, and still expires.

Belongs here: keys, signatures, the bounded memory of verified tokens. What a token permits is ``admission``'s.
"""

from __future__ import annotations

import json
import threading
import urllib.request
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt

from ingest_service.claims import Claims, ClaimsInvalidError, read
from ingest_service.problems import ProblemError

AUDIENCE = "telemetry"
_TOKEN_MAX_BYTES = 4096
_JWKS_MAX_BYTES = 256 * 1024
_FETCH_TIMEOUT_S = 3.0


class KeysUnavailableError(Exception):
    """The key set could not be read."""


def fetch_jwks(source: str) -> bytes:
    """A key set from a file or a URL. Blocks; raises ``KeysUnavailableError``."""
    try:
        if source.startswith(("http://", "https://")):
            with urllib.request.urlopen(source, timeout=_FETCH_TIMEOUT_S) as response:
                content: bytes = response.read(_JWKS_MAX_BYTES)
                return content
        return Path(source.removeprefix("file://")).read_bytes()
    except (OSError, ValueError) as error:
        raise KeysUnavailableError(f"the key set {source} cannot be read: {error}") from error


class KeySet:
    """The issuer's public keys by ``kid``, read again for an unknown one, at most once in ``refresh_min_s``."""

    def __init__(self, fetch: Callable[[], bytes], monotonic: Callable[[], float], refresh_min_s: float) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._refresh_min_s = refresh_min_s
        self._refreshed_s: float | None = None
        self._keys: dict[str, Any] = {}
        self._unavailable: KeysUnavailableError | None = None
        self._lock = threading.Lock()

    def get(self, kid: str) -> Any:  # noqa: ANN401 - PyJWT's key types
        """The key; None if the issuer has none of that name. Raises ``KeysUnavailableError`` if that is unknown."""
        if (key := self._keys.get(kid)) is not None:
            return key
        with self._lock:
            self._refresh()
            key = self._keys.get(kid)
        if key is None and self._unavailable is not None:
            raise self._unavailable
        return key

    def _refresh(self) -> None:
        now_s = self._monotonic()
        if self._refreshed_s is not None and now_s - self._refreshed_s < self._refresh_min_s:
            return
        self._refreshed_s = now_s
        try:
            self._keys = _parse(self._fetch())
            self._unavailable = None
        except KeysUnavailableError as error:
            self._unavailable = error  # the keys already known stay good


def _parse(content: bytes) -> dict[str, Any]:
    try:
        listed = json.loads(content)["keys"]
        found = {}
        for entry in listed:
            if entry.get("kty") == "OKP" and entry.get("crv") == "Ed25519" and isinstance(entry.get("kid"), str):
                found[entry["kid"]] = jwt.PyJWK(entry, algorithm="EdDSA").key
    except (ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise KeysUnavailableError(f"the key set is malformed: {error}") from error
    return found


class TokenVerifier:
    """Tokens to claims. Raises ``ProblemError`` 401, or 503 where the keys cannot be read."""

    def __init__(self, keys: KeySet, issuer: str | None, remembered_max: int, retry_after_s: int) -> None:
        self._keys = keys
        self._issuer = issuer
        self._remembered_max = remembered_max
        self._retry_after_s = retry_after_s
        # By the whole header, which a connection sends again and again: a token need not be cut out to be known.
        self._remembered: OrderedDict[str, Claims] = OrderedDict()

    def verify(self, authorization: str | None, now_s: float) -> Claims:
        """The claims of an ``Authorization`` header's bearer token. ``now_s``: seconds since 1970."""
        if not authorization:
            raise ProblemError(401, "token_missing", "the Authorization header with a bearer token is missing")
        claims = self._remembered.get(authorization)
        if claims is None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer" or not token:
                raise ProblemError(401, "token_missing", "the Authorization header holds no bearer token")
            claims = self._verify_new(token.strip())
            self._remembered[authorization] = claims
            while len(self._remembered) > self._remembered_max:
                self._remembered.popitem(last=False)
        if now_s >= claims.expires_at_s:
            self._remembered.pop(authorization, None)
            raise ProblemError(401, "token_expired", "the session token has expired")
        return claims

    def _verify_new(self, token: str) -> Claims:
        if len(token) > _TOKEN_MAX_BYTES:
            raise ProblemError(401, "token_invalid", "the session token is too long")
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keys.get(kid) if isinstance(kid, str) else None
            if key is None:
                raise ProblemError(401, "token_invalid", "the session token names no key of the issuer")
            payload = jwt.decode(
                token,
                key,
                algorithms=["EdDSA"],
                audience=AUDIENCE,
                issuer=self._issuer,
                # The clock is the caller's, also for remembered tokens; `iat` of a clock slightly ahead is no reason.
                options={"require": ["aud", "exp", "iat"], "verify_exp": False, "verify_iat": False},
            )
            return read(payload)
        except KeysUnavailableError as error:
            detail = "the issuer's keys cannot be read"
            raise ProblemError(503, "keys_unavailable", detail, self._retry_after_s) from error
        except (jwt.PyJWTError, ClaimsInvalidError, ValueError, RecursionError) as error:
            raise ProblemError(401, "token_invalid", "the session token cannot be verified") from error
