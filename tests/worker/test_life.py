"""gunicorn's life cycle: stopping without losing a request, replacing workers, hooks, logs, settings not served."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .serving import OURS, Answer, Client, Server

_HOOKED = str(Path(__file__).with_name("hooked.conf.py"))


def _get(path: str, fields: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()


def test_a_stop_finishes_what_was_begun(start: Callable[..., Server]) -> None:
    """A request being answered, a body half sent and an idle connection, when SIGTERM comes."""
    server = start()
    with server.connect() as busy, server.connect() as sending, server.connect() as idle:
        idle.send(_get("/single"))
        assert idle.answer().status == 200
        busy.send(_get("/slow?1"))
        sending.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha")
        time.sleep(0.2)
        server.signal(signal.SIGTERM)
        time.sleep(0.5)
        sending.send(b"lf")
        for client, body in ((busy, b"single"), (sending, b"")):
            answer = client.answer()
            assert answer.status == 200
            assert body in answer.body
            if server.is_ours or client is busy:
                assert client.is_closed()
        assert idle.is_closed()
    assert server.wait() == 0


def test_the_last_answer_says_so(start: Callable[..., Server]) -> None:
    """A request that is being sent when the worker is told to stop is answered, and then the connection ends."""
    server = start("--keep-alive", "3")
    with server.connect() as client:
        client.send(_get("/single"))
        assert client.answer().headers.get("connection") != "close"
        request = _get("/single")
        client.send(request[:-4])
        time.sleep(0.2)
        server.signal(signal.SIGTERM)
        time.sleep(1.3 if not server.is_ours else 0.3)  # gunicorn notices within a second
        client.send(request[-4:])
        assert client.answer().headers["connection"] == "close"
        assert client.is_closed()
    assert server.wait() == 0


def test_requests_sent_ahead_are_answered_up_to_the_one_that_says_so(start: Callable[..., Server]) -> None:
    """Pipelined: what follows the last answer was never begun, so its sender may repeat it."""
    server = start()
    with server.connect() as client:
        client.send(_get("/single") + _get("/slow?0.6") + _get("/never") + _get("/never"))
        assert client.answer().status == 200
        time.sleep(0.2)
        server.signal(signal.SIGTERM)
        time.sleep(0.2)
        last = client.answer()
        if server.is_ours:  # gunicorn may notice too late for this answer, and goes on
            assert (last.status, last.headers["connection"]) == (200, "close")
            assert client.is_closed()
    assert server.wait() == 0


def test_idle_connections_are_closed_at_once_when_a_worker_stops(start: Callable[..., Server]) -> None:
    """However long connections are kept. One that has not asked anything yet is given a moment, and served in it."""
    server = start("--keep-alive", "60")
    if not server.is_ours:
        pytest.skip("gunicorn waits until each has idled long enough")
    with server.connect() as idle, server.connect() as fresh, server.connect() as silent:
        idle.send(_get("/single"))
        assert idle.answer().status == 200
        time.sleep(0.2)
        began_s = time.monotonic()
        server.signal(signal.SIGTERM)
        assert idle.is_closed()
        fresh.send(_get("/single"))
        assert fresh.answer().headers["connection"] == "close"
        assert silent.is_closed()
        assert server.wait(10) == 0
        assert time.monotonic() - began_s < 5


def test_a_stop_takes_no_longer_than_it_may(start: Callable[..., Server]) -> None:
    server = start("--graceful-timeout", "1")
    with server.connect() as client:
        client.send(_get("/slow?30"))
        time.sleep(0.2)
        began_s = time.monotonic()
        server.signal(signal.SIGTERM)
        server.wait(10)
        assert time.monotonic() - began_s < 6
        assert client.answers() == []


def test_idle_connections_do_not_hold_up_a_stop(start: Callable[..., Server]) -> None:
    server = start()
    with server.connect() as client:
        client.send(_get("/single"))
        assert client.answer().status == 200
        began_s = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.wait(10) == 0
        assert time.monotonic() - began_s < 4


def test_workers_are_replaced_under_load_without_a_lost_request(start: Callable[..., Server]) -> None:
    """SIGHUP twice while clients post: a request is answered 200, or its connection closed before any answer."""
    server = start()
    failures: list[str] = []
    done = threading.Event()
    answered = [0] * 4

    def play(player: int) -> None:
        client = server.connect()
        while not done.is_set():
            try:
                client.send(_get("/single"))
                answer = client.answer()
                answered[player] += 1
                if (answer.status, answer.body) != (200, b"single"):
                    failures.append(repr(answer))
                closes = answer.headers.get("connection") == "close"
            except EOFError:  # closed while idle: what a client repeats on a new connection
                closes = True
            if closes:
                client.socket.close()
                client = server.connect()
        client.socket.close()

    players = [threading.Thread(target=play, args=(number,)) for number in range(len(answered))]
    for player in players:
        player.start()
    first = server.worker_pids()
    for _ in range(2):
        server.signal(signal.SIGHUP)
        time.sleep(1.5)
    done.set()
    for player in players:
        player.join()
    assert failures == []
    assert min(answered) > 10
    assert set(first).isdisjoint(server.worker_pids())


def test_a_worker_is_replaced_after_so_many_requests(start: Callable[..., Server]) -> None:
    server = start("--max-requests", "5")
    [first] = server.worker_pids()
    answers: list[Answer] = []
    with server.connect() as client:
        for _ in range(8):
            client.send(_get("/single"))
            answers.append(client.answer())
            if answers[-1].headers.get("connection") == "close":
                break
    assert 1 <= len(answers) < 8
    deadline_s = time.monotonic() + 10
    while first in server.worker_pids() and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert server.ask(_get("/single", "Connection: close\r\n"))[0].status == 200
    assert first not in server.worker_pids()


def test_a_worker_whose_master_died_ends(start: Callable[..., Server]) -> None:
    server = start()
    [worker] = server.worker_pids()
    server.signal(signal.SIGKILL)
    server.wait()
    deadline_s = time.monotonic() + 10
    while Path(f"/proc/{worker}/stat").exists() and time.monotonic() < deadline_s:
        if Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            break
        time.sleep(0.1)
    else:
        assert not Path(f"/proc/{worker}").exists()


def test_a_worker_that_hangs_is_killed(start: Callable[..., Server]) -> None:
    """The heartbeat is the worker's, not a thread's: stopped, it is missed."""
    server = start("--timeout", "2")
    [worker] = server.worker_pids()
    time.sleep(2.5)
    assert server.worker_pids() == [worker]  # it beats while idle
    os.kill(worker, signal.SIGSTOP)
    deadline_s = time.monotonic() + 15
    while worker in server.worker_pids() and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert worker not in server.worker_pids()


def test_hooks_are_called(start: Callable[..., Server]) -> None:
    server = start("-c", _HOOKED)
    server.ask(_get("/single?a=b", "Connection: close\r\n"))
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    log = server.log()
    for said in (
        "hook post_worker_init",
        "hook pre_request GET /single a",
        "hook post_request /single?a=b a=b 200 OK",
        "hook worker_exit True",
    ):
        assert said in log


def test_the_access_log_is_written_where_configured(start: Callable[..., Server]) -> None:
    form = '%(h)s "%(r)s" %(s)s %(B)s %({x-in}i)s %({content-length}o)s'
    server = start("--access-logfile", "-", "--access-logformat", form)
    server.ask(_get("/unread?q", "Connection: close\r\nX-In: in\r\n"))
    assert '127.0.0.1 "GET /unread?q HTTP/1.1" 200 6 in 6' in server.log()


def test_no_request_is_logged_where_it_is_not(server: Server) -> None:
    server.ask(_get("/not-to-be-logged", "Connection: close\r\n"))
    assert "not-to-be-logged" not in server.log()


def test_a_unix_socket_is_served(start: Callable[..., Server], tmp_path: Path) -> None:
    path = tmp_path / "s"
    start("-b", f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(str(path))
        client = Client(sock)
        client.send(_get("/", "Connection: close\r\n"))
        environ = client.answer().json()["environ"]
    assert environ["REMOTE_ADDR"] == ""
    assert environ["SERVER_NAME"]


def test_the_application_may_be_mounted_below_a_path(start: Callable[..., Server]) -> None:
    server = start(SCRIPT_NAME="/se")
    [answer] = server.ask(_get("/sea/b", "Connection: close\r\n"))
    environ = answer.json()["environ"]
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/se", "a/b")
    [answer] = server.ask(_get("/elsewhere", "Connection: close\r\n"))
    assert answer.status == (404 if server.is_ours else 500)  # gunicorn blames its configuration


@pytest.mark.parametrize(
    "options",
    [
        ("--proxy-protocol", "v1"),
        ("--permit-obsolete-folding",),
        ("--strip-header-spaces",),
        ("--permit-unconventional-http-method",),
        ("--header-map", "dangerous"),
        ("--certfile", "x.pem", "--keyfile", "x.key"),
    ],
)
def test_a_setting_that_would_be_ignored_is_refused_at_the_start(options: tuple[str, ...]) -> None:
    """Ours alone: gunicorn's worker serves these."""
    here = Path(__file__).parent
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    command = [gunicorn, "-c", str(here / "gunicorn.conf.py"), "-k", OURS, "-b", "127.0.0.1:0", *options]
    ended = subprocess.run(
        [*command, "--pythonpath", str(here), "application:app"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode != 0
    assert "is not served by this worker" in ended.stderr or "does not exist" in ended.stderr
