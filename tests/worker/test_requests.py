"""What is taken: requests as browsers and proxies send them, and how the application sees each.

Belongs here: heads, bodies, connections that go on. Refusals are in ``test_refusals.py``, answers in
``test_answers.py``, clients that are slow in ``test_time.py``.
"""

from __future__ import annotations

import contextlib
import time
from uuid import uuid4

import pytest

from .serving import Server

_CLOSE = b"Connection: close\r\n"


def _request(
    target: bytes = b"/", fields: bytes = b"", body: bytes = b"", method: bytes = b"POST", version: bytes = b"1.1"
) -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return b"%s %s HTTP/%s\r\nHost: a\r\n%s%s\r\n%s" % (method, target, version, fields, length, body)


def test_the_environ_is_pep_3333s(server: Server) -> None:
    fields = b"Content-Type: a/b\r\nX-Two: 1\r\nx-two:\t2 \r\nX-8-Bit: \xe9\r\nX-Empty:\r\n" + _CLOSE
    [answer] = server.ask(_request(b"/a%20b/%C3%A9%2Fc;d?e=%20f&g", fields, b"body"))
    told = answer.json()
    environ = told["environ"]
    assert told["body"] == "body"
    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/\xc3\xa9/c;d",
        "QUERY_STRING": "e=%20f&g",
        "RAW_URI": "/a%20b/%C3%A9%2Fc;d?e=%20f&g",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(server.port),
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "a/b",
        "CONTENT_LENGTH": "4",
        "HTTP_HOST": "a",
        "HTTP_X_TWO": "1,2",
        "HTTP_X_8_BIT": "\xe9",
        "HTTP_X_EMPTY": "",
        "wsgi.url_scheme": "http",
        "wsgi.input_terminated": True,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    assert expected.items() <= environ.items()
    assert environ["REMOTE_PORT"].isdecimal()
    assert {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"}.isdisjoint(environ)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"//a//b", "//a//b", ""),
        (b"/a/../b/.", "/a/../b/.", ""),
        (b"/?", "/", ""),
        (b"/?a?b", "/", "a?b"),
        (b"/%", "/%", ""),
        (b"/%zz%41", "/%zzA", ""),
        (b"/a+b", "/a+b", ""),
        (b"/:80", "/:80", ""),
        (b"http://a/x?y", "/x", "y"),
    ],
)
def test_a_target_becomes_path_and_query(server: Server, target: bytes, path: str, query: str) -> None:
    [answer] = server.ask(_request(target, _CLOSE))
    environ = answer.json()["environ"]
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (path, query)


def test_options_may_ask_of_the_server_as_a_whole(server: Server) -> None:
    [answer] = server.ask(_request(b"*", _CLOSE, method=b"OPTIONS"))
    assert answer.json()["environ"]["PATH_INFO"] == "*"


def test_an_underscore_in_a_name_cannot_pose_as_a_dash(server: Server) -> None:
    fields = b"X_Real: forged\r\nX-Real: true\r\nContent_Length: 9\r\n" + _CLOSE
    if server.is_ours:  # gunicorn takes this one from peers in `forwarded_allow_ips`, which the loopback is in
        fields += b"Script_Name: /forged\r\n"
    [answer] = server.ask(_request(fields=fields))
    environ = answer.json()["environ"]
    assert environ["HTTP_X_REAL"] == "true"
    assert environ["SCRIPT_NAME"] == ""
    assert "CONTENT_LENGTH" not in environ


@pytest.mark.parametrize(
    ("field", "scheme"),
    [(b"X-Forwarded-Proto: https\r\n", "https"), (b"X-Forwarded-Proto: gopher\r\n", "http"), (b"", "http")],
)
def test_a_trusted_proxy_says_the_scheme(server: Server, field: bytes, scheme: str) -> None:
    [answer] = server.ask(_request(fields=field + _CLOSE))
    assert answer.json()["environ"]["wsgi.url_scheme"] == scheme


