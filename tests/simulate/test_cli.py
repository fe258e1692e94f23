"""``restartix simulate`` from the command line."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import jwt
import pytest
from click.testing import CliRunner, Result

from pipelines.pose import wire
from pipelines.simulate import recording as recordings
from pipelines.simulate.cli import simulate

TOKEN = jwt.encode({"sid": "550e8400-e29b-41d4-a716-446655440000"}, "k" * 32, algorithm="HS256")


class _Node(BaseHTTPRequestHandler):
    """Accepts whatever decodes."""

    protocol_version = "HTTP/1.1"
    frames: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = b""
        if self.path == "/v1/pose/frames":
            self.frames.append(wire.decode(body).frame_count)
            status = 204
        elif self.path == "/v1/media/events":
            status = 204
        else:
            status, answer = 202, b'{"state": "ended"}'
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests read what was received."""


@pytest.fixture
def node() -> Iterator[str]:
    _Node.frames.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Node)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(simulate, arguments)


def test_a_recording_is_written(tmp_path: Path) -> None:
    target = tmp_path / "squat.npz"
    result = run("--reps", "2", "--fault", "knee_valgus=0.5", "--fault", "jerky", "--save", str(target))
    assert result.exit_code == 0, result.output
    assert recordings.load(target).true_reps == 2
    assert "repetitions: 2" in result.stderr


def test_many_recordings_are_written_apart(tmp_path: Path) -> None:
    assert run("--reps", "1", "--patients", "2", "--save", str(tmp_path / "a.parquet")).exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-1.parquet", "a-2.parquet"]


def test_it_streams_with_a_session_token(node: str) -> None:
    result = run("--reps", "2", "--tempo", "2", "--speed", "max", "--token", TOKEN, "--ingest-url", node)
    assert result.exit_code == 0, result.output
    assert "acknowledged (on disk)" in result.stderr
    assert sum(_Node.frames) > 200
    assert TOKEN not in result.output


def test_its_report_as_json(node: str, tmp_path: Path) -> None:
    target = tmp_path / "r.npz"
    run("--reps", "1", "--save", str(target))
    result = run("--file", str(target), "--speed", "max", "--token", TOKEN, "--ingest-url", node, "--json")
    assert result.exit_code == 0, result.output
    (report,) = json.loads(result.stdout)
    assert report["acknowledged"] == report["sent"] == report["batches"] == len(_Node.frames)
    assert report["rejected"] == {}
    assert report["end_state"] == "ended"
    assert report["latency_p99_ms"] > 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--plan"),
        (("--plan", "1", "--exercise-id", "1"), "RESTARTIX_IDENTITY_TOKEN"),
        (("--plan", "1", "--exercise-id", "1", "--identity-token", "x", "--patients", "2"), "2 --plan"),
        (("--token", TOKEN), "--ingest-url"),
        (("--token", "nonsense", "--ingest-url", "http://127.0.0.1:9"), "not a session token"),
        (("--exercise", "moonwalk"), "moonwalk"),
        (("--fault", "sneeze"), "sneeze"),
        (("--fault", "tremor=9"), "0 to 3"),
        (("--speed", "-1"), "above 0"),
        (("--speed", "soon"), "max"),
        (("--tempo", "0.1", "--dry-run"), "tempo_s"),
        (("--dry-run", "--save", "/nonexistent/x.npz"), "No such file"),
        (("--save", "x.mp4"), ".npz or .parquet"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESTARTIX_IDENTITY_TOKEN", raising=False)
    result = run(*arguments)
    assert result.exit_code != 0
    assert told in result.output


def test_a_service_that_is_not_there_is_a_plain_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTARTIX_IDENTITY_TOKEN", "x")
    result = run("--plan", "1", "--exercise-id", "1", "--core-api", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "ConnectError" in result.output
    assert "Traceback" not in result.output


def test_help_shows_faults_and_examples() -> None:
    output = run("--help").output
    assert "knee_valgus" in output
    assert "--speed max" in output
