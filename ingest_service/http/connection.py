"""One connection: request after request, each read within its bounds, given to the application, answered in order."""

from __future__ import annotations

import _socket
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any, Protocol

from ingest_service.http.body import Body, ChunkedBody
from ingest_service.http.chunked import ChunkedDecoder
from ingest_service.http.errors import PeerGoneError, RequestError, TooSlowError
from ingest_service.http.head import Environ, Head, HeadReader, RepeatedHead, check_unfinished, origin_of
from ingest_service.http.limits import HttpLimits
from ingest_service.http.response import FieldCache, Response, refusal
from ingest_service.http.transport import RECEIVE_MAX_BYTES, ReceiveBuffer, Transport

WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
_LINGER_MAX_BYTES = 256 * 1024
_FIRST_BYTE_S = 5.0  # where connections are not kept
_CR = 13
_NOTHING = Body(None, b"", 0, awaits_continue=False)


class Host(Protocol):
    """What a worker gives to all of its connections."""

    wsgi: WsgiApp
    limits: HttpLimits
    buffer: ReceiveBuffer
    fields: FieldCache
    date_line: bytes
    observed: bool  # someone wants `before` and `after` called

    def now_s(self) -> float:
        """Monotonic."""
        ...

    def count_request(self) -> None: ...

    def is_draining(self) -> bool:
        """No further request is to be begun on a connection that has been answered."""
        ...

    def before(self, request: RequestView) -> None: ...

    def after(self, request: RequestView, environ: Environ, response: Response, took: timedelta) -> None: ...

    def application_failed(self, method: str, path: str) -> None:
        """An exception is being handled."""
        ...

    def refused(self, origin: str | None, error: RequestError) -> bytes:
        """The server itself refuses a request: header lines for the answer."""
        ...


class RequestView:
    """A request as gunicorn's hooks and access log look at one."""

    def __init__(self, head: Head) -> None:
        environ = head.environ
        self.method = head.method
        self.uri = str(environ["RAW_URI"])
        self.path = str(environ["PATH_INFO"])
        self.query = str(environ["QUERY_STRING"])
        self.version = (1, 1) if head.http_1_1 else (1, 0)
        self.headers = [
            (key.removeprefix("HTTP_").replace("_", "-"), str(value))
            for key, value in environ.items()
            if key.startswith("HTTP_") or key in ("CONTENT_TYPE", "CONTENT_LENGTH")
        ]


