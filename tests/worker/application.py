"""The WSGI application behind the workers under test: its paths do what an application may do, or should not."""

# ruff: noqa: ARG001 - every page has WSGI's signature, whatever it looks at

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gevent  # type: ignore[import-untyped]

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], None]]

_seen: deque[str] = deque(maxlen=1000)
_TEXT = ("Content-Type", "text/plain")


def app(environ: Environ, start_response: Start) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path != "/seen":
        _seen.append(path)
    page = PAGES.get(path.partition(";")[0], echo)
    return page(environ, start_response)


def on_refusal(origin: str | None, code: str) -> list[tuple[str, str]]:
    """What ours asks the application before it refuses a request itself."""
    fields = [("X-Code", code)]
    return [*fields, ("Access-Control-Allow-Origin", origin)] if origin == "https://portal.example" else fields


app.on_refusal = on_refusal  # type: ignore[attr-defined]


def echo(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Everything of the request, its whole body included."""
    body = environ["wsgi.input"].read()
    told = {key: value for key, value in environ.items() if isinstance(value, str | bool)}
    answer = json.dumps({"environ": told, "body": body.decode("latin-1")}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]


def seen(environ: Environ, start_response: Start) -> Iterable[bytes]:
    answer = json.dumps(list(_seen)).encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


def unread(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "6")])
    return [b"unread"]


def caught(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Answers itself where the body cannot be read, as the service does."""
    try:
        environ["wsgi.input"].read()
    except Exception as error:
        start_response("422 Unprocessable", [("Content-Length", "6")])
        return [type(error).__name__.encode()[:6]]
    start_response("200 OK", [("Content-Length", "4")])
    return [b"read"]


def pieces(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """The body as three ways of reading give it."""
    stream = environ["wsgi.input"]
    told = [stream.read(3), stream.readline(), stream.readline(2), *stream.readlines(), stream.read(5)]
    answer = json.dumps([piece.decode("latin-1") for piece in told]).encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


def stream(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [_TEXT])
    return iter([b"one ", b"", b"two"])


def single(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [_TEXT])
    return [b"single"]


def empty(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [_TEXT])
    return []


def written(environ: Environ, start_response: Start) -> Iterable[bytes]:
    write = start_response("200 OK", [_TEXT])
    write(b"written ")
    return [b"and returned"]


def no_content(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("204 No Content", [("Content-Length", "4")])
    return [b"body"]


def not_modified(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("304 Not Modified", [("ETag", '"1"')])
    return [b"body"]


def too_long(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "3")])
    return [b"more than three"]


def too_short(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "10")])
    return [b"short"]


def failing(environ: Environ, start_response: Start) -> Iterable[bytes]:
    raise RuntimeError("secret detail")


def failing_late(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response("200 OK", [_TEXT])
    yield b"begun"
    raise RuntimeError("secret detail")


def recovering(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """The first answer replaced, as PEP 3333 lets an error handler."""
    start_response("200 OK", [("X-First", "yes")])
    try:
        raise RuntimeError("found out later")
    except RuntimeError as error:
        start_response("503 Service Unavailable", [("Content-Length", "0")], (type(error), error, None))
    return [b""]


def twice(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [])
    start_response("200 OK", [])
    return [b"never"]


def unstarted(environ: Environ, start_response: Start) -> Iterable[bytes]:
    return [b"never"]


def text(environ: Environ, start_response: Start) -> Iterable[Any]:
    start_response("200 OK", [_TEXT])
    return ["not bytes"]


def injecting(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """A header as the query says, to see what the server lets out."""
    start_response(*INJECTIONS[environ["QUERY_STRING"]])
    return [b"x"]


def own_fields(environ: Environ, start_response: Start) -> Iterable[bytes]:
    fields = [("Connection", "keep-alive"), ("Transfer-Encoding", "chunked"), ("Date", "never"), ("Server", "mine")]
    start_response("200 OK", [*fields, ("Content-Length", "1")])
    return [b"x"]


def slow(environ: Environ, start_response: Start) -> Iterable[bytes]:
    gevent.sleep(float(environ["QUERY_STRING"]))
    return single(environ, start_response)


def large(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", str(8 * 1024 * 1024))])
    return (b"x" * 1024 * 1024 for _ in range(8))


class _Closing(list[bytes]):
    def close(self) -> None:
        _seen.append("/closed")


def closing(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [_TEXT])
    return _Closing([b"a", b"b"])


INJECTIONS: dict[str, tuple[str, list[tuple[str, Any]]]] = {
    "value-crlf": ("200 OK", [("X-A", "a\r\nX-Injected: yes")]),
    "value-lf": ("200 OK", [("X-A", "a\nX-Injected: yes")]),
    "value-nul": ("200 OK", [("X-A", "a\0b")]),
    "value-wide": ("200 OK", [("X-A", "\u2028")]),
    "value-bytes": ("200 OK", [("X-A", b"a")]),
    "name-crlf": ("200 OK", [("X-A: a\r\nX-Injected", "yes")]),
    "name-space": ("200 OK", [("X A", "yes")]),
    "name-empty": ("200 OK", [("", "yes")]),
    "status-crlf": ("200 OK\r\nX-Injected: yes", []),
    "status-word": ("OK", []),
    "length-word": ("200 OK", [("Content-Length", "one")]),
}
PAGES: dict[str, Callable[[Environ, Start], Iterable[Any]]] = {
    "/seen": seen,
    "/unread": unread,
    "/caught": caught,
    "/pieces": pieces,
    "/stream": stream,
    "/single": single,
    "/empty": empty,
    "/written": written,
    "/no-content": no_content,
    "/not-modified": not_modified,
    "/too-long": too_long,
    "/too-short": too_short,
    "/failing": failing,
    "/failing-late": failing_late,
    "/recovering": recovering,
    "/twice": twice,
    "/unstarted": unstarted,
    "/text": text,
    "/injecting": injecting,
    "/own-fields": own_fields,
    "/slow": slow,
    "/large": large,
    "/closing": closing,
}
