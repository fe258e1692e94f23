"""What is compared does the same: the Go peer answers as the service does, and the sender sends what it says."""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import numpy as np
import pytest

from infra.bench.build import BuildUnavailableError, Programs, build_all
from infra.bench.contestants import Arena, Cores, Running, default_worker_class
from infra.bench.sender import Sender
from infra.bench.workload import PLAIN_HEADERS, Clinic, simulate_bodies, write_corpus, write_tokens
from infra.stack.keys import SigningKeys
from infra.stack.state import PROJECT_DIR
from infra.stack.throwaway import DatabaseServer, cloned_database
from pipelines.pose import wire

_OCTETS = "application/octet-stream"


class Pair(NamedTuple):
    """The service and the peer, over the same patients."""

    service: Running
    peer: Running
    clinic: Clinic
    arena: Arena


@pytest.fixture(scope="module")
def programs() -> Programs:
    try:
        return build_all(PROJECT_DIR / "build" / "bench", print, install=False)
    except BuildUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def pair(
    programs: Programs,
    postgres_server: DatabaseServer,
    migrated_template: str,
    session_keys: SigningKeys,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    core = min(os.sched_getaffinity(0))
    if programs.go_peer is None:
        pytest.skip(" ".join(programs.notes))
    folder = tmp_path_factory.mktemp("bench")
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(cloned_database(postgres_server, migrated_template))
        extra = {"RESTARTIX_DISK_RESERVE_BYTES": "0"}
        arena = Arena(Cores(core, core), programs, folder, session_keys, database, 0.5, extra)
        clinic = Clinic.found(database, session_keys)
        service = stack.enter_context(arena.service("service", None))
        peer = stack.enter_context(arena.go_peer())
        yield Pair(service, peer, clinic, arena)


def _payload(
    *, frames: int = 2, declared: int | None = None, fps: int = 30, version: int = 1, cut: int = 0, **values: float
) -> bytes:
    landmarks = np.full((frames, 33, 4), 0.5, dtype="<f4")
    if "coordinate" in values:
        landmarks[-1, 32, 2] = values["coordinate"]
    if "visibility" in values:
        landmarks[0, 0, 3] = values["visibility"]
    timestamps = np.arange(frames, dtype="<u4") * 33 + 100
    if "last_ms" in values:
        timestamps[-1] = int(values["last_ms"])
    head = (
        bytes([version]) + (frames if declared is None else declared).to_bytes(4, "little") + fps.to_bytes(4, "little")
    )
    whole = head + landmarks.tobytes() + timestamps.tobytes()
    return whole[: len(whole) - cut]


def _gz(payload: bytes) -> bytes:
    return gzip.compress(payload, mtime=0)


_GOOD = _gz(_payload())
_BODIES = {
    "good": _GOOD,
    "empty": b"",
    "not gzip": b"hello",
    "magic alone": b"\x1f\x8b",
    "truncated": _GOOD[:-9],
    "truncated in the trailer": _GOOD[:-3],
    "wrong checksum": _GOOD[:-8] + b"\0\0\0\0" + _GOOD[-4:],
    "trailing bytes": _GOOD + b"x",
    "trailing bytes that end in the right size": _GOOD + b"abcd" + _GOOD[-4:],
    "its own trailer again": _GOOD + _GOOD[-8:],
    "second member": _GOOD + _GOOD,
    "two layers": _gz(_GOOD),
    "payload too short": _gz(b"\x01\0"),
    "version 2": _gz(_payload(version=2)),
    "more frames declared": _gz(_payload(declared=3)),
    "one byte short": _gz(_payload(cut=1)),
    "no frame": _gz(_payload(frames=0)),
    "601 frames": _gz(_payload(frames=601)),
    "600 frames": _gz(_payload(frames=600)),
    "fps 0": _gz(_payload(fps=0)),
    "fps 121": _gz(_payload(fps=121)),
    "NaN": _gz(_payload(coordinate=float("nan"))),
    "infinite": _gz(_payload(coordinate=float("-inf"))),
    "huge and finite": _gz(_payload(coordinate=3e38)),
    "visibility below": _gz(_payload(visibility=-0.01)),
    "visibility above": _gz(_payload(visibility=1.01)),
    "visibility NaN": _gz(_payload(visibility=float("nan"))),
    "time runs back": _gz(_payload(last_ms=99)),
    "three hours": _gz(_payload(last_ms=10_800_000)),
    "a little less": _gz(_payload(last_ms=10_799_999)),
    "bomb": _gz(b"\0" * 5_000_000),
    "body too large": bytes(256 * 1024 + 1),
}


def _answer(running: Running, headers: dict[str, str], body: bytes) -> tuple[int, str | None]:
    answer = httpx.post(f"{running.url}/v1/pose/frames", content=body, headers=headers, timeout=10, verify=False)
    return answer.status_code, msgspec.json.decode(answer.content)["code"] if answer.content else None


@pytest.mark.parametrize("case", _BODIES)
def test_the_peer_answers_every_body_as_the_service_does(pair: Pair, case: str) -> None:
    session = pair.clinic.open_sessions(1)[0]
    headers = {"Authorization": f"Bearer {session.token}", "Content-Type": _OCTETS}
    expected = _answer(pair.service, headers, _BODIES[case])
    assert _answer(pair.peer, headers, _BODIES[case]) == expected
    assert (expected[0] == 204) == (case in {"good", "600 frames", "huge and finite", "a little less"})


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": _OCTETS},
        {"Content-Type": _OCTETS, "Authorization": "Basic abc"},
        {"Content-Type": _OCTETS, "Authorization": "Bearer a.b.c"},
        {"Content-Type": "application/json"},
    ],
    ids=["no token", "no bearer", "no signature", "no token and no type"],
)
def test_the_peer_asks_for_the_same_token(pair: Pair, headers: dict[str, str]) -> None:
    expected = _answer(pair.service, headers, _GOOD)
    assert expected[0] == 401
    assert _answer(pair.peer, headers, _GOOD) == expected


