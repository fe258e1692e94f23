"""The short way of an accepted batch: WSGI in front of Falcon, for the one path that carries the load.

Belongs here: which requests take the short way, and their one good answer. What a batch must pass is ``endpoints``'s;
a refused one goes on to Falcon, which answers it there as it answers all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from ingest_service.cors import CorsMiddleware
from ingest_service.endpoints import POSE_PATH, REFUSAL, PoseFrames

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_NO_CONTENT = f"{HTTPStatus.NO_CONTENT:d} {HTTPStatus.NO_CONTENT.phrase}"


class PosePath:
    """WSGI application: ``POST /v1/pose/frames`` by itself, the rest by ``rest``."""

    def __init__(self, frames: PoseFrames, cors: CorsMiddleware, rest: WsgiApp) -> None:
        self._accept = frames.accept
        self._cors = cors
        self._rest = rest

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != POSE_PATH or environ["REQUEST_METHOD"] != "POST":
            return self._rest(environ, start_response)
        try:
            self._accept(environ)
        except Exception as error:
            environ[REFUSAL] = error
            return self._rest(environ, start_response)
        start_response(_NO_CONTENT, self._cors.headers(environ.get("HTTP_ORIGIN")))
        return ()
