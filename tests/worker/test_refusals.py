"""What is refused: every ambiguous or malformed request gets one answer, then the connection is closed.

Belongs here: requests that must not be taken. Those that must are in ``test_requests.py``.
"""

from __future__ import annotations

from uuid import uuid4

import pytest

from .refusals import CHUNKS, FRAMING, HEADS, LINES, SIZES, Refusal
from .serving import Server

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
    if server.is_ours:  # gunicorn's own words hold what was sent
        assert b"smuggled" not in answer.body + answer.head


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


def test_the_cases_are_as_strict_as_they_say() -> None:
    for refusal in (*FRAMING, *HEADS, *LINES, *SIZES, *CHUNKS):
        assert refusal.ours >= 400
        assert refusal.gunicorn is None or refusal.gunicorn >= 400
