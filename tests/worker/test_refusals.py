"""What is refused: every ambiguous or malformed request gets one answer, then the connection is closed.

Belongs here: requests that must not be taken. Those that must are in ``test_requests.py``.
"""

from __future__ import annotations

from uuid import uuid4

import pytest

from ingest_service.http.errors import CODES

from .refusals import CHUNKS, FRAMING, HEADS, LINES, SIZES, Refusal
from .serving import Answer, Server

_NEXT = b"GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def _cases(refusals: list[Refusal]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("refusal", [pytest.param(refusal, id=refusal.name) for refusal in refusals])


def _is_taken(server: Server, refusal: Refusal) -> bool:
    """Whether this worker legitimately takes the request: ``why`` says so, for gunicorn's only."""
    return not server.is_ours and refusal.gunicorn is None


def _assert_refused(server: Server, refusal: Refusal, path: str) -> None:
    [answer] = server.ask(refusal.request.replace(b"{path}", path.encode()) + _NEXT)
    assert answer.status == (refusal.ours if server.is_ours else refusal.gunicorn)
    assert answer.headers["connection"] == "close"
    assert b"Traceback" not in answer.body
    if server.is_ours:  # gunicorn's own words are HTML, and hold what was sent
        assert b"smuggled" not in answer.body + answer.head
        _assert_problem(answer)


def _assert_problem(answer: Answer) -> None:
    """RFC 9457, with the status's code."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (answer.status, CODES[answer.status])
    assert problem.keys() == {"type", "title", "status", "code", "detail"}


@_cases([*FRAMING, *HEADS, *LINES, *SIZES])
def test_a_faulty_head_is_refused_unseen_and_the_connection_closed(server: Server, refusal: Refusal) -> None:
    if _is_taken(server, refusal):
        pytest.skip(refusal.why)
    path = f"/{uuid4()}"
    _assert_refused(server, refusal, path)
    assert {path, "/smuggled"}.isdisjoint(server.seen())


@_cases(CHUNKS)
def test_a_faulty_chunked_body_is_refused_and_nothing_after_it_read(server: Server, refusal: Refusal) -> None:
    if _is_taken(server, refusal):
        pytest.skip(refusal.why)
    _assert_refused(server, refusal, f"/{uuid4()}")
    assert "/smuggled" not in server.seen()


@_cases(CHUNKS)
def test_an_application_that_answers_for_a_faulty_body_is_heard_then_closed(server: Server, refusal: Refusal) -> None:
    if _is_taken(server, refusal):
        pytest.skip(refusal.why)
    [answer] = server.ask(refusal.request.replace(b"{path}", b"/caught") + _NEXT)
    assert answer.status == 422
    assert "/smuggled" not in server.seen()


@_cases([*FRAMING, *HEADS, *LINES])
def test_a_fault_is_found_however_the_bytes_come(server: Server, refusal: Refusal) -> None:
    """Byte by byte at first, then the rest: a fault must not slip through where one read ends and the next begins."""
    if _is_taken(server, refusal):
        pytest.skip(refusal.why)
    request = refusal.request.replace(b"{path}", b"/trickled")
    with server.connect() as client:
        for at in range(min(60, len(request))):
            client.send(request[at : at + 1])
        client.send(request[60:] + _NEXT)
        [answer] = client.answers()
    assert answer.status == (refusal.ours if server.is_ours else refusal.gunicorn)
    assert {"/trickled", "/smuggled"}.isdisjoint(server.seen())


_PORTAL = b"Origin: https://portal.example\r\n"
_MALFORMED = {
    "request-line": b"GET  / HTTP/1.1\r\nHost: a\r\n{origin}\r\n",
    "control-character": b"GET / HTTP/1.1\r\nHost: a\r\n{origin}X-A: a\0b\r\n\r\n",
    "field": b"GET / HTTP/1.1\r\nHost: a\r\nX A: b\r\n{origin}\r\n",
    "length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n{origin}\r\n",
    "length-and-chunked": b"POST / HTTP/1.1\r\n{origin}Host: a\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n",
    "head-too-large": b"GET / HTTP/1.1\r\nHost: a\r\n{origin}X-A: " + b"a" * 70_000 + b"\r\n\r\n",
    "chunk": b"POST / HTTP/1.1\r\nHost: a\r\n{origin}Transfer-Encoding: chunked\r\n\r\nx\r\n",
    "unfinished": b"GET / HTTP/1.1\r\nHost: a\r\n{origin}X-A",
}


@pytest.mark.parametrize("name", _MALFORMED)
def test_a_browser_of_the_portal_may_read_why_it_is_refused(server: Server, name: str) -> None:
    """Ours alone: the application is asked what its own answers would say of the origin."""
    if not server.is_ours:
        pytest.skip("gunicorn asks nobody")
    request = _MALFORMED[name]
    [answer] = server.ask(request.replace(b"{origin}", _PORTAL))
    assert answer.headers["access-control-allow-origin"] == "https://portal.example"
    assert answer.headers["x-code"] == answer.json()["code"]
    _assert_problem(answer)
    for origin in (b"", b"Origin: https://elsewhere.example\r\n", _PORTAL + _PORTAL):
        [answer] = server.ask(request.replace(b"{origin}", origin))
        assert "access-control-allow-origin" not in answer.headers
        _assert_problem(answer)


def test_the_cases_are_as_strict_as_they_say() -> None:
    for refusal in (*FRAMING, *HEADS, *LINES, *SIZES, *CHUNKS):
        assert refusal.ours >= 400
        assert refusal.gunicorn is None or refusal.gunicorn >= 400