def test_a_proxy_that_contradicts_itself_is_refused(server: Server) -> None:
    [answer] = server.ask(_request(fields=b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n"))
    assert answer.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        b"005\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n",
        b'5 ; a="b;c\\"" ; d\r\nhello\r\n6\r\n world\r\n0;e\r\nX-Trailer: yes\r\nX-Other:\r\n\r\n',
        b"B\r\nhello world\r\n0\r\n\r\n",
        b"".join(b"1\r\n%c\r\n" % byte for byte in b"hello world") + b"0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("step_bytes", [1, 7, 10_000])
def test_a_chunked_body_is_read_however_it_is_cut(server: Server, body: bytes, step_bytes: int) -> None:
    request = _request(fields=b"Transfer-Encoding: Chunked\r\n") + body + _request(b"/after", _CLOSE, b"next")
    with server.connect() as client:
        for at in range(0, len(request), step_bytes):
            client.send(request[at : at + step_bytes])
        first, second = client.answers()
    assert first.json()["body"] == "hello world"
    assert "HTTP_X_TRAILER" not in first.json()["environ"]
    assert second.json()["body"] == "next"


@pytest.mark.parametrize("size", [0, 1, 65_000, 65_536, 300_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_arrives_whole(server: Server, size: int, chunked: bool) -> None:
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    if chunked:
        framed = b"".join(b"%X\r\n%b\r\n" % (len(p), p) for p in (body[:70_000], body[70_000:]) if p) + b"0\r\n\r\n"
        request = _request(fields=_CLOSE + b"Transfer-Encoding: chunked\r\n") + framed
    else:
        request = _request(fields=_CLOSE, body=body)
    [answer] = server.ask(request)
    assert answer.json()["body"].encode() == body


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 24\r\n\r\n%b", b"Transfer-Encoding: chunked\r\n\r\n5\r\n%b0\r\n\r\n"]
)
def test_the_input_reads_lines_and_pieces(server: Server, framing: bytes) -> None:
    body = b"one\ntwo\nthree\nfour\nfive\n"
    if b"chunked" in framing:
        framing = framing.replace(b"5\r\n%b", b"5\r\n%b\r\n13\r\n%b\r\n" % (body[:5], body[5:])) + b"%b" * 0
        request = b"POST /pieces HTTP/1.1\r\nHost: a\r\n" + _CLOSE + framing
    else:
        request = b"POST /pieces HTTP/1.1\r\nHost: a\r\n" + _CLOSE + framing % body
    [answer] = server.ask(request)
    assert answer.json() == ["one", "\n", "tw", "o\n", "three\n", "four\n", "five\n", ""]


def test_requests_follow_each_other_on_one_connection(server: Server) -> None:
    with server.connect() as client:
        for number in range(20):
            client.send(_request(b"/%d" % number, b"Batch-Seq: %d\r\n" % number, b"x" * (number + 1)))
            told = client.answer().json()
            assert told["environ"]["PATH_INFO"] == f"/{number}"
            assert told["environ"]["HTTP_BATCH_SEQ"] == str(number)
            assert told["environ"]["CONTENT_LENGTH"] == str(number + 1)
            assert len(told["body"]) == number + 1


def test_a_repeated_request_is_read_as_the_first_was(server: Server) -> None:
    """Requests that differ in numbers alone, then in more, then are faulty: each is read for what it is."""
    with server.connect() as client:
        for seq, body in [(b"9", b"nine"), (b"10", b"a longer body"), (b"11", b"")]:
            head = b"POST /r HTTP/1.1\r\nHost: a\r\nBatch-Seq: %s\r\nContent-Length: %d\r\n\r\n" % (seq, len(body))
            client.send(head + body)
            told = client.answer().json()
            assert (told["environ"]["HTTP_BATCH_SEQ"].encode(), told["body"].encode()) == (seq, body)
        client.send(b"POST /r HTTP/1.1\r\nHost: a\r\nBatch-Seq: 12\r\nContent-Length: 1\r\nX-More: yes\r\n\r\nx")
        assert client.answer().json()["environ"]["HTTP_X_MORE"] == "yes"
        client.send(b"POST /r HTTP/1.1\r\nHost: a\r\nBatch-Seq: 12\r\nContent-Length: 1\r\nX-More: yes\r\n\r\nx")
        assert client.answer().status == 200
        client.send(b"POST /r HTTP/1.1\r\nHost: a\r\nBatch-Seq: 12\r\nContent-Length: +1\r\nX-More: yes\r\n\r\nx")
        assert client.answer().status == 400
        assert client.is_closed()


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    count = 200
    requests = [_request(b"/%d" % number, body=b"b%d" % number) for number in range(count)]
    answers = server.ask(b"".join(requests) + _request(b"/last", _CLOSE))
    told = [answer.json() for answer in answers]
    assert [one["environ"]["PATH_INFO"] for one in told] == [*(f"/{number}" for number in range(count)), "/last"]
    assert [one["body"] for one in told] == [*(f"b{number}" for number in range(count)), ""]


def test_one_empty_line_may_come_before_a_request(server: Server) -> None:
    first, second = server.ask(b"\r\n" + _request(body=b"a") + b"\r\n" + _request(fields=_CLOSE))
    assert (first.status, second.status) == (200, 200)


@pytest.mark.parametrize(
    ("version", "fields", "stays"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: keep-alive\r\n", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: Close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
    ],
)
def test_a_connection_stays_as_the_client_asks(server: Server, version: bytes, fields: bytes, stays: bool) -> None:
    with server.connect() as client:
        client.send(_request(b"/unread", fields, version=version))
        answer = client.answer()
        assert answer.body == b"unread"
        assert (answer.headers.get("connection", "keep-alive") != "close") is stays
        if version == b"1.0" and stays:
            assert answer.headers["connection"] == "keep-alive"
        assert client.is_open() if stays else client.is_closed()


def test_close_among_other_options_closes(server: Server) -> None:
    with server.connect() as client:
        client.send(_request(b"/unread", b"Connection: x-option, close\r\n"))
        assert client.answer().status == 200
        if server.is_ours:
            assert client.is_closed()
        else:  # gunicorn looks for the one word alone
            assert client.is_open()


def test_continue_is_said_once_and_then_the_answer(server: Server) -> None:
    with server.connect() as client:
        client.send(_request(fields=_CLOSE + b"Expect: 100-Continue\r\nContent-Length: 5\r\n"))
        assert client.answer().status == 100
        client.send(b"hello")
        assert client.answer().json()["body"] == "hello"
        assert client.is_closed()


def test_continue_is_not_said_for_a_body_nobody_reads(server: Server) -> None:
    with server.connect() as client:
        client.send(_request(b"/unread", b"Expect: 100-continue\r\nContent-Length: 5\r\n"))
        answer = client.answer()
        if server.is_ours:
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert client.is_closed()  # whether the body comes is not known, so nothing may follow
        else:  # gunicorn says it before it calls the application
            assert answer.status == 100


def test_continue_is_not_said_where_the_body_came_unasked(server: Server) -> None:
    with server.connect() as client:
        client.send(_request(fields=_CLOSE + b"Expect: 100-continue\r\n", body=b"hello"))
        answer = client.answer()
        if not server.is_ours:  # gunicorn does not look
            assert answer.status == 100
            answer = client.answer()
        assert answer.json()["body"] == "hello"


def test_continue_is_not_said_to_http_1_0(server: Server) -> None:
    [answer] = server.ask(_request(fields=b"Expect: 100-continue\r\n", body=b"hello", version=b"1.0"))
    assert answer.json()["body"] == "hello"


@pytest.mark.parametrize("size", [10, 60_000])
def test_a_body_left_unread_is_not_the_next_request(server: Server, size: int) -> None:
    hidden = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    body = (hidden * (size // len(hidden) + 1))[:size]
    first, second = server.ask(_request(b"/unread", body=body) + _request(b"/after", _CLOSE))
    assert (first.body, second.json()["environ"]["PATH_INFO"]) == (b"unread", "/after")
    assert "/smuggled" not in server.seen()


def test_a_large_body_left_unread_ends_the_connection_but_not_the_answer(server: Server) -> None:
    with server.connect() as client:
        client.send(_request(b"/unread", b"Content-Length: 600000\r\n"))
        assert client.answer().body == b"unread"
        client.send(b"x" * 600_000)
        if server.is_ours:
            assert client.is_closed()
        else:  # gunicorn reads it all away, without a bound
            assert client.is_open()


@pytest.mark.parametrize("framing", [b"Content-Length: 1000\r\n\r\npart", b"Transfer-Encoding: chunked\r\n\r\n5\r\npa"])
def test_a_client_that_leaves_amid_its_body_is_no_whole_request(server: Server, framing: bytes) -> None:
    path = f"/caught;{uuid4()}"
    with server.connect() as client:
        client.send(b"POST %b HTTP/1.1\r\nHost: a\r\n%b" % (path.encode(), framing))
        client.socket.shutdown(1)
        answers = client.answers()
    assert path in server.seen()
    if server.is_ours or b"chunked" in framing:
        assert [answer.status for answer in answers] in ([422], [])
    else:  # gunicorn gives the part as if it were the whole
        assert [answer.status for answer in answers] == [200]


def test_a_client_that_leaves_early_or_late_harms_nobody(server: Server) -> None:
    logged = server.log()
    for data in (
        b"",
        b"GET / HT",
        b"GET /slow?0.2 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        client = server.connect()
        client.send(data)
        client.socket.close()
    time.sleep(0.4)
    assert server.ask(_request(fields=_CLOSE))[0].status == 200
    if server.is_ours:  # gunicorn logs some of them as its own failures
        assert server.log() == logged


def test_a_client_that_half_closes_gets_its_answer(server: Server) -> None:
    with server.connect() as client:
        client.send(_request(b"/slow?0.2", method=b"GET"))
        client.socket.shutdown(1)
        assert [answer.body for answer in client.answers()] == [b"single"]


def test_a_stalled_client_holds_up_nobody_else(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(server.connect())
            client.send(_request(fields=b"Content-Length: 100\r\n"))
        began_s = time.monotonic()
        assert server.ask(_request(fields=_CLOSE))[0].status == 200
        assert time.monotonic() - began_s < 0.5
