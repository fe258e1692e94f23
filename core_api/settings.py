"""What the Core API is told by its environment. Nothing here opens, reads or connects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.environment import flag, number, origins, required, whole_number


@dataclass(frozen=True, slots=True)
class Settings:
    """The Core API's settings, but for the bucket's (``pipelines.adapters.s3.settings``).

    Each field's variable and default is in ``docs/core-api.md``.
    """

    database_url: str  # RESTARTIX_DATABASE_URL: a login that is a member of restartix_core_api
    session_signing_key: str  # RESTARTIX_SESSION_SIGNING_KEY: path of an Ed25519 private key, PEM
    identity_jwks: str  # RESTARTIX_IDENTITY_JWKS: path or URL of the identity provider's public keys
    key_file: str  # RESTARTIX_KEY_FILE: path of the master keys for column encryption
    token_issuer: str = "restartix-core-api"  # RESTARTIX_TOKEN_ISSUER: `iss` of session tokens
    identity_issuer: str | None = None  # RESTARTIX_IDENTITY_ISSUER: demanded `iss` of identity tokens, if given
    portal_origins: tuple[str, ...] = ()  # RESTARTIX_PORTAL_ORIGINS: comma separated
    allow_backdated_starts: bool = False  # RESTARTIX_ALLOW_BACKDATED_STARTS: 1 on a local stack only
    pool_max_connections: int = 10  # RESTARTIX_POOL_MAX_CONNECTIONS: a worker
    pool_timeout_s: float = 5.0  # RESTARTIX_POOL_TIMEOUT_S: waiting for a connection before 503
    statement_timeout_s: float = 10.0  # RESTARTIX_STATEMENT_TIMEOUT_S
    body_max_bytes: int = 65_536  # RESTARTIX_BODY_MAX_BYTES
    replay_url_s: int = 300  # RESTARTIX_REPLAY_URL_S: how long a replay URL works

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Raises ``SettingInvalid``, naming the variable."""
        return cls(
            database_url=required(environ, "RESTARTIX_DATABASE_URL"),
            session_signing_key=required(environ, "RESTARTIX_SESSION_SIGNING_KEY"),
            identity_jwks=required(environ, "RESTARTIX_IDENTITY_JWKS"),
            key_file=required(environ, "RESTARTIX_KEY_FILE"),
            token_issuer=environ.get("RESTARTIX_TOKEN_ISSUER") or "restartix-core-api",
            identity_issuer=environ.get("RESTARTIX_IDENTITY_ISSUER") or None,
            portal_origins=origins(environ, "RESTARTIX_PORTAL_ORIGINS"),
            allow_backdated_starts=flag(environ, "RESTARTIX_ALLOW_BACKDATED_STARTS"),
            pool_max_connections=whole_number(environ, "RESTARTIX_POOL_MAX_CONNECTIONS", 1, 200, 10),
            pool_timeout_s=number(environ, "RESTARTIX_POOL_TIMEOUT_S", 0.1, 60, 5),
            statement_timeout_s=number(environ, "RESTARTIX_STATEMENT_TIMEOUT_S", 0.1, 300, 10),
            body_max_bytes=whole_number(environ, "RESTARTIX_BODY_MAX_BYTES", 1024, 16_777_216, 65_536),
            replay_url_s=whole_number(environ, "RESTARTIX_REPLAY_URL_S", 10, 3600, 300),
        )
