"""What the Core API is told by its environment. Nothing here opens, reads or connects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core_api.identity import CONSOLE, ROLES, TokenRules
from pipelines.environment import SettingInvalid, flag, number, origins, required, whole_number


@dataclass(frozen=True, slots=True)
class Settings:
    """The Core API's settings, but for the bucket's (``pipelines.adapters.s3.settings``).

    Each field's variable and default is in ``docs/core-api.md``.
    """

    database_url: str  # RESTARTIX_DATABASE_URL: a login that is a member of restartix_core_api
    session_signing_key: str  # RESTARTIX_SESSION_SIGNING_KEY: path of an Ed25519 private key, PEM
    identity_jwks: str  # RESTARTIX_IDENTITY_JWKS: path or URL of the identity provider's public keys
    key_file: str  # RESTARTIX_KEY_FILE: path of the master keys for column encryption; unused with RESTARTIX_KMS_KEY_ID
    token_issuer: str = "restartix-core-api"  # RESTARTIX_TOKEN_ISSUER: `iss` of session tokens
    console_database_url: str | None = None  # RESTARTIX_CONSOLE_DATABASE_URL: a login of restartix_console, if any
    identity: TokenRules = field(default_factory=TokenRules)  # RESTARTIX_IDENTITY_*
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
            key_file="" if environ.get("RESTARTIX_KMS_KEY_ID") else required(environ, "RESTARTIX_KEY_FILE"),
            token_issuer=environ.get("RESTARTIX_TOKEN_ISSUER") or "restartix-core-api",
            identity=_identity(environ),
            portal_origins=origins(environ, "RESTARTIX_PORTAL_ORIGINS"),
            allow_backdated_starts=flag(environ, "RESTARTIX_ALLOW_BACKDATED_STARTS"),
            pool_max_connections=whole_number(environ, "RESTARTIX_POOL_MAX_CONNECTIONS", 1, 200, 10),
            pool_timeout_s=number(environ, "RESTARTIX_POOL_TIMEOUT_S", 0.1, 60, 5),
            statement_timeout_s=number(environ, "RESTARTIX_STATEMENT_TIMEOUT_S", 0.1, 300, 10),
            body_max_bytes=whole_number(environ, "RESTARTIX_BODY_MAX_BYTES", 1024, 16_777_216, 65_536),
            replay_url_s=whole_number(environ, "RESTARTIX_REPLAY_URL_S", 10, 3600, 300),
            console_database_url=environ.get("RESTARTIX_CONSOLE_DATABASE_URL") or None,
        )


def _identity(environ: Mapping[str, str]) -> TokenRules:
    """What identity tokens look like: the local issuer's by default, Clerk's and others' by claim names."""
    usual = TokenRules()
    parties = environ.get("RESTARTIX_IDENTITY_AUTHORISED_PARTIES", "")
    return TokenRules(
        issuer=environ.get("RESTARTIX_IDENTITY_ISSUER") or None,
        audience=environ.get("RESTARTIX_IDENTITY_AUDIENCE") or usual.audience,
        principal_claim=environ.get("RESTARTIX_IDENTITY_PRINCIPAL_CLAIM") or usual.principal_claim,
        organisation_claim=environ.get("RESTARTIX_IDENTITY_ORGANISATION_CLAIM") or usual.organisation_claim,
        role_claim=environ.get("RESTARTIX_IDENTITY_ROLE_CLAIM") or usual.role_claim,
        roles=_roles(environ.get("RESTARTIX_IDENTITY_ROLES", "")) or usual.roles,
        authorised_parties=tuple(part.strip() for part in parties.split(",") if part.strip()),
    )


def _roles(text: str) -> dict[str, str]:
    """``org:physio=specialist,org:boss=manager``: the provider's word for a role = ours."""
    roles = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        theirs, separator, ours = (each.strip() for each in part.rpartition("="))
        if not (separator and theirs and ours in {*ROLES, CONSOLE}):
            known = ", ".join(sorted({*ROLES, CONSOLE}))
            raise SettingInvalid(f"RESTARTIX_IDENTITY_ROLES: {part!r} is not a word=role, role one of {known}")
        roles[theirs] = ours
    return roles
