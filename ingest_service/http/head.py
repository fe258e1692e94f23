"""A request's head: bytes in, WSGI names and framing out, or a refusal. Pure; knows no socket and no time.

After RFC 9112 (message syntax), RFC 9110 (fields) and PEP 3333 (the environ). Wherever a reader could take a message
in two ways it is refused, because a proxy in front may have taken it in the other: that is request smuggling.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from ingest_service.http.errors import RequestError
from ingest_service.http.limits import HttpLimits

Environ = dict[str, object]

# field-vchar, SP and HTAB (RFC 9110 section 5.5). Taken away from a head, nothing but its line ends may remain.
_FIELD_BYTES = bytes(byte for byte in range(256) if byte == 9 or 32 <= byte <= 126 or byte >= 128)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Stricter than a token: registered methods are upper case, and gunicorn takes 3 to 20 characters.
_METHOD = re.compile(r"[!$%&'*+\-.^_`|~0-9A-Z]{3,20}")
_TARGET = re.compile(r"[!\"$-~]+")  # printable ASCII but "#": a fragment is never sent (RFC 3986 section 3.5)
_VERSION = re.compile(r"HTTP/[0-9]\.[0-9]")
_ABSOLUTE = re.compile(r"https?://([^/?]+)(.*)", re.IGNORECASE)
_HOST = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_LENGTH_DIGITS_MAX = 15

# Fields that name one thing: a second one makes the message ambiguous (RFC 9110 section 5.3).
_SINGLE = frozenset(
    ("CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_AUTHORIZATION", "HTTP_EXPECT", "HTTP_HOST", "HTTP_TRANSFER_ENCODING")
)
# Fields by which this module itself steers: their values are looked at, so they are not "just a number".
_STEERING = frozenset(("HTTP_CONNECTION", "HTTP_EXPECT", "HTTP_HOST", "HTTP_TRANSFER_ENCODING"))
_KNOWN_NAMES_MAX = 512
_NUMBERS_MAX = 8


class Head(NamedTuple):
    """A request as far as its head tells. ``length_bytes`` is meaningless where ``chunked``."""

    environ: Environ
    method: str
    http_1_1: bool
    length_bytes: int
    chunked: bool
    keep_alive: bool
    expects_continue: bool


class HeadReader:
    """Heads of one kind of peer: ``secure_schemes`` are the fields (environ key -> value meaning https) it is trusted
    to set, none for a peer that is not trusted. Field names already seen are kept, up to a bound.
    """

    def __init__(
        self, limits: HttpLimits, secure_schemes: Mapping[str, str], script_name: str = "", *, refuse_underscores: bool
    ) -> None:
        self._limits = limits
        self._secure_schemes = secure_schemes
        self._script_name = script_name
        self._refuse_underscores = refuse_underscores
        self._steering = _STEERING | secure_schemes.keys()
        self._keys: dict[str, str] = {}

    def read(self, head: bytes, environ: Environ) -> Head:
        """The request of ``head`` (without its closing empty line); its fields are put into ``environ``.

        Raises ``RequestError`` 400, 414, 417, 431, 501 or 505.
        """
        lines = head.decode("latin-1").split("\r\n")
        check_line_size(lines[0], self._limits)
        if head.translate(None, _FIELD_BYTES) != b"\r\n" * (len(lines) - 1):
            raise RequestError(400, "a bare CR or LF, or a control character")
        method, http_1_1 = self._request_line(lines[0], environ)
        self._fields(lines, environ)
        if http_1_1 and "HTTP_HOST" not in environ:
            raise RequestError(400, "no Host")
        self._host(environ)
        length_bytes, chunked = self._framing(environ, http_1_1=http_1_1)
        expects = _expects_continue(environ, http_1_1=http_1_1)
        if self._secure_schemes:
            self._scheme(environ)
        return Head(environ, method, http_1_1, length_bytes, chunked, _keeps_alive(environ, http_1_1), expects)

    def repeatable(self, raw: bytes, head: Head) -> RepeatedHead:
        """``raw``, which was read as ``head``, as a pattern."""
        return RepeatedHead(raw, head, self._steering, self._limits.field_max_bytes)

    def _request_line(self, line: str, environ: Environ) -> tuple[str, bool]:
        parts = line.split(" ")
        if len(parts) != 3 or not _VERSION.fullmatch(parts[2]):
            raise RequestError(400, "not a request line")
        method, target, version = parts
        if version not in ("HTTP/1.1", "HTTP/1.0"):
            raise RequestError(505, "neither HTTP/1.1 nor HTTP/1.0")
        if not _METHOD.fullmatch(method):
            raise RequestError(400, "not a method")
        if method == "CONNECT":
            raise RequestError(501, "this is not a proxy")
        if not _TARGET.fullmatch(target):
            raise RequestError(400, "not a request target")
        path, _, query = self._path_and_query(method, target, environ).partition("?")
        if self._script_name:
            if not path.startswith(self._script_name):
                raise RequestError(404, "outside of SCRIPT_NAME")
            path = path[len(self._script_name) :]
        if "%" in path:
            path = unquote_to_bytes(path).decode("latin-1")
        environ["REQUEST_METHOD"] = method
        environ["RAW_URI"] = target
        environ["PATH_INFO"] = path
        environ["QUERY_STRING"] = query
        environ["SERVER_PROTOCOL"] = version
        return method, version == "HTTP/1.1"

    def _path_and_query(self, method: str, target: str, environ: Environ) -> str:
        if target.startswith("/") or (target == "*" and method == "OPTIONS"):
            return target
        if not (match := _ABSOLUTE.fullmatch(target)):
            raise RequestError(400, "not a request target")
        environ["_authority"] = match[1]  # compared with Host once that is known
        rest = match[2]
        return rest if rest.startswith("/") else "/" + rest

    def _fields(self, lines: list[str], environ: Environ) -> None:
        limits, keys = self._limits, self._keys
        if len(lines) - 1 > limits.fields_max:
            raise RequestError(431, "too many fields")
        field_max = limits.field_max_bytes - 2
        fields = iter(lines)
        next(fields)
        for line in fields:
            if len(line) > field_max:
                raise RequestError(431, "a field too large")
            name, colon, value = line.partition(":")
            key = keys.get(name)
            if key is None or not colon:
                key = self._key(name, colon)
            if not key:
                continue
            if key in environ:
                if key in _SINGLE or key in self._secure_schemes:
                    raise RequestError(400, "a field that may come only once came again")
                environ[key] = f"{environ[key]}," + value.strip(" \t")
            else:
                environ[key] = value.strip(" \t")

    def _key(self, name: str, colon: str) -> str:
        """The environ key of a field name not seen before; empty for one to be left out."""
        if not colon or not _TOKEN.fullmatch(name.encode("latin-1")):
            # Also what begins with white space (a folded line) or has white space before its colon.
            raise RequestError(400, "not a field")
        key = name.upper().replace("-", "_")
        if "_" in name:
            # `X_Real_Ip` and `X-Real-Ip` would become one key: whoever may send the first could pose as the second.
            if self._refuse_underscores:
                raise RequestError(400, "a field name with an underscore")
            key = ""
        elif key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        if len(self._keys) < _KNOWN_NAMES_MAX:
            self._keys[name] = key
        return key

    def _host(self, environ: Environ) -> None:
        host = environ.get("HTTP_HOST", "")
        authority = environ.pop("_authority", host)
        if not _HOST.fullmatch(str(host)) or authority != host:
            raise RequestError(400, "Host is malformed or is not the target's")

    def _framing(self, environ: Environ, *, http_1_1: bool) -> tuple[int, bool]:
        coding, length = environ.get("HTTP_TRANSFER_ENCODING"), environ.get("CONTENT_LENGTH")
        if coding is not None:
            return 0, self._chunked(str(coding), has_length=length is not None, http_1_1=http_1_1)
        if length is None:
            return 0, False
        digits = str(length)
        if not (digits.isascii() and digits.isdigit() and len(digits) <= _LENGTH_DIGITS_MAX):
            raise RequestError(400, "Content-Length is not a number")
        return int(digits), False

    def _chunked(self, coding: str, *, has_length: bool, http_1_1: bool) -> bool:
        if has_length or not http_1_1:
            raise RequestError(400, "Transfer-Encoding beside Content-Length, or from HTTP/1.0")
        codings = [part.strip(" \t").lower() for part in coding.split(",")]
        if codings.count("chunked") > 1 or ("chunked" in codings and codings[-1] != "chunked"):
            raise RequestError(400, "chunked is not the last coding, once")
        if codings != ["chunked"]:
            raise RequestError(501, "a transfer coding other than chunked")
        return True

    def _scheme(self, environ: Environ) -> None:
        """https if a trusted peer says so. It must not say two things (RFC 7239 has the newer, single field)."""
        said = {environ[key] == secure for key, secure in self._secure_schemes.items() if key in environ}
        if len(said) > 1:
            raise RequestError(400, "contradictory schemes")
        if said:
            environ["wsgi.url_scheme"] = "https" if said.pop() else "http"


class RepeatedHead:
    """A head that was read, as a pattern for the next one of its connection.

    A browser's requests on one connection have the same head but for numbers: the length, a counter. A head that has
    the same bytes around other digits is the same request with those numbers in it, so it is not read anew.
    """

    __slots__ = ("_first", "_head", "_numbers")

    def __init__(self, raw: bytes, head: Head, steering: frozenset[str], field_max_bytes: int) -> None:
        pieces: list[tuple[str, bytes]] = []
        begin, first = 0, raw
        for match in re.finditer(rb"\r\n([^:\r\n]+):[ \t]*([0-9]{1,15})(?=[ \t]*(?:\r\n|\Z))", raw):
            name = match[1].decode("latin-1").upper().replace("-", "_")
            key = name if name == "CONTENT_LENGTH" else "HTTP_" + name
            same = head.environ.get(key) == match[2].decode("ascii")  # else left out, or joined with another
            fits = len(match[0]) + _LENGTH_DIGITS_MAX <= field_max_bytes
            if key in steering or b"_" in match[1] or not same or not fits or len(pieces) == _NUMBERS_MAX:
                continue
            if pieces:
                pieces[-1] = (pieces[-1][0], raw[begin : match.start(2)])
            else:
                first = raw[: match.start(2)]
            begin = match.end(2)
            pieces.append((key, raw[begin:]))
        self._first = first
        self._numbers = tuple(pieces)
        environ = head.environ.copy()
        environ.pop("wsgi.input", None)
        self._head = head._replace(environ=environ)

    def read(self, raw: bytes) -> Head | None:
        """The request of ``raw`` if it differs from the pattern in numbers alone, else None."""
        if not raw.startswith(self._first):
            return None
        environ = None
        length_bytes = self._head.length_bytes
        at = len(self._first)
        for key, literal in self._numbers:
            end = raw.find(literal, at) if literal else len(raw)
            digits = raw[at:end] if end > at else b""
            if not digits.isdigit() or len(digits) > _LENGTH_DIGITS_MAX:
                return None
            if environ is None:
                environ = self._head.environ.copy()
            environ[key] = digits.decode("ascii")
            if key == "CONTENT_LENGTH":
                length_bytes = int(digits)
            at = end + len(literal)
        if at != len(raw):
            return None
        if environ is None:
            environ = self._head.environ.copy()
        _, method, http_1_1, _, chunked, keep_alive, expects = self._head
        return Head(environ, method, http_1_1, length_bytes, chunked, keep_alive, expects)


_ORIGIN = re.compile(rb"\r\norigin:[ \t]*([\x21-\x7e]{1,255})[ \t]*(?=\r\n|\Z)", re.IGNORECASE)


def origin_of(raw: bytes) -> str | None:
    """The ``Origin`` of a head that was refused, or of as much of one as came; None where it has none, or two.

    Good for deciding who may read the refusal, and for nothing else.
    """
    found = _ORIGIN.findall(raw)
    return found[0].decode("ascii") if len(found) == 1 else None


def check_line_size(line: str | bytes, limits: HttpLimits) -> None:
    """Raises ``RequestError`` 414 for a request line beyond the limit."""
    if len(line) > limits.request_line_max_bytes:
        raise RequestError(414, "request line too long")


def check_unfinished(received: bytes, limits: HttpLimits) -> None:
    """What has come of a head so far may yet become one. Raises ``RequestError`` 400, 414 or 431.

    So nonsense (a TLS greeting, a bare line feed, a line without end) is refused when it comes, not timed out.
    """
    check_line_size(received.partition(b"\r\n")[0].removesuffix(b"\r"), limits)
    if len(received) > limits.head_max_bytes:
        raise RequestError(431, "head too large")
    line_ends = received.translate(None, _FIELD_BYTES).removesuffix(b"\r")
    if line_ends != b"\r\n" * received.count(b"\r\n"):
        raise RequestError(400, "a bare CR or LF, or a control character")


def _keeps_alive(environ: Environ, http_1_1: bool) -> bool:
    connection = environ.get("HTTP_CONNECTION")
    if connection is None:
        return http_1_1
    options = [option.strip(" \t") for option in str(connection).lower().split(",")]
    return "close" not in options and (http_1_1 or "keep-alive" in options)


def _expects_continue(environ: Environ, *, http_1_1: bool) -> bool:
    expectation = environ.get("HTTP_EXPECT")
    if expectation is None:
        return False
    if str(expectation).lower() != "100-continue":
        raise RequestError(417, "an expectation other than 100-continue")
    return http_1_1  # from HTTP/1.0 it is ignored (RFC 9110 section 10.1.1)
