"""The readers against two others: what ours takes, gunicorn's reader takes and means the same by; so does llhttp.

In one process, on generated requests with faults put in at random. That ours may refuse more is the point; that it
takes nothing another would read differently is what keeps a proxy in front and the worker behind of one mind.
"""

from __future__ import annotations

from typing import Any

import httptools
import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.http import wsgi  # type: ignore[import-untyped]
from gunicorn.http.parser import RequestParser  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_service.http.chunked import ChunkedDecoder
from ingest_service.http.errors import RequestError
from ingest_service.http.head import Environ, Head, HeadReader
from ingest_service.http.limits import HttpLimits

_LIMITS = HttpLimits()
_METHODS = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE"]
_NAMES = [
    "Host", "Content-Length", "content-length", "Transfer-Encoding", "Connection", "Expect", "Content-Type", "Origin",
    "Authorization", "Batch-Seq", "X_Under", "X-Under", "X-A", "Cookie",
]  # fmt: skip
_VALUES = [
    "", "a", "a.example:80", "0", "5", "17", "0005", "chunked", "Chunked", "gzip, chunked", "close", "keep-alive",
    "100-continue", "+5", "5,5", "a\tb", "Bearer x.y.z", "\xe9", "1 ", "identity",
]  # fmt: skip
_NOISE = [
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b":",
    b"\0",
    b"\x0b",
    b"\x7f",
    b"\x85",
    b"\xa0",
    b",",
    b";",
    b"5",
    b"_",
    b"\r\n ",
]


@st.composite
def _heads(draw: st.DrawFn) -> bytes:
    """A head without its closing empty line, mostly valid, then with up to two faults."""
    method = draw(st.sampled_from(_METHODS))
    target = draw(st.sampled_from(["/", "/a?b=c", "/a%20b", "//x", "*", "http://a.example:80/p?q", "/a;b"]))
    version = draw(st.sampled_from(["1.1", "1.1", "1.1", "1.0", "1.2", "2.0"]))
    fields = draw(st.lists(st.tuples(st.sampled_from(_NAMES), st.sampled_from(_VALUES)), max_size=5))
    lines = [f"{method} {target} HTTP/{version}", "Host: a.example:80", *(f"{name}: {value}" for name, value in fields)]
    raw = "\r\n".join(lines).encode("latin-1")
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.sampled_from([*_NOISE, b""])) + raw[at + draw(st.integers(0, 1)) :]
    return raw


def _ours(raw: bytes) -> Head | None:
    if b"\r\n\r\n" in raw:  # the connection cuts heads there; such a one never comes
        return None
    try:
        return HeadReader(_LIMITS, {}, refuse_underscores=False).read(raw, {})
    except RequestError:
        return None


class _NoSocket:
    def send(self, data: bytes) -> int:
        return len(data)


def _gunicorns(data: bytes) -> tuple[Any, dict[str, Any]]:
    """gunicorn's request and environ of ``data``, from a peer it does not trust. Raises as it raises."""
    config, peer = Config(), ("192.0.2.1", 1)
    request = next(RequestParser(config, iter([data]), peer))
    _, environ = wsgi.create(request, _NoSocket(), peer, ("a", 80), config)
    return request, environ


