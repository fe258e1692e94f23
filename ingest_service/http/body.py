"""``wsgi.input``: a request's body, taken from the connection only as far as the application reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ingest_service.http.chunked import ChunkedDecoder
from ingest_service.http.errors import PeerGoneError, RequestError
from ingest_service.http.transport import RECEIVE_MAX_BYTES

_DISCARD_STEP_BYTES = 16 * 1024


class BodySource(Protocol):
    """Where the body's bytes come from."""

    def receive_body(self, most_bytes: int) -> bytes:
        """The next bytes of the connection, at least one. Raises ``TooSlowError``, ``PeerGoneError``."""
        ...

    def finish_within(self, timeout_s: float) -> None:
        """From now on the whole of the body has at most so long, and never longer than it had before."""
        ...

    def send_continue(self) -> None:
        """Says that the body is wanted (100), unless an answer has begun. Raises as ``receive_body`` does."""
        ...


class Body:
    """A body with a length. PEP 3333's input stream; ends by itself (``wsgi.input_terminated``).

    ``received`` is what came with the head. A body that ends early raises ``PeerGoneError``: a short read would be
    taken for the whole. ``awaits_continue``: the peer holds the body back until it is told 100.
    """

    __slots__ = ("_buffer", "_left", "_source", "awaits_continue", "failed")

    def __init__(self, source: BodySource | None, received: bytes, left_bytes: int, *, awaits_continue: bool) -> None:
        self._source = source
        self._buffer = received
        self._left = left_bytes
        self.failed = False  # where the body ends, and so where the next request begins, will never be known
        self.awaits_continue = awaits_continue and left_bytes > 0 and not received

    @property
    def unread_bytes(self) -> int | None:
        """How much is still to be read or discarded; None where only its end will tell."""
        return len(self._buffer) + self._left

    @property
    def rest(self) -> bytes:
        """Bytes received beyond the body's end, once it is read."""
        return b""

    def detach(self) -> None:
        """The request is over: an application that still holds this reads no bytes of the next one."""
        self._source = None

    def finish_within(self, timeout_s: float) -> None:
        """The rest has to come within ``timeout_s``, else reading raises ``TooSlowError``: no timer of the reader's own
        is needed.
        """
        if self._source is not None:
            self._source.finish_within(timeout_s)

    def read(self, size: int | None = -1) -> bytes:
        if not self._left and (size is None or size < 0 or size >= len(self._buffer)):
            whole, self._buffer = self._buffer, b""
            return whole
        pieces, count = [self._buffer], len(self._buffer)
        while (size is None or size < 0 or count < size) and (piece := self._pull()):
            pieces.append(piece)
            count += len(piece)
        data = b"".join(pieces)
        if size is None or size < 0 or size >= count:
            self._buffer = b""
            return data
        self._buffer = data[size:]
        return data[:size]

    def readline(self, size: int | None = -1) -> bytes:
        limit = -1 if size is None else size
        data = self._buffer
        while (at := data.find(b"\n")) < 0 and (limit < 0 or len(data) < limit) and (piece := self._pull()):
            data += piece
        end = len(data) if at < 0 else at + 1
        if 0 <= limit < end:
            end = limit
        self._buffer = data[end:]
        return data[:end]

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        lines, count = [], 0
        while line := self.readline():
            lines.append(line)
            count += len(line)
            if hint is not None and 0 < hint <= count:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def discard(self, most_bytes: int) -> bool:
        """Read the rest away; False if it is more than that, or cannot be read. Raises ``PeerGoneError``."""
        if self.awaits_continue or self.failed:
            return False
        count = 0
        try:
            while piece := self.read(_DISCARD_STEP_BYTES):
                count += len(piece)
                if count > most_bytes:
                    return False
        except RequestError:
            return False
        return True

    def _pull(self) -> bytes:
        if not self._left:
            return b""
        piece = self._receive(min(self._left, RECEIVE_MAX_BYTES))
        self._left -= len(piece)
        return piece

    def _receive(self, most_bytes: int) -> bytes:
        if self._source is None:
            raise PeerGoneError("the request is over")
        try:
            if self.awaits_continue:
                self.awaits_continue = False
                self._source.send_continue()
            return self._source.receive_body(most_bytes)
        except (RequestError, PeerGoneError):
            self.failed = True
            raise


class ChunkedBody(Body):
    """A body whose end its own framing tells. After an error every further read raises it again."""

    __slots__ = ("_decoder", "_error")

    def __init__(
        self, source: BodySource | None, received: bytes, decoder: ChunkedDecoder, *, awaits_continue: bool
    ) -> None:
        super().__init__(source, b"", 1, awaits_continue=awaits_continue and not received)
        self._decoder = decoder
        self._error: RequestError | None = None
        if received:
            self._buffer = self._decode(received)

    @property
    def unread_bytes(self) -> int | None:
        return len(self._buffer) if self._decoder.done else None

    @property
    def rest(self) -> bytes:
        return self._decoder.rest

    def _decode(self, data: bytes) -> bytes:
        try:
            piece = self._decoder.feed(data)
        except RequestError as error:  # raised by the read that comes to it
            self._error = error
            self.failed = True
            return b""
        self._left = 0 if self._decoder.done else 1
        return piece

    def _pull(self) -> bytes:
        while self._left:
            if self._error is not None:
                raise self._error
            if piece := self._decode(self._receive(RECEIVE_MAX_BYTES)):
                return piece
        return b""
