"""Who is asking: verification of the identity provider's token. What a role may do is each route's to say.

Two kinds of caller: an ``Actor`` acts in one organisation; a ``Console`` belongs to none and sees only figures in which
no organisation's patients can be told apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

import falcon
import jwt

from core_api.errors import Problem
from core_api.jwks import KeySet, KeysUnavailable

ROLES = frozenset({"patient", "specialist", "manager"})
CONSOLE = "console"
_LEEWAY_S = 10
_BIGINT_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Actor:
    """The authenticated caller: one principal, acting in one role in one organisation."""

    principal_id: UUID
    organisation_id: int
    role: str


@dataclass(frozen=True, slots=True)
class Console:
    """An authenticated operator of the product, outside every organisation."""

    principal_id: UUID
    role: str = CONSOLE


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What the provider's tokens look like. A claim is named by its path, parts separated by dots (``o.rol``).

    ``roles``: the provider's word for a role -> ours. ``authorised_parties``: where given, ``azp`` must be one of them
    (Clerk names there the origin that asked for the token).
    """

    issuer: str | None = None
    audience: str = "core-api"
    principal_claim: str = "sub"
    organisation_claim: str = "org"
    role_claim: str = "role"
    roles: Mapping[str, str] = field(default_factory=lambda: {role: role for role in (*sorted(ROLES), CONSOLE)})
    authorised_parties: tuple[str, ...] = ()


class IdentityVerifier:
    """Verifies bearer tokens offline against the provider's public keys."""

    def __init__(self, keys: KeySet, rules: TokenRules | None = None) -> None:
        self._keys = keys
        self._rules = rules or TokenRules()

    def authenticate(self, authorization: str | None) -> Actor | Console:
        """The caller behind an ``Authorization`` header. Raises ``Problem`` 401, or 503 while no keys can be had."""
        if authorization is None:
            raise _unauthorised("token_missing", "a bearer token is needed")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorised("token_missing", "a bearer token is needed")
        return _caller(self._claims(token.strip()), self._rules)

    def _claims(self, token: str) -> dict[str, object]:
        rules = self._rules
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keys.find(kid) if isinstance(kid, str) else None
            if key is None:
                raise _unauthorised("token_invalid", "the token's key is not known")
            claims: dict[str, object] = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],  # the key's, never the token's
                audience=rules.audience,
                issuer=rules.issuer,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise _unauthorised("token_expired", "the token has expired") from None
        except (jwt.PyJWTError, ValueError):
            raise _unauthorised("token_invalid", "the token is not valid") from None
        except KeysUnavailable as error:
            raise Problem(503, "identity_unavailable", str(error), headers={"Retry-After": "5"}) from error
        if rules.authorised_parties and claims.get("azp") not in rules.authorised_parties:
            raise _unauthorised("token_invalid", "the token was issued to another party")
        return claims


def _caller(claims: dict[str, object], rules: TokenRules) -> Actor | Console:
    try:
        principal_id = UUID(str(_claim(claims, rules.principal_claim)))
    except ValueError:
        raise _unauthorised("token_invalid", "the token does not name a principal id") from None
    named = _claim(claims, rules.role_claim)
    role = rules.roles.get(named) if isinstance(named, str) else None
    if role == CONSOLE:
        return Console(principal_id)
    if role not in ROLES:
        raise _unauthorised("token_invalid", "the token's role is not known")
    organisation_id = _claim(claims, rules.organisation_claim)
    if type(organisation_id) is not int or not 0 < organisation_id <= _BIGINT_MAX:
        raise _unauthorised("token_invalid", "the token does not name an organisation id")
    return Actor(principal_id, organisation_id, role)


def _claim(claims: Mapping[str, object], path: str) -> object:
    """The claim at a dotted path; None where a part of it is missing. A name that itself has dots is taken first."""
    if path in claims:
        return claims[path]
    found: object = claims
    for part in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(part)
    return found


def _unauthorised(code: str, detail: str) -> Problem:
    return Problem(401, code, detail, headers={"WWW-Authenticate": "Bearer"})


def require(req: falcon.Request, *roles: str) -> Actor:
    """The request's actor if it has one of ``roles``; raises ``Problem`` 403 otherwise."""
    caller: Actor | Console = req.context.actor
    if not isinstance(caller, Actor) or (roles and caller.role not in roles):
        raise _wrong_role(*roles)
    return caller


def require_console(req: falcon.Request) -> Console:
    """The request's console operator; raises ``Problem`` 403 for anybody of an organisation."""
    caller: Actor | Console = req.context.actor
    if not isinstance(caller, Console):
        raise _wrong_role(CONSOLE)
    return caller


def check_role(caller: Actor | Console, roles: tuple[str, ...]) -> None:
    """Raises ``Problem`` 403 where the caller has none of ``roles``."""
    if caller.role not in roles:
        raise _wrong_role(*roles)


def _wrong_role(*roles: str) -> Problem:
    return Problem(403, "role_not_allowed", f"this needs the role {' or '.join(roles)}")
