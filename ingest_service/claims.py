"""What a session token says, read out of a verified payload. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from pipelines.ports.landing import SessionHeader

_INT64_MAX = 2**63 - 1
_SECONDS_MAX = 253_402_300_799  # the year 9999, where datetime ends


class ClaimsInvalidError(ValueError):
    """A signed payload that is not a session's."""


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """A verified session token. ``node_id`` is None in a token that names no home node."""

    header: SessionHeader
    node_id: str | None
    minted_at: datetime  # aware, UTC
    expires_at_s: float  # seconds since 1970


def read(payload: Mapping[str, Any]) -> Claims:
    """Raises ``ClaimsInvalidError`` naming the claim."""
    expires_at_s = _integer(payload, "exp", _SECONDS_MAX)
    minted_at = datetime.fromtimestamp(_integer(payload, "iat", _SECONDS_MAX), UTC)
    started_at = minted_at
    if "sta" in payload:
        started_at_ms = _integer(payload, "sta", _SECONDS_MAX * 1000)
        started_at = datetime.fromtimestamp(started_at_ms // 1000, UTC).replace(microsecond=started_at_ms % 1000 * 1000)
    node_id = payload.get("nod")
    if node_id is not None and not isinstance(node_id, str):
        raise ClaimsInvalidError("nod is not a string")
    header = SessionHeader(
        session_id=_uuid(payload, "sid"),
        organisation_id=_integer(payload, "org", _INT64_MAX),
        principal_id=_uuid(payload, "sub"),
        log_id=_integer(payload, "log", _INT64_MAX),
        exercise_id=_integer(payload, "exr", _INT64_MAX),
        started_at=started_at,
        token_expires_at=datetime.fromtimestamp(expires_at_s, UTC),
    )
    return Claims(header=header, node_id=node_id, minted_at=minted_at, expires_at_s=expires_at_s)


def _integer(payload: Mapping[str, Any], name: str, most: int) -> int:
    value = payload.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ClaimsInvalidError(f"{name} is not a number in range")
    return value


def _uuid(payload: Mapping[str, Any], name: str) -> UUID:
    value = payload.get(name)
    if not isinstance(value, str):
        raise ClaimsInvalidError(f"{name} is not a UUID")
    try:
        return UUID(value)
    except ValueError:
        raise ClaimsInvalidError(f"{name} is not a UUID") from None
