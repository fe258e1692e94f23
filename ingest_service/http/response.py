"""An application's answer: checked, framed, and sent in as few pieces as it comes in.

After PEP 3333 and RFC 9112. What an application may not say (a line end in a header, a second Content-Length) is its
error and becomes 500; the connection's own fields (Connection, Transfer-Encoding, Date ...) are the server's to say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from types import TracebackType
from typing import Protocol

from ingest_service.http.errors import RequestError

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
Headers = list[tuple[str, str]]

_STATUS = re.compile(r"[2-9][0-9]{2}(?: [ \t\x21-\x7e\x80-\xff]*)?")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[ \t\x21-\x7e\x80-\xff]*")
_OWN_FIELDS = frozenset(
    (
        "connection",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "server",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    )
)
_REMEMBERED_MAX = 1024
_REMEMBERED_VALUE_MAX = 128
_CLOSE = b"Connection: close\r\n"
_KEEP_ALIVE = b"Connection: keep-alive\r\n"


class ResponseError(Exception):
    """The application's answer cannot be sent. Its fault, not the peer's."""


class FieldCache:
    """Fields and status lines that applications say again and again, checked and encoded once. Bounded.

    A field becomes ``(is_length, line)``; the line is empty where the field is the server's own to say.
    """

    def __init__(self) -> None:
        self.fields: dict[tuple[str, str], tuple[bool, bytes]] = {}
        self.statuses: dict[str, tuple[int, bytes]] = {}

    def status(self, status: str) -> tuple[int, bytes]:
        """Raises ``ResponseError``, ``TypeError``."""
        if not isinstance(status, str):
            raise TypeError(f"a status must be a string, not {status!r}")
        if not _STATUS.fullmatch(status):
            raise ResponseError("not a final status")
        known = int(status[:3]), b"HTTP/1.1 %s\r\n" % status.encode("latin-1")
        if len(self.statuses) < _REMEMBERED_MAX:
            self.statuses[status] = known
        return known

    def field(self, name: str, value: str) -> tuple[bool, bytes]:
        """Raises ``ResponseError``, ``TypeError``. Its message holds no value: that may be a secret."""
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError("a header's name and value must be strings")
        if not _NAME.fullmatch(name):
            raise ResponseError("not a header name")
        if not _VALUE.fullmatch(value):
            raise ResponseError(f"{name} holds what no header may")
        lower, stripped = name.lower(), value.strip(" \t")
        is_length = lower == "content-length"
        if is_length and not (stripped.isascii() and stripped.isdigit()):
            raise ResponseError("Content-Length is not a number")
        line = b"" if lower in _OWN_FIELDS else f"{name}: {stripped}\r\n".encode("latin-1")
        if not is_length and len(value) <= _REMEMBERED_VALUE_MAX and len(self.fields) < _REMEMBERED_MAX:
            self.fields[name, value] = is_length, line
        return is_length, line


class ResponseSink(Protocol):
    """Where an answer goes."""

    fields: FieldCache

    def date_line(self) -> bytes: ...

    def may_keep_alive(self) -> bool:
        """Whether the connection may serve another request after this answer."""
        ...

    def send(self, data: bytes) -> None: ...


class Response:
    """One answer. ``start`` is PEP 3333's ``start_response``; ``finish`` sends what the application returned.

    ``status``, ``headers`` and ``sent`` (body bytes) are what gunicorn's access log reads.
    """

    __slots__ = (
        "_chunked",
        "_code",
        "_http_1_1",
        "_length",
        "_lines",
        "_sink",
        "begun",
        "headers",
        "is_head",
        "keep",
        "sent",
        "status",
    )  # fmt: skip

    def __init__(self, sink: ResponseSink, *, is_head: bool, http_1_1: bool) -> None:
        self._sink = sink
        self.is_head = is_head
        self._http_1_1 = http_1_1
        self._code = 0
        self._length: int | None = None
        self._lines: list[bytes] = []
        self._chunked = False
        self.begun = False
        self.keep = False
        self.status = ""
        self.headers: Headers = []
        self.sent = 0

    def start(self, status: str, headers: Headers, exc_info: ExcInfo | None = None) -> Callable[[bytes], None]:
        """Raises ``ResponseError``, ``TypeError``, or ``exc_info``'s exception where the answer has begun."""
        if exc_info is not None and exc_info[1] is not None:
            try:
                if self.begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._code:
            raise ResponseError("start_response was called twice")
        cache = self._sink.fields
        code, line = cache.statuses.get(status) or cache.status(status)
        lines = [line, self._sink.date_line()]
        length = None
        known = cache.fields
        for name, value in headers:
            is_length, line = known.get((name, value)) or cache.field(name, value)
            if is_length:
                if length is not None and length != int(value):
                    raise ResponseError("two Content-Lengths")
                length = int(value)
            elif line:
                lines.append(line)
        self._code, self._length, self._lines = code, length, lines
        self.status, self.headers = status, headers
        return self.write

    def finish(self, result: Iterable[bytes]) -> None:
        """Send all of ``result``. Raises ``ResponseError``, ``TypeError``, and whatever the sink or ``result`` do."""
        if (type(result) is list or type(result) is tuple) and len(result) < 2 and not self.begun:
            piece = result[0] if result else b""
            if type(piece) is not bytes:
                raise TypeError(f"a body is bytes, not {type(piece).__name__}")
            if self._length is None and (piece or not self.is_head):
                self._length = len(piece)
            self._begin(piece)
        else:
            for piece in result:
                if piece:
                    self.write(piece)
            if not self.begun:
                self._begin(b"")
        if self._chunked:
            self._sink.send(b"0\r\n\r\n")
        elif self._length is not None and self._has_body and self.sent < self._length:
            self.keep = False  # the peer waits for what will not come

    def write(self, data: bytes) -> None:
        """PEP 3333's ``write``: sent at once."""
        if not isinstance(data, bytes):
            raise TypeError(f"a body is bytes, not {type(data).__name__}")
        if not data:
            return
        if not self.begun:
            self._begin(data)
        elif data := self._take(data):
            self._sink.send(self._framed(data))

    @property
    def _has_body(self) -> bool:
        return not self.is_head and self._code not in (204, 304)

    def _begin(self, data: bytes) -> None:
        if not self._code:
            raise ResponseError("start_response was not called")
        lines = self._lines
        self.keep = self._sink.may_keep_alive()
        if self._length is not None:
            if self._code != HTTPStatus.NO_CONTENT and (self._code != HTTPStatus.NOT_MODIFIED or self._length):
                lines.append(b"Content-Length: %d\r\n" % self._length)
        elif self._has_body:
            if self._http_1_1:
                self._chunked = True
                lines.append(b"Transfer-Encoding: chunked\r\n")
            else:
                self.keep = False  # the end of the connection is the end of the body
        if not self.keep:
            lines.append(_CLOSE)
        elif not self._http_1_1:
            lines.append(_KEEP_ALIVE)
        lines.append(b"\r\n")
        if data and (data := self._take(data)):
            lines.append(self._framed(data))
        self.begun = True
        self._sink.send(b"".join(lines))

    def _take(self, data: bytes) -> bytes:
        """As much of ``data`` as the peer will take for this answer's body."""
        if not self._has_body:
            return b""
        if self._length is not None and self.sent + len(data) > self._length:
            data = data[: self._length - self.sent]
        self.sent += len(data)
        return data

    def _framed(self, data: bytes) -> bytes:
        return b"%X\r\n%b\r\n" % (len(data), data) if self._chunked else data


def refusal(error: RequestError, date_line: bytes, fields: bytes, *, is_head: bool = False) -> bytes:
    """The server's own last answer on a connection: a problem document (RFC 9457) with nothing of what was sent.

    ``fields``: header lines the application wants on it, each with its line end.
    """
    phrase = HTTPStatus(error.http_status).phrase
    problem = {"type": "about:blank", "title": phrase, "status": error.http_status, "code": error.code}
    body = json.dumps({**problem, "detail": error.why}, separators=(",", ":")).encode("ascii")
    head = b"HTTP/1.1 %d %b\r\n%b%bContent-Type: application/problem+json\r\nContent-Length: %d\r\n%b\r\n" % (
        error.http_status,
        phrase.encode("ascii"),
        date_line,
        fields,
        len(body),
        _CLOSE,
    )
    return head if is_head else head + body