class _Llhttp:
    """What llhttp makes of a request; it is asked for nothing lenient."""

    def __init__(self) -> None:
        self.url = b""
        self.fields: list[tuple[str, str]] = []
        self.body = b""
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if b"_" not in name:  # left out by ours
            key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
            self.fields.append((key, value.decode("latin-1").strip(" \t")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def _wire_body(head: Head) -> bytes:
    if head.chunked:
        return b"3\r\nabc\r\n0\r\n\r\n"
    return b"x" * min(head.length_bytes, 20)


@settings(max_examples=400, deadline=None)
@given(_heads())
def test_what_ours_takes_gunicorn_takes_and_means_the_same(raw: bytes) -> None:
    head = _ours(raw)
    if head is None or head.length_bytes > 20:
        return
    request, environ = _gunicorns(raw + b"\r\n\r\n" + _wire_body(head))
    for key, value in head.environ.items():
        assert environ[key] == value, key
    theirs = {key for key in environ if key.startswith(("HTTP_", "CONTENT_"))}
    assert theirs == {key for key in head.environ if key.startswith(("HTTP_", "CONTENT_"))}
    assert head.http_1_1 == (request.version == (1, 1))
    assert request.body.read() == (b"abc" if head.chunked else b"x" * head.length_bytes)
    if head.keep_alive:  # ours closes for `close` among other options too
        assert not request.should_close()


@settings(max_examples=400, deadline=None)
@given(_heads())
def test_what_ours_takes_llhttp_takes_and_means_the_same(raw: bytes) -> None:
    head = _ours(raw)
    if head is None or head.length_bytes > 20 or head.method not in _METHODS:  # llhttp knows registered methods alone
        return
    seen = _Llhttp()
    parser = httptools.HttpRequestParser(seen)
    parser.feed_data(raw + b"\r\n\r\n" + _wire_body(head))
    assert seen.complete
    assert parser.get_method().decode() == head.method
    assert seen.url.decode() == head.environ["RAW_URI"]
    assert parser.get_http_version() == ("1.1" if head.http_1_1 else "1.0")
    assert seen.body == (b"abc" if head.chunked else b"x" * head.length_bytes)
    for key, value in head.environ.items():
        if key.startswith("HTTP_"):
            assert ",".join(said for name, said in seen.fields if name == key) == value, key


@settings(max_examples=400, deadline=None)
@given(_heads(), st.data())
def test_a_repeated_head_is_read_as_a_new_one_would_be(raw: bytes, data: st.DataObject) -> None:
    reader = HeadReader(_LIMITS, {"HTTP_X_A": "5"}, refuse_underscores=False)
    try:
        head = reader.read(raw, {})
    except RequestError:
        return
    again = raw
    for _ in range(data.draw(st.integers(0, 3))):
        digits = [at for at in range(len(again)) if again[at : at + 1].isdigit()] or [0]
        at = data.draw(st.sampled_from(digits) | st.integers(0, len(again)))
        piece = data.draw(st.sampled_from([b"7", b"12", b"", b"0", *_NOISE]))
        again = again[:at] + piece + again[at + data.draw(st.integers(0, 1)) :]
    repeated = reader.repeatable(raw, head).read(again)
    if repeated is not None and b"\r\n\r\n" not in again:
        assert repeated == reader.read(again, {})
    assert reader.repeatable(raw, head).read(raw) == head


def test_a_repeated_head_is_recognised() -> None:
    """The property above holds of one that recognises nothing, too."""
    reader = HeadReader(_LIMITS, {}, refuse_underscores=False)
    first = b"POST / HTTP/1.1\r\nHost: a\r\nBatch-Seq: 9\r\nX: y\r\nContent-Length: 5\r\nZ: z"
    environ: Environ = {"SERVER_NAME": "a"}
    repeated = reader.repeatable(first, reader.read(first, environ))
    head = repeated.read(first.replace(b"9", b"10").replace(b": 5", b": 14700"))
    assert head is not None
    assert (head.length_bytes, head.environ["CONTENT_LENGTH"], head.environ["HTTP_BATCH_SEQ"]) == (14700, "14700", "10")
    assert head.environ["SERVER_NAME"] == "a"
    assert environ["CONTENT_LENGTH"] == "5"
    assert repeated.read(first.replace(b": 5", b": 5 ")) is None
    assert repeated.read(first + b"\r\nBatch-Seq: 9") is None


@st.composite
def _chunked(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A body and one of its chunked forms."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
    form = b""
    for piece in pieces:
        extension = draw(st.sampled_from([b"", b";a", b" ;\ta = b", b';a="b;\\"c"']))
        form += b"%x%b\r\n%b\r\n" % (len(piece), extension, piece)
    trailers = draw(st.sampled_from([b"", b"X-A: b\r\n", b"X-A: b\r\nX-B:\r\n"]))
    return b"".join(pieces), form + b"0\r\n" + trailers + b"\r\n"


def _cut(data: bytes, at: list[int]) -> list[bytes]:
    ends = sorted({position % (len(data) + 1) for position in at} | {len(data)})
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False) if begin < end]


@settings(max_examples=200, deadline=None)
@given(_chunked(), st.lists(st.integers(0, 1000), max_size=10), st.sampled_from([b"", b"GET / HTTP/1.1\r\n"]))
def test_a_chunked_body_is_the_same_however_it_is_cut(
    chunked: tuple[bytes, bytes], cuts: list[int], rest: bytes
) -> None:
    body, form = chunked
    decoder = ChunkedDecoder(10_000, 100)
    found = b""
    beyond = b""
    for piece in _cut(form + rest, cuts):
        if decoder.done:
            beyond += piece
        else:
            found += decoder.feed(piece)
    assert decoder.done
    assert found == body
    assert decoder.rest + beyond == rest


@settings(max_examples=400, deadline=None)
@given(_chunked(), st.lists(st.integers(0, 1000), max_size=6), st.data())
def test_a_chunked_body_ours_takes_gunicorn_reads_as_the_same(
    chunked: tuple[bytes, bytes], cuts: list[int], data: st.DataObject
) -> None:
    form = chunked[1]
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(form)))
        form = form[:at] + data.draw(st.sampled_from([*_NOISE, b"", b"0"])) + form[at + data.draw(st.integers(0, 1)) :]
    decoder = ChunkedDecoder(10_000, 100)
    found = b""
    try:
        for piece in _cut(form, cuts):
            if not decoder.done:
                found += decoder.feed(piece)
    except RequestError:
        return
    if not decoder.done:
        return
    request, _ = _gunicorns(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + form)
    assert request.body.read() == found


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"RESTARTIX_HTTP_STALL_TIMEOUT_S": "soon"}, "RESTARTIX_HTTP_STALL_TIMEOUT_S"),
        ({"RESTARTIX_HTTP_REQUEST_TIMEOUT_S": "0"}, "RESTARTIX_HTTP_REQUEST_TIMEOUT_S"),
        ({"RESTARTIX_HTTP_BODY_MAX_BYTES": "1"}, "RESTARTIX_HTTP_BODY_MAX_BYTES"),
    ],
)
def test_a_bound_that_cannot_be_is_named(variables: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        HttpLimits.from_config(Config(), variables)


def test_bounds_come_from_gunicorns_settings() -> None:
    config = Config()
    config.set("limit_request_line", 0)
    config.set("limit_request_fields", 7)
    config.set("keepalive", 9)
    limits = HttpLimits.from_config(config, {"RESTARTIX_HTTP_STALL_TIMEOUT_S": "1.5"})
    assert (limits.request_line_max_bytes, limits.fields_max, limits.keep_alive_s) == (8190, 7, 9.0)
    assert limits.stall_timeout_s == 1.5
