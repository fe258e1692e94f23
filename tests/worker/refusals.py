"""Requests that must be refused, one fault each: what is sent, and what each worker says. Data, no tests.

``{path}`` in a request stands for a path of the test's own, by which it sees whether the application was called.
Where the two workers answer differently the case says why; ours may be stricter, never laxer.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """``gunicorn`` and ``ours``: the status, or None where that worker takes the request (always with ``why``)."""

    name: str
    request: bytes
    gunicorn: int | None
    ours: int
    why: str = ""

    def __post_init__(self) -> None:
        assert self.gunicorn == self.ours or self.why, self.name


def _fields(*fields: bytes, version: bytes = b"1.1", method: bytes = b"POST", body: bytes = b"") -> bytes:
    return b"%s {path} HTTP/%s\r\nHost: a\r\n%s\r\n%s" % (
        method,
        version,
        b"".join(field + b"\r\n" for field in fields),
        body,
    )


def _same(name: str, status: int, request: bytes) -> Refusal:
    return Refusal(name, request, status, status)


_SMUGGLED = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked"

FRAMING = [
    _same("length-and-chunked", 400, _fields(b"Content-Length: 5", _CHUNKED, body=_SMUGGLED)),
    _same("chunked-and-length", 400, _fields(_CHUNKED, b"Content-Length: 5", body=_SMUGGLED)),
    _same("two-lengths", 400, _fields(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!")),
    _same("same-length-twice", 400, _fields(b"Content-Length: 5", b"content-length: 5", body=b"hello")),
    _same("length-list", 400, _fields(b"Content-Length: 5, 5", body=b"hello")),
    _same("length-plus", 400, _fields(b"Content-Length: +5", body=b"hello")),
    _same("length-minus", 400, _fields(b"Content-Length: -5", body=b"hello")),
    _same("length-hex", 400, _fields(b"Content-Length: 0x5", body=b"hello")),
    _same("length-underscore", 400, _fields(b"Content-Length: 1_0", body=b"hellohello")),
    _same("length-space", 400, _fields(b"Content-Length: 1 0", body=b"hellohello")),
    _same("length-empty", 400, _fields(b"Content-Length:", body=b"hello")),
    _same("length-superscript", 400, _fields(b"Content-Length: \xb2", body=b"he")),
    Refusal(
        "length-beyond-64-bits",
        _fields(b"Content-Length: 99999999999999999999", body=b"hello"),
        None,
        400,
        "gunicorn takes any number and waits for it",
    ),
    _same("chunked-twice", 400, _fields(_CHUNKED, _CHUNKED, body=_SMUGGLED)),
    _same("chunked-list-twice", 400, _fields(b"Transfer-Encoding: chunked, chunked", body=_SMUGGLED)),
    _same("chunked-not-last", 400, _fields(b"Transfer-Encoding: chunked, gzip", body=_SMUGGLED)),
    _same("chunked-1.0", 400, _fields(_CHUNKED, version=b"1.0", body=_SMUGGLED)),
    _same("coding-unknown", 501, _fields(b"Transfer-Encoding: xchunked", body=_SMUGGLED)),
    _same("coding-parameter", 501, _fields(b"Transfer-Encoding: chunked;a=b", body=_SMUGGLED)),
    _same("coding-quoted", 501, _fields(b'Transfer-Encoding: "chunked"', body=_SMUGGLED)),
    _same("coding-empty", 501, _fields(b"Transfer-Encoding:", body=_SMUGGLED)),
    _same("coding-vertical-tab", 400, _fields(b"Transfer-Encoding: \x0bchunked", body=_SMUGGLED)),
    Refusal(
        "coding-identity",
        _fields(b"Transfer-Encoding: identity", body=_SMUGGLED),
        400,
        501,
        "ours knows no coding but chunked; either way it is refused",
    ),
    Refusal(
        "coding-gzip-chunked",
        _fields(b"Transfer-Encoding: gzip, chunked", body=_SMUGGLED),
        None,
        501,
        "gunicorn hands the compressed bytes on; nobody here would decode them",
    ),
    _same("coding-space-before-colon", 400, _fields(b"Transfer-Encoding : chunked", body=_SMUGGLED)),
    _same("coding-folded", 400, _fields(b"Transfer-Encoding:\r\n chunked", body=_SMUGGLED)),
]

HEADS = [
    _same("folded", 400, _fields(b"X-A: a", b" b")),
    _same("folded-tab", 400, _fields(b"X-A: a", b"\tb")),
    _same("folded-first", 400, b"GET {path} HTTP/1.1\r\n Host: a\r\n\r\n"),
    _same("space-before-colon", 400, _fields(b"X-A : a")),
    _same("tab-before-colon", 400, _fields(b"X-A\t: a")),
    _same("no-colon", 400, _fields(b"X-A")),
    _same("no-name", 400, _fields(b": a")),
    _same("name-space", 400, _fields(b"X A: a")),
    _same("name-quote", 400, _fields(b'X"A: a')),
    _same("name-bracket", 400, _fields(b"X[A]: a")),
    _same("name-8-bit", 400, _fields(b"X-\xe9: a")),
    _same("name-nul", 400, _fields(b"X\0A: a")),
    _same("value-nul", 400, _fields(b"X-A: a\0b")),
    _same("value-del", 400, _fields(b"X-A: a\x7fb")),
    _same("value-escape", 400, _fields(b"X-A: \x1b[2J")),
    _same("bare-cr-in-value", 400, _fields(b"X-A: a\rX-B: b")),
    _same("bare-lf-in-value", 400, _fields(b"X-A: a\nX-B: b")),
    _same("cr-cr-lf", 400, _fields(b"X-A: a\r")),
    _same("lf-line-ends", 400, b"GET {path} HTTP/1.1\nHost: a\n\n"),
    _same("lf-after-fields", 400, b"GET {path} HTTP/1.1\r\nHost: a\r\n\n"),
    _same("two-hosts", 400, _fields(b"Host: b")),
    _same("two-types", 400, _fields(b"Content-Type: a/b", b"Content-Type: c/d")),
    Refusal(
        "two-authorizations",
        _fields(b"Authorization: Bearer a", b"Authorization: Bearer b"),
        None,
        400,
        "gunicorn joins them with a comma",
    ),
    Refusal(
        "no-host", b"GET {path} HTTP/1.1\r\n\r\n", None, 400, "RFC 9112 section 3.2; gunicorn does not ask for one"
    ),
    Refusal("host-malformed", b"GET {path} HTTP/1.1\r\nHost: a b\r\n\r\n", None, 400, "gunicorn does not look at it"),
    _same("expectation-unknown", 417, _fields(b"Expect: 200-ok")),
]

LINES = [
    _same("version-0.9", 400, b"GET {path}\r\n\r\n"),
    _same("version-missing", 400, b"GET {path} \r\nHost: a\r\n\r\n"),
    _same("version-lower-case", 400, b"GET {path} http/1.1\r\nHost: a\r\n\r\n"),
    _same("version-digits", 400, b"GET {path} HTTP/1.10\r\nHost: a\r\n\r\n"),
    Refusal("version-1.2", b"GET {path} HTTP/1.2\r\nHost: a\r\n\r\n", None, 505, "gunicorn takes every 1.x"),
    Refusal("version-2.0", b"GET {path} HTTP/2.0\r\nHost: a\r\n\r\n", 400, 505, "RFC 9110 section 15.6.6"),
    Refusal("http-2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 505, "RFC 9110 section 15.6.6"),
    _same("method-lower-case", 400, b"get {path} HTTP/1.1\r\nHost: a\r\n\r\n"),
    _same("method-short", 400, b"GO {path} HTTP/1.1\r\nHost: a\r\n\r\n"),
    _same("method-long", 400, b"A" * 21 + b" {path} HTTP/1.1\r\nHost: a\r\n\r\n"),
    _same("method-bracket", 400, b"GE(T {path} HTTP/1.1\r\nHost: a\r\n\r\n"),
    _same("method-8-bit", 400, b"G\xc9T {path} HTTP/1.1\r\nHost: a\r\n\r\n"),
    _same("method-missing", 400, b" {path} HTTP/1.1\r\nHost: a\r\n\r\n"),
    Refusal(
        "method-connect",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
        None,
        501,
        "gunicorn hands it to the application; this is not a proxy",
    ),
    _same("two-spaces", 400, b"GET  {path} HTTP/1.1\r\nHost: a\r\n\r\n"),
    _same("tab", 400, b"GET\t{path} HTTP/1.1\r\nHost: a\r\n\r\n"),
    _same("space-in-target", 400, b"GET {path} x HTTP/1.1\r\nHost: a\r\n\r\n"),
    _same("target-empty", 400, b"GET  HTTP/1.1\r\nHost: a\r\n\r\n"),
    _same("target-relative", 400, b"GET x{path} HTTP/1.1\r\nHost: a\r\n\r\n"),
    _same("target-8-bit", 400, b"GET {path}\xff HTTP/1.1\r\nHost: a\r\n\r\n"),
    _same("target-nul", 400, b"GET {path}\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    _same("target-asterisk", 400, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    _same("target-authority", 400, b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    Refusal(
        "target-fragment",
        b"GET {path}#x HTTP/1.1\r\nHost: a\r\n\r\n",
        None,
        400,
        "gunicorn cuts it off; no client sends one",
    ),
    Refusal(
        "target-of-another-host",
        b"GET http://b{path} HTTP/1.1\r\nHost: a\r\n\r\n",
        None,
        400,
        "gunicorn does not compare them; a proxy would have followed the target",
    ),
    Refusal(
        "target-other-scheme",
        b"GET ftp://a{path} HTTP/1.1\r\nHost: a\r\n\r\n",
        None,
        400,
        "gunicorn takes any scheme",
    ),
    _same("line-too-long", 414, b"GET {path}?" + b"a" * 1100 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    _same("line-without-end", 414, b"GET {path}?" + b"a" * 5000),
    _same("two-empty-lines", 400, b"\r\n\r\nGET {path} HTTP/1.1\r\nHost: a\r\n\r\n"),
    Refusal(
        "tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x07" * 40, None, 400, "gunicorn waits for its end"
    ),
]

SIZES = [
    _same("too-many-fields", 431, _fields(*(b"X-%d: a" % number for number in range(20)))),
    _same("field-too-large", 431, _fields(b"X-A: " + b"a" * 512)),
    _same("field-name-too-large", 431, _fields(b"X-" + b"a" * 512 + b": a")),
    Refusal(
        "head-without-end",
        b"GET {path} HTTP/1.1\r\nHost: a\r\n" + b"X-A: a\r\n" * 20_000,
        431,
        431,
    ),
    Refusal(
        "body-beyond-any-cap",
        _fields(b"Content-Length: 1048577", body=b"x"),
        None,
        413,
        "gunicorn has no bound on bodies",
    ),
]

# A body sent chunked, its fault in the framing: refused while the application reads it.
CHUNKS = [
    _same("size-word", 400, _fields(_CHUNKED, body=b"g\r\nhello\r\n0\r\n\r\n")),
    _same("size-empty", 400, _fields(_CHUNKED, body=b"\r\nhello\r\n0\r\n\r\n")),
    _same("size-minus", 400, _fields(_CHUNKED, body=b"-5\r\nhello\r\n0\r\n\r\n")),
    _same("size-plus", 400, _fields(_CHUNKED, body=b"+5\r\nhello\r\n0\r\n\r\n")),
    _same("size-0x", 400, _fields(_CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n")),
    _same("size-underscore", 400, _fields(_CHUNKED, body=b"0_5\r\nhello\r\n0\r\n\r\n")),
    _same("size-space-before", 400, _fields(_CHUNKED, body=b" 5\r\nhello\r\n0\r\n\r\n")),
    _same("size-space-after", 400, _fields(_CHUNKED, body=b"5 \r\nhello\r\n0\r\n\r\n")),
    _same("size-lf", 400, _fields(_CHUNKED, body=b"5\nhello\r\n0\r\n\r\n")),
    Refusal(
        "size-beyond-64-bits",
        _fields(_CHUNKED, body=b"1" * 17 + b"\r\nhello\r\n0\r\n\r\n"),
        None,
        400,
        "gunicorn takes any number and waits for it",
    ),
    _same("size-line-without-end", 400, _fields(_CHUNKED, body=b"5;" + b"a" * 20_000)),
    _same("end-missing", 400, _fields(_CHUNKED, body=b"5\r\nhelloX\r\n0\r\n\r\n")),
    _same("end-lf", 400, _fields(_CHUNKED, body=b"5\r\nhello\n0\r\n\r\n")),
    _same("longer-than-said", 400, _fields(_CHUNKED, body=b"4\r\nhello\r\n0\r\n\r\n")),
    _same("extension-lf", 400, _fields(_CHUNKED, body=b"5;a\nb\r\nhello\r\n0\r\n\r\n")),
    _same("extension-cr", 400, _fields(_CHUNKED, body=b"5;a\rb\r\nhello\r\n0\r\n\r\n")),
    _same("extension-quote-open", 400, _fields(_CHUNKED, body=b'5;a="b\r\nhello\r\n0\r\n\r\n')),
    _same("extension-no-name", 400, _fields(_CHUNKED, body=b"5;\r\nhello\r\n0\r\n\r\n")),
    _same("trailer-length", 400, _fields(_CHUNKED, body=b"5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n")),
    _same("trailer-coding", 400, _fields(_CHUNKED, body=b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n")),
    _same("trailer-host", 400, _fields(_CHUNKED, body=b"5\r\nhello\r\n0\r\nHost: b\r\n\r\n")),
    _same("trailer-authorization", 400, _fields(_CHUNKED, body=b"5\r\nhello\r\n0\r\nAuthorization: b\r\n\r\n")),
    _same("trailer-no-colon", 400, _fields(_CHUNKED, body=b"5\r\nhello\r\n0\r\nfield\r\n\r\n")),
    _same("trailer-folded", 400, _fields(_CHUNKED, body=b"5\r\nhello\r\n0\r\nX-A: a\r\n b\r\n\r\n")),
    _same("trailer-space-before-colon", 400, _fields(_CHUNKED, body=b"5\r\nhello\r\n0\r\nX-A : a\r\n\r\n")),
    _same("trailer-nul", 400, _fields(_CHUNKED, body=b"5\r\nhello\r\n0\r\nX-A: \0\r\n\r\n")),
    _same("trailer-lf", 400, _fields(_CHUNKED, body=b"5\r\nhello\r\n0\r\nX-A: a\n\r\n\r\n")),
    _same("trailers-too-many", 431, _fields(_CHUNKED, body=b"0\r\n" + b"X-A: a\r\n" * 21 + b"\r\n")),
    Refusal(
        "more-framing-than-body",
        _fields(_CHUNKED, body=(b"1;" + b"a" * 500 + b"\r\nx\r\n") * 100 + b"0\r\n\r\n"),
        None,
        400,
        "gunicorn bounds a chunk's extension, not their sum",
    ),
    Refusal(
        "body-beyond-any-cap",
        _fields(_CHUNKED, body=b"100001\r\n"),
        None,
        413,
        "gunicorn has no bound on bodies",
    ),
]
