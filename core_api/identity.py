"""Who is asking: verification of the identity provider's token. What a role may do is each resource's to say."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import falcon
import jwt

from core_api.errors import Problem
from core_api.jwks import KeySet, KeysUnavailable

AUDIENCE = "core-api"
ROLES = frozenset({"patient", "specialist", "manager"})
_LEEWAY_S = 10
_BIGINT_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Actor:
    """The authenticated caller: one principal, acting in one role in one organisation."""

    principal_id: UUID
    organisation_id: int
    role: str


class IdentityVerifier:
    """Verifies bearer tokens offline against the provider's public keys."""

    def __init__(self, keys: KeySet, issuer: str | None) -> None:
        self._keys = keys
        self._issuer = issuer

    def authenticate(self, authorization: str | None) -> Actor:
        """The actor behind an ``Authorization`` header. Raises ``Problem`` 401, or 503 while no keys can be had."""
        if authorization is None:
            raise _unauthorised("token_missing", "a bearer token is needed")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorised("token_missing", "a bearer token is needed")
        return _actor(self._claims(token.strip()))

    def _claims(self, token: str) -> dict[str, object]:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keys.find(kid) if isinstance(kid, str) else None
            if key is None:
                raise _unauthorised("token_invalid", "the token's key is not known")
            claims: dict[str, object] = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=AUDIENCE,
                issuer=self._issuer,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "sub", "org", "role"]},
            )
        except jwt.ExpiredSignatureError:
            raise _unauthorised("token_expired", "the token has expired") from None
        except (jwt.PyJWTError, ValueError):
            raise _unauthorised("token_invalid", "the token is not valid") from None
        except KeysUnavailable as error:
            raise Problem(503, "identity_unavailable", str(error), headers={"Retry-After": "5"}) from error
        return claims


def _actor(claims: dict[str, object]) -> Actor:
    organisation_id, role = claims["org"], claims["role"]
    try:
        principal_id = UUID(str(claims["sub"]))
    except ValueError:
        raise _unauthorised("token_invalid", "the token's sub is not a principal id") from None
    if type(organisation_id) is not int or not 0 < organisation_id <= _BIGINT_MAX:
        raise _unauthorised("token_invalid", "the token's org is not an organisation id")
    if not isinstance(role, str) or role not in ROLES:
        raise _unauthorised("token_invalid", "the token's role is not known")
    return Actor(principal_id, organisation_id, role)


def _unauthorised(code: str, detail: str) -> Problem:
    return Problem(401, code, detail, headers={"WWW-Authenticate": "Bearer"})


def require(req: falcon.Request, *roles: str) -> Actor:
    """The request's actor if it has one of ``roles``; raises ``Problem`` 403 otherwise."""
    actor: Actor = req.context.actor
    if actor.role not in roles:
        raise Problem(403, "role_not_allowed", f"this needs the role {' or '.join(roles)}")
    return actor
