"""The bounds of a connection: how large, how many, how long. Reaching one has a defined answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MIB = 1024 * 1024
_FIELDS_MOST = 32_768  # gunicorn's own ceilings, taken where a setting says "unlimited"
_FIELD_MOST_BYTES = 8_190
_LINE_MOST_BYTES = 8_190


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Sizes in bytes, times in seconds. The answer at the bound is behind each.

    The first three and ``keep_alive_s`` are gunicorn's settings ``limit_request_line``, ``limit_request_fields``,
    ``limit_request_field_size`` and ``keepalive``; the others have variables of their own (``from_config``).
    """

    request_line_max_bytes: int = 4_094  # 414
    fields_max: int = 100  # 431
    field_max_bytes: int = 8_190  # 431; name, value and line end together
    head_max_bytes: int = 64 * 1024  # 431; the whole head, so that a connection never holds more than this of it
    body_max_bytes: int = 16 * _MIB  # 413; above anything the application's own cap may be set to
    discard_max_bytes: int = 64 * 1024  # a body the application left unread: up to this it is read away, beyond closed
    keep_alive_s: float = 5.0  # waiting for a request's first byte; then closed. 0: one request a connection
    head_timeout_s: float = 5.0  # 408; from a head's first byte to its end
    stall_timeout_s: float = 10.0  # 408; between two pieces of a body, or of an answer being taken
    request_timeout_s: float = 60.0  # 408; from a request's first byte to its last, and for each piece of an answer
    linger_s: float = 2.0  # waiting for the peer to close after the last answer

    @classmethod
    def from_config(cls, cfg: Any, environ: Mapping[str, str]) -> HttpLimits:  # noqa: ANN401 - gunicorn's Config
        """gunicorn's settings and the ``RESTARTIX_HTTP_`` variables. Raises ``ValueError``, naming the variable."""
        line, fields, field = cfg.limit_request_line, cfg.limit_request_fields, cfg.limit_request_field_size
        head_timeout_s = _seconds(environ, "RESTARTIX_HTTP_HEAD_TIMEOUT_S", 5.0)
        return cls(
            request_line_max_bytes=line if 0 < line < _LINE_MOST_BYTES else _LINE_MOST_BYTES,
            fields_max=fields if 0 < fields < _FIELDS_MOST else _FIELDS_MOST,
            field_max_bytes=field if field > 0 else _FIELD_MOST_BYTES,
            body_max_bytes=int(_number(environ, "RESTARTIX_HTTP_BODY_MAX_BYTES", 16 * _MIB, 1024, 1024 * _MIB)),
            keep_alive_s=float(cfg.keepalive),
            head_timeout_s=head_timeout_s,
            stall_timeout_s=_seconds(environ, "RESTARTIX_HTTP_STALL_TIMEOUT_S", 10.0),
            request_timeout_s=_seconds(environ, "RESTARTIX_HTTP_REQUEST_TIMEOUT_S", 60.0),
        )


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    return _number(environ, name, default, 0.1, 3600)


def _number(environ: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, not {text!r}") from None
    if not least <= value <= most:
        raise ValueError(f"{name} must be between {least:g} and {most:g}, not {text}")
    return value
