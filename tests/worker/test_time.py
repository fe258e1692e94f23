"""Clients that are slow, stalled or idle, and bounds in time and number.

gunicorn's own gevent worker has one bound, `keepalive`, over waiting and head together, and none over bodies or
answers; where ours cuts a client off for those there is nothing to compare with, and the case runs on ours alone.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import pytest

from .serving import Client, Server

_SLACK_S = 1.5  # a loaded machine


def _only_ours(server: Server, why: str) -> None:
    if not server.is_ours:
        pytest.skip(why)


def _closes_within(client: Client, least_s: float, most_s: float) -> None:
    began_s = time.monotonic()
    assert client.is_closed()
    assert least_s <= time.monotonic() - began_s <= most_s + _SLACK_S


def test_an_idle_connection_is_closed_silently(server: Server) -> None:
    with server.connect() as client:
        _closes_within(client, 0.7, 1.0)
    with server.connect() as client:
        client.send(b"GET /single HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.answer().status == 200
        _closes_within(client, 0.7, 1.0)


def test_a_head_that_does_not_end_is_cut_off(server: Server) -> None:
    with server.connect() as client:
        client.send(b"GET /single HTTP/1.1\r\nHost:")
        began_s = time.monotonic()
        answers = client.answers()
        assert time.monotonic() - began_s <= 1.0 + _SLACK_S
    assert [answer.status for answer in answers] == ([408] if server.is_ours else [])


def test_a_head_that_trickles_is_cut_off(server: Server) -> None:
    """Each byte alone would be in time; together they are not."""
    with server.connect() as client:
        began_s = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in b"GET /single HTTP/1.1\r\n" + b"X-A: a\r\n" * 8:
                client.socket.sendall(bytes((byte,)))
                time.sleep(0.1)
                if not client.is_open():
                    break
        assert time.monotonic() - began_s <= 2.0 + _SLACK_S


@pytest.mark.parametrize(
    "sent",
    [b"Content-Length: 100\r\n\r\npart", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe"],
    ids=["length", "chunked"],
)
def test_a_body_that_stalls_is_cut_off(server: Server, sent: bytes) -> None:
    _only_ours(server, "gunicorn waits for a body without end")
    with server.connect() as client:
        client.send(b"POST /read HTTP/1.1\r\nHost: a\r\n" + sent)
        began_s = time.monotonic()
        [answer] = client.answers()
        assert 0.5 <= time.monotonic() - began_s <= 0.8 + _SLACK_S
    assert (answer.status, answer.headers["connection"]) == (408, "close")


def test_a_body_that_trickles_is_cut_off(server: Server) -> None:
    """It never stalls, so only the bound over the whole request ends it."""
    _only_ours(server, "gunicorn waits for a body without end")
    with server.connect() as client:
        client.send(b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
        began_s = time.monotonic()
        while client.is_open() and time.monotonic() - began_s < 10:
            client.send(b"x")
            time.sleep(0.1)
        assert 1.5 <= time.monotonic() - began_s <= 2.0 + _SLACK_S


def test_a_body_left_unread_that_stalls_is_cut_off(server: Server) -> None:
    _only_ours(server, "gunicorn waits for a body without end")
    with server.connect() as client:
        client.send(b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\npart")
        assert client.answer().body == b"unread"
        _closes_within(client, 0.5, 0.8)


def test_an_application_that_answers_for_a_stalled_body_is_heard(server: Server) -> None:
    _only_ours(server, "gunicorn waits for a body without end")
    with server.connect() as client:
        client.send(b"POST /caught HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\npart")
        [answer] = client.answers()
    assert (answer.status, answer.body) == (422, b"TooSlo")


def test_an_answer_nobody_takes_is_cut_off(server: Server) -> None:
    _only_ours(server, "gunicorn waits without end for a client to take its answer")
    with server.connect() as client:
        client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.8 + _SLACK_S)
        with pytest.raises(EOFError):
            client.answer()


def test_an_application_may_take_longer_than_any_client(server: Server) -> None:
    with server.connect() as client:
        client.send(b"GET /slow?2.5 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.answer().body == b"single"


def test_a_long_answer_is_taken_whole(server: Server) -> None:
    [answer] = server.ask(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert len(answer.body) == 8 * 1024 * 1024


def test_what_a_client_sends_ahead_is_bounded(server: Server) -> None:
    """While an answer is made, no more is taken than fits the socket and one read."""
    with server.connect() as client:
        client.send(b"GET /slow?1 HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.2)
        client.socket.settimeout(0.5)
        sent, piece = 0, b"x" * 65536
        with contextlib.suppress(TimeoutError):
            while sent < 64 * 1024 * 1024:
                sent += client.socket.send(piece)
        assert sent < 32 * 1024 * 1024


def test_no_more_connections_are_served_than_allowed(start: Callable[..., Server]) -> None:
    server = start("--worker-connections", "3")
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(server.connect()) for _ in range(3)]
        for client in held:
            client.send(b"GET /slow?1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        time.sleep(0.3)
        waiting = stack.enter_context(server.connect())
        began_s = time.monotonic()
        waiting.send(b"GET /single HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert waiting.answer().body == b"single"
        assert time.monotonic() - began_s > 0.4
        assert [client.answer().body for client in held] == [b"single"] * 3


def test_many_clients_at_once(server: Server) -> None:
    failures: list[BaseException] = []

    def play() -> None:
        try:
            with server.connect() as client:
                for number in range(30):
                    body = b"x" * (number * 100)
                    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                    assert len(client.answer().json()["body"]) == len(body)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=play) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
