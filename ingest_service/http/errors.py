"""What ends a request early. The type says whose doing it was; what is said to the peer holds none of its own bytes."""

from __future__ import annotations

# A status's one code, as it stands in the answer; ``ingest_service.problems`` says what each means.
CODES = {
    400: "bad_request",
    404: "not_found",
    408: "request_timeout",
    413: "body_too_large",
    414: "target_too_long",
    417: "expectation_unknown",
    431: "head_too_large",
    500: "internal",
    501: "not_implemented",
    505: "version_unsupported",
}


class RequestError(Exception):
    """The peer sent what may not be sent. ``http_status`` is the answer; nothing after it on the connection is read."""

    def __init__(self, http_status: int, why: str) -> None:
        super().__init__(f"{http_status}: {why}")
        self.http_status = http_status
        self.code = CODES[http_status]
        self.why = why


class TooSlowError(RequestError, TimeoutError):
    """The peer took longer than it may: 408, which tells a client to try again, where 400 would tell it not to."""

    def __init__(self, why: str) -> None:
        super().__init__(408, why)


class PeerGoneError(ConnectionError):
    """The peer closed or reset the connection; there is nobody to answer."""