class Connection:
    """Serves one socket until it closes. ``environ``: what is the same for all of its requests."""

    __slots__ = (
        "_awaits_continue",
        "_body",
        "_environ",
        "_heads",
        "_host",
        "_limits",
        "_pending",
        "_raw",
        "_repeated",
        "_request_deadline_s",
        "_response",
        "_stays",
        "_transport",
        "fields",
    )

    def __init__(self, host: Host, sock: _socket.socket, heads: HeadReader, environ: Environ) -> None:
        self._host = host
        self._limits = host.limits
        self._heads = heads
        self._environ = environ
        self.fields = host.fields
        self._transport = Transport(sock, host.buffer, host.now_s)
        self._pending = b""
        self._raw = b""  # the head being served, or what has come of it; empty between requests
        self._repeated: RepeatedHead | None = None
        self._request_deadline_s = 0.0
        self._response: Response | None = None
        self._body = _NOTHING
        self._stays = False

    def run(self) -> None:
        """Until the peer, a bound or the application ends it. Closes the socket, whatever happens."""
        try:
            while self._serve_one():
                pass
        except RequestError as error:
            self._refuse(error)
        except PeerGoneError:
            pass
        finally:
            self._transport.close()

    def expire(self, now_s: float) -> None:
        """Ends what has waited for the peer too long."""
        self._transport.expire(now_s)

    def stop_idling(self, *, is_patient: bool) -> None:
        """The worker drains: end the wait for a request that has not begun; if ``is_patient``, only for one that would
        follow another, because a peer that has just connected would only have to connect again.
        """
        if not self._raw and (self._repeated is not None or not is_patient):
            self._transport.stop_waiting()

    def _serve_one(self) -> bool:
        """One request. True if another may follow."""
        self._response = None
        found = self._next_head()
        if found is None:
            return False
        raw, received = found
        self._raw = raw
        head = self._read_head(raw)
        body = self._begin_body(head, received)
        self._stays = head.keep_alive and self._limits.keep_alive_s > 0
        self._host.count_request()
        response = self._response = Response(self, is_head=head.method == "HEAD", http_1_1=head.http_1_1)
        if self._host.observed:
            self._answer_observed(head, response)
        else:
            self._answer(head, response)
        stays = response.keep and (not body.unread_bytes or body.discard(self._limits.discard_max_bytes))
        stays = stays and body.unread_bytes == 0
        body.detach()
        if not stays:
            self._close_gently()
            return False
        if rest := body.rest:
            self._pending = rest
        self._raw = b""
        return True

    def _next_head(self) -> tuple[bytes, bytes] | None:
        """The next head, without its closing empty line, and what came after it. None if the peer has no more."""
        host, limits = self._host, self._limits
        if pending := self._pending:  # the peer did not wait for the last answer; the other peers do
            self._pending = b""
            self._transport.let_others_run()
            return self._rest_of_head(pending)
        try:
            count = self._transport.receive(RECEIVE_MAX_BYTES, host.now_s() + (limits.keep_alive_s or _FIRST_BYTE_S))
        except TooSlowError:
            count = self._transport.receive_now(RECEIVE_MAX_BYTES)  # what came at the last moment is still served
        if not count:
            return None
        data, view = host.buffer.data, host.buffer.view
        end = data.find(b"\r\n\r\n", 0, count)
        if end <= 0 or data[0] == _CR:
            return self._rest_of_head(bytes(view[:count]))
        self._request_deadline_s = host.now_s() + limits.request_timeout_s
        return bytes(view[:end]), bytes(view[end + 4 : count])

    def _rest_of_head(self, data: bytes) -> tuple[bytes, bytes] | None:
        host, limits = self._host, self._limits
        begun_s = host.now_s()
        self._request_deadline_s = begun_s + limits.request_timeout_s
        while True:
            self._raw = data
            start = 2 if data.startswith(b"\r\n") else 0  # one empty line may come before (RFC 9112 section 2.2)
            end = data.find(b"\r\n\r\n", start)
            if end >= 0:
                if end - start > limits.head_max_bytes:
                    raise RequestError(431, "head too large")
                return data[start:end], data[end + 4 :]
            check_unfinished(data[start:], limits)
            count = self._transport.receive(RECEIVE_MAX_BYTES, begun_s + limits.head_timeout_s)
            if not count:
                return None
            data += host.buffer.view[:count]

    def _read_head(self, raw: bytes) -> Head:
        if self._repeated is not None and (head := self._repeated.read(raw)) is not None:
            return head
        head = self._heads.read(raw, self._environ.copy())
        self._repeated = self._heads.repeatable(raw, head)
        return head

    def _begin_body(self, head: Head, received: bytes) -> Body:
        """Puts ``wsgi.input`` into the environ; gives what is still to come on the connection."""
        limits, environ, length = self._limits, head.environ, head.length_bytes
        if head.chunked:
            decoder = ChunkedDecoder(limits.body_max_bytes, limits.fields_max)
            body: Body = ChunkedBody(self, received, decoder, awaits_continue=head.expects_continue)
        elif len(received) >= length:
            if len(received) > length:
                received, self._pending = received[:length], received[length:]
            environ["wsgi.input"] = BytesIO(received)
            self._body = _NOTHING
            return _NOTHING
        elif length > limits.body_max_bytes:
            raise RequestError(413, "body too large")
        else:
            left = length - len(received)
            body = Body(self, received, left, awaits_continue=head.expects_continue)
        environ["wsgi.input"] = self._body = body
        return body

    def _answer(self, head: Head, response: Response) -> None:
        result: Iterable[bytes] = ()
        try:
            try:
                result = self._host.wsgi(head.environ, response.start)
                response.finish(result)
            finally:
                if hasattr(result, "close"):
                    result.close()
        except (RequestError, PeerGoneError):
            raise
        except (Exception, SystemExit):
            self._host.application_failed(head.method, str(head.environ.get("PATH_INFO")))
            raise RequestError(500, "the application failed") from None

    def _answer_observed(self, head: Head, response: Response) -> None:
        request, began = RequestView(head), datetime.now()
        self._host.before(request)
        try:
            self._answer(head, response)
        finally:
            self._host.after(request, head.environ, response, datetime.now() - began)

    def _refuse(self, error: RequestError) -> None:
        """The server's own last word, unless an answer has begun: then only the end tells the peer it is not whole."""
        response = self._response
        if response is not None and response.begun:
            return
        host = self._host
        fields = host.refused(origin_of(self._raw), error)
        try:
            is_head = response is not None and response.is_head
            self.send(refusal(error, host.date_line, fields, is_head=is_head))
        except (RequestError, PeerGoneError):
            return
        self._close_gently()

    def _close_gently(self) -> None:
        """Let the peer take the answer: a socket closed over unread bytes resets, and takes the answer back."""
        transport, deadline_s = self._transport, self._host.now_s() + self._limits.linger_s
        transport.end_sending()
        count = 0
        try:
            while count < _LINGER_MAX_BYTES and (received := transport.receive(RECEIVE_MAX_BYTES, deadline_s)):
                count += received
        except (TooSlowError, PeerGoneError):
            return

    # For the body (BodySource).

    def receive_body(self, most_bytes: int) -> bytes:
        now_s = self._host.now_s()
        deadline_s = min(now_s + self._limits.stall_timeout_s, self._request_deadline_s)
        count = self._transport.receive(most_bytes, deadline_s)
        if not count:
            raise PeerGoneError("the connection closed before the body's end")
        return bytes(self._host.buffer.view[:count])

    def finish_within(self, timeout_s: float) -> None:
        self._request_deadline_s = min(self._request_deadline_s, self._host.now_s() + timeout_s)

    def send_continue(self) -> None:
        if self._response is None or not self._response.begun:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    # For the response (ResponseSink).

    def date_line(self) -> bytes:
        return self._host.date_line

    def may_keep_alive(self) -> bool:
        if not self._stays or self._body.failed or self._host.is_draining():
            return False
        # What will not be read away cannot be followed by another request.
        unread = self._body.unread_bytes
        return not self._body.awaits_continue and (unread is None or unread <= self._limits.discard_max_bytes)

    def send(self, data: bytes) -> None:
        limits = self._limits
        self._transport.send(data, limits.stall_timeout_s, limits.request_timeout_s)