def test_the_peer_asks_for_the_same_media_type(pair: Pair) -> None:
    token = pair.clinic.open_sessions(1)[0].token
    for declared, status in (("application/json", 415), ("Application/Octet-Stream; charset=x", 204)):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": declared}
        expected = _answer(pair.service, headers, _GOOD)
        assert expected[0] == status
        assert _answer(pair.peer, headers, _GOOD) == expected


def test_both_know_a_repetition_and_store_only_its_hash(pair: Pair) -> None:
    token = pair.clinic.open_sessions(1)[0].token
    headers = {"Authorization": f"Bearer {token}", "Content-Type": _OCTETS}
    for running in (pair.service, pair.peer):
        before = running.accepted()
        assert [_answer(running, headers, _GOOD)[0] for _ in range(3)] == [204, 204, 204]
        after = running.accepted()
        assert after["batch"] - before["batch"] == 1
        assert after["duplicate"] - before["duplicate"] == 2


@pytest.mark.parametrize("name", ["service", "go_peer", "physical_limit"])
def test_the_sender_counts_what_was_acknowledged(pair: Pair, tmp_path: Path, name: str) -> None:
    arena = pair.arena
    if name == "physical_limit" and arena.programs.physical_limit is None:
        pytest.skip(" ".join(arena.programs.notes))
    bodies = simulate_bodies(32, 2, seed=3)
    assert len({wire.decode(body).payload_hash for body in bodies}) == 32
    write_corpus(tmp_path / "corpus", bodies)
    write_tokens(tmp_path / "tokens", pair.clinic.open_sessions(8))
    (tmp_path / "headers").write_text(PLAIN_HEADERS)
    sender = Sender(
        arena.programs.sender, arena.cores, tmp_path / "corpus", tmp_path / "tokens", tmp_path / "headers", 4
    )
    limit = arena.physical_limit() if name == "physical_limit" else contextlib.nullcontext(pair.service)
    with limit as running:
        target = pair.peer if name == "go_peer" else running
        before = {} if target.raw else target.accepted()
        with sender.started(target, 0, 60, batches_per_session=16) as process:
            output, errors = process.communicate()
        assert process.returncode == 0, errors
        sent = msgspec.json.decode(output.splitlines()[-1])
        assert sent["answered"] == 8 * 16
        assert sent["statuses"] == {"204": 8 * 16}
        if not target.raw:
            after = target.accepted()
            assert after["batch"] - before["batch"] == 8 * 16
            assert after["duplicate"] == before["duplicate"]


def test_the_default_worker_class_is_read_without_serving() -> None:
    assert default_worker_class() in {"gevent"} or default_worker_class().startswith("ingest_service.worker.")
