"""What leaves the server: framing that no client can misread, nothing an application slipped in, no traceback."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest

from .application import INJECTIONS
from .serving import Answer, Client, Server


def _get(path: str, version: str = "1.1", method: str = "GET", fields: str = "Connection: close\r\n") -> bytes:
    return f"{method} {path} HTTP/{version}\r\nHost: a\r\n{fields}\r\n".encode()


def _stays(client: Client) -> bool:
    client.send(_get("/single", fields=""))
    return client.answer().body == b"single"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/single", b"single"),
        ("/empty", b""),
        ("/stream", b"one two"),
        ("/written", b"written and returned"),
        ("/too-long", b"mor"),
        ("/closing", b"ab"),
    ],
)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_body_is_framed_whatever_way_it_is_given(server: Server, path: str, body: bytes, version: str) -> None:
    [answer] = server.ask(_get(path, version))
    assert (answer.status, answer.body) == (200, body)
    if version == "1.0":
        assert "transfer-encoding" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/single", "/empty", "/stream", "/written", "/too-long", "/no-content", "/not-modified"]
)
def test_another_request_may_follow(server: Server, path: str) -> None:
    with server.connect() as client:
        client.send(_get(path, fields=""))
        assert client.answer().status in (200, 204, 304)
        assert _stays(client)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/no-content", "GET", 204), ("/not-modified", "GET", 304), ("/single", "HEAD", 200), ("/stream", "HEAD", 200)],
)
def test_an_answer_that_has_no_body_sends_none(server: Server, path: str, method: str, status: int) -> None:
    with server.connect() as client:
        client.send(_get(path, method=method, fields=""))
        answer = client.answer(is_head=True)
        assert answer.status == status
        assert "transfer-encoding" not in answer.headers
        if status == 204:
            assert "content-length" not in answer.headers
        assert _stays(client)  # any byte of a body would be the next answer's first


def test_head_has_the_length_get_would_have(server: Server) -> None:
    with server.connect() as client:
        client.send(_get("/unread", method="HEAD"))
        assert client.answer(is_head=True).headers["content-length"] == "6"
        assert client.is_closed()


def test_too_short_a_body_ends_the_connection(server: Server) -> None:
    with server.connect() as client:
        client.send(_get("/too-short", fields=""))
        if server.is_ours:
            with pytest.raises(EOFError):
                client.answer()
        else:  # gunicorn leaves the client waiting, to take the next answer for the rest
            client.socket.settimeout(0.5)
            with pytest.raises((TimeoutError, EOFError)):
                client.answer()


def test_the_server_speaks_for_the_connection(server: Server) -> None:
    [answer] = server.ask(_get("/own-fields"))
    assert answer.headers["connection"] == "close"
    assert "transfer-encoding" not in answer.headers
    assert parsedate_to_datetime(answer.headers["date"]).year > 2000
    assert answer.body == b"x"


@pytest.mark.parametrize("name", INJECTIONS)
def test_an_application_cannot_put_more_into_an_answer(server: Server, name: str) -> None:
    [answer] = server.ask(_get(f"/injecting?{name}"))
    assert answer.status == 500
    assert b"X-Injected" not in answer.head + answer.body


@pytest.mark.parametrize("path", ["/failing", "/twice", "/unstarted", "/text"])
def test_a_failing_application_is_a_500_that_says_nothing(server: Server, path: str) -> None:
    if path == "/text" and not server.is_ours:
        pytest.skip("gunicorn has sent the head before it looks at the body")
    if path == "/unstarted" and not server.is_ours:
        pytest.skip("gunicorn fails over its own missing status, without an answer")
    [answer] = server.ask(_get(path))
    _assert_says_nothing(answer)
    assert "RuntimeError: secret detail" in server.log() or path != "/failing"


def _assert_says_nothing(answer: Answer) -> None:
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    assert answer.headers["connection"] == "close"


def test_a_failing_application_asked_for_the_head_sends_no_body(server: Server) -> None:
    if not server.is_ours:
        pytest.skip("gunicorn sends its error page to HEAD as well")
    with server.connect() as client:
        client.send(_get("/failing", method="HEAD"))
        assert client.answer(is_head=True).status == 500
        assert client.is_closed()


def test_a_failure_amid_an_answer_cannot_pass_for_its_end(server: Server) -> None:
    with server.connect() as client:
        client.send(_get("/failing-late", fields=""))
        with pytest.raises(EOFError):
            client.answer()


def test_an_error_handler_may_replace_an_answer_not_begun(server: Server) -> None:
    [answer] = server.ask(_get("/recovering"))
    assert answer.status == 503
    if server.is_ours:
        assert "x-first" not in answer.headers
    else:  # gunicorn keeps the first answer's fields
        assert answer.headers["x-first"] == "yes"


def test_what_the_application_returns_is_closed(server: Server) -> None:
    before = server.seen().count("/closed")
    server.ask(_get("/closing"))
    assert server.seen().count("/closed") == before + 1


def test_the_servers_own_answers_carry_what_an_answer_must(server: Server) -> None:
    [answer] = server.ask(b"nonsense\r\n\r\n")
    assert answer.status == 400
    assert int(answer.headers["content-length"]) == len(answer.body)
    if server.is_ours:
        assert (answer.json()["title"], answer.json()["code"]) == ("Bad Request", "bad_request")
        assert "date" in answer.headers
