"""The chunked transfer coding (RFC 9112 section 7.1): bytes in as they come, body out. Pure."""

from __future__ import annotations

import re
from enum import Enum, auto

from ingest_service.http.errors import RequestError

_LINE_MAX_BYTES = 1024
_SIZE_DIGITS_MAX = 12
_OVERHEAD_MAX_BYTES = 16 * 1024
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
# chunk = size [ *( BWS ";" BWS name [ BWS "=" BWS value ] ) ]
_SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]+)((?:[ \t]*;[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*)"
)
_TRAILER = re.compile(rb"(" + _TOKEN + rb"):[\t\x20-\x7e\x80-\xff]*")
# These frame, route or authenticate; after the body it is too late for them (RFC 9110 section 6.5.1).
_FORBIDDEN_TRAILERS = frozenset(
    (b"authorization", b"content-length", b"expect", b"host", b"te", b"trailer", b"transfer-encoding")
)


class _State(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()
    DONE = auto()


class ChunkedDecoder:
    """One body. Extensions and trailers are checked and left out."""

    def __init__(self, body_max_bytes: int, trailers_max: int) -> None:
        self._body_max_bytes = body_max_bytes
        self._trailers_left = trailers_max
        self._state = _State.SIZE
        self._unread = b""
        self._chunk_left = 0
        self._body_bytes = 0
        self._overhead_bytes = 0

    @property
    def done(self) -> bool:
        return self._state is _State.DONE

    @property
    def rest(self) -> bytes:
        """What was fed beyond the end of the body: the next request's. Meaningful once ``done``."""
        return self._unread if self.done else b""

    def feed(self, data: bytes) -> bytes:
        """The body bytes that ``data`` brings. Raises ``RequestError`` 400, 413 or 431."""
        buffer = self._unread + data if self._unread else data
        body: list[bytes] = []
        at = 0
        while self._state is not _State.DONE:
            if self._state is _State.DATA:
                piece = buffer[at : at + self._chunk_left]
                if piece:
                    body.append(piece)
                at += len(piece)
                self._chunk_left -= len(piece)
                if self._chunk_left:
                    break
                self._state = _State.DATA_END
            if self._state is _State.DATA_END:
                if not b"\r\n".startswith(end := buffer[at : at + 2]):
                    raise RequestError(400, "a chunk without its end")
                if len(end) < 2:
                    break
                at += 2
                self._state = _State.SIZE
            if (line := _line(buffer, at)) is None:
                break
            at += len(line) + 2
            if self._state is _State.SIZE:
                self._begin_chunk(line)
            else:
                self._trailer(line)
        self._unread = buffer[at:]
        return b"".join(body)

    def _begin_chunk(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None or len(match[1]) > _SIZE_DIGITS_MAX:
            raise RequestError(400, "not a chunk size")
        size = int(match[1], 16)
        self._body_bytes += size
        if self._body_bytes > self._body_max_bytes:
            raise RequestError(413, "body too large")
        # Framing may be as much as the body and 16 KiB more: enough for any sender, too little to burn time with.
        self._overhead_bytes = max(0, self._overhead_bytes + len(line) - 16 - size)
        if self._overhead_bytes > _OVERHEAD_MAX_BYTES:
            raise RequestError(400, "more framing than body")
        self._chunk_left = size
        self._state = _State.DATA if size else _State.TRAILERS

    def _trailer(self, line: bytes) -> None:
        if not line:
            self._state = _State.DONE
            return
        match = _TRAILER.fullmatch(line)
        if match is None or match[1].lower() in _FORBIDDEN_TRAILERS:
            raise RequestError(400, "not a trailer")
        self._trailers_left -= 1
        if self._trailers_left < 0:
            raise RequestError(431, "too many trailers")


def _line(buffer: bytes, at: int) -> bytes | None:
    """The line that begins at ``at``, None if its end has not come."""
    end = buffer.find(b"\r\n", at)
    line = buffer[at : end if end >= 0 else len(buffer)]
    if b"\n" in line or b"\r" in line[:-1] or (end >= 0 and line.endswith(b"\r")):
        raise RequestError(400, "a bare CR or LF")
    if len(line) > _LINE_MAX_BYTES:
        raise RequestError(400, "a chunk's line too long")
    return line if end >= 0 else None
