"""Reading a request safely: its body within bounds, whatever framing it came in, and its media type."""

from __future__ import annotations

import falcon

from ingest_service.problems import ProblemError


def require_media_type(req: falcon.Request, expected: str) -> None:
    """Raises ``ProblemError`` 415 unless the body is declared as ``expected`` (parameters such as charset allowed)."""
    declared = (req.content_type or "").partition(";")[0].strip().lower()
    if declared != expected:
        raise ProblemError(
            415, "media_type_unsupported", f"Content-Type must be {expected}, not {declared or 'absent'}"
        )


def read_body(req: falcon.Request, max_bytes: int) -> bytes:
    """The whole body, chunked or with a length. Raises ``ProblemError`` 413 beyond ``max_bytes``, 400 if cut short."""
    environ = req.env
    declared = environ.get("CONTENT_LENGTH")
    try:
        length = int(declared) if declared else None
    except ValueError:
        raise ProblemError(400, "body_unreadable", "Content-Length is not a number") from None
    if length is None and not environ.get("wsgi.input_terminated"):
        return b""
    if length is not None and length > max_bytes:
        raise ProblemError(413, "body_too_large", f"the body has {length} bytes; at most {max_bytes} are taken")
    wanted_bytes = max_bytes + 1 if length is None else length
    parts: list[bytes] = []
    try:
        while wanted_bytes > 0:
            part = environ["wsgi.input"].read(wanted_bytes)
            if not part:
                break
            parts.append(part)
            wanted_bytes -= len(part)
    except Exception as error:  # each server has its own: bad chunks, a connection that closed, a timeout
        raise ProblemError(400, "body_unreadable", "the body could not be read to its end") from error
    body = b"".join(parts)
    if length is None and len(body) > max_bytes:
        raise ProblemError(413, "body_too_large", f"the body has more than {max_bytes} bytes")
    if length is not None and len(body) < length:
        raise ProblemError(400, "body_unreadable", f"the body ends after {len(body)} of {length} bytes")
    return body
