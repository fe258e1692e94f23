"""What ends a request early. The type says whose doing it was; what is said to the peer holds none of its own bytes."""

from __future__ import annotations


class RequestError(Exception):
    """The peer sent what may not be sent. ``http_status`` is the answer; nothing after it on the connection is read."""

    def __init__(self, http_status: int, why: str) -> None:
        super().__init__(f"{http_status}: {why}")
        self.http_status = http_status
        self.why = why


class TooSlowError(RequestError, TimeoutError):
    """The peer took longer than it may: 408, which tells a client to try again, where 400 would tell it not to."""

    def __init__(self, why: str) -> None:
        super().__init__(408, why)


class PeerGoneError(ConnectionError):
    """The peer closed or reset the connection; there is nobody to answer."""
