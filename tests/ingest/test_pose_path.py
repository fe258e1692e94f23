"""The short way of a batch answers as Falcon does: the same application with it and without, request by request."""

from __future__ import annotations

from typing import Any, cast

import falcon
import falcon.testing
import pytest

from ingest_service import problems
from ingest_service.cors import CorsMiddleware
from ingest_service.endpoints import POSE_PATH, REFUSAL, Intake, PoseFrames
from ingest_service.pose_path import PosePath
from ingest_service.problems import ProblemError
from ingest_service.requests import Environ

ORIGIN = "https://portal.example"


class Frames(PoseFrames):
    """Accepts, or refuses as it is told to by a header; counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__(cast("Intake", None))
        self.asked = 0

    def accept(self, environ: Environ) -> None:
        self.asked += 1
        code = environ.get("HTTP_X_CODE")
        if code == "fault":
            raise RuntimeError("a fault")
        if code is not None:
            raise ProblemError(problems.REFUSALS[code].status, code, "because", 5)


class Pair:
    """One application over one endpoint, with the short way before it and without."""

    def __init__(self) -> None:
        self.frames = Frames()
        cors = CorsMiddleware(frozenset((ORIGIN,)), 86400)
        falcon_app = falcon.App(middleware=[cors])
        falcon_app.add_error_handler(ProblemError, lambda _, resp, error, __: problems.write(resp, error))
        falcon_app.add_error_handler(RuntimeError, lambda _, resp, __, ___: resp.set_header("x-fault", "ours"))
        falcon_app.add_route(POSE_PATH, self.frames)
        self.plain = falcon.testing.TestClient(falcon_app)
        self.short = falcon.testing.TestClient(cast("Any", PosePath(self.frames, cors, falcon_app)))

    def answers(self, method: str, path: str, headers: dict[str, str]) -> list[tuple[str, dict[str, str], bytes]]:
        found = []
        for client in (self.plain, self.short):
            answer = client.simulate_request(method, path, headers=headers, body=b"x" if method == "POST" else None)
            found.append((answer.status, dict(answer.headers), answer.content))
        return found


@pytest.fixture
def pair() -> Pair:
    return Pair()


@pytest.mark.parametrize("origin", [None, ORIGIN, "https://elsewhere.example"])
@pytest.mark.parametrize("code", [None, "token_missing", "session_ended", "rate_exceeded", "disk_full", "fault"])
def test_the_same_answer_with_the_work_done_once(pair: Pair, origin: str | None, code: str | None) -> None:
    headers = {name: value for name, value in (("Origin", origin), ("X-Code", code)) if value is not None}
    plain, short = pair.answers("POST", POSE_PATH, headers)
    assert short == plain
    assert short[0][:3] == (
        "204" if code is None else "200" if code == "fault" else f"{problems.REFUSALS[code].status}"
    )
    assert pair.frames.asked == 2  # once by each


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", POSE_PATH), ("OPTIONS", POSE_PATH), ("PUT", POSE_PATH), ("POST", POSE_PATH + "/"), ("POST", "/v1")],
)
def test_everything_else_is_falcons(pair: Pair, method: str, path: str) -> None:
    plain, short = pair.answers(method, path, {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"})
    assert short == plain
    assert pair.frames.asked == 0


def test_no_header_poses_as_a_refusal(pair: Pair) -> None:
    """A header becomes ``HTTP_...`` in the environ."""
    assert not REFUSAL.startswith("HTTP_")
    assert pair.short.simulate_post(POSE_PATH, headers={REFUSAL: "x"}, body=b"x").status_code == 204
