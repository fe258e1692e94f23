"""The other configuration file, and every hook saying that it was called."""

# ruff: noqa: ANN401 - gunicorn has no types

from pathlib import Path
from typing import Any

exec((Path(__file__).parent / "gunicorn.conf.py").read_text())


def _say(what: str, *, log: Any) -> None:
    log.info("hook %s", what)


def post_worker_init(worker: Any) -> None:
    _say("post_worker_init", log=worker.log)


def pre_request(worker: Any, req: Any) -> None:
    _say(f"pre_request {req.method} {req.path} {dict(req.headers)['HOST']}", log=worker.log)


def post_request(worker: Any, req: Any, environ: dict[str, Any], resp: Any) -> None:
    _say(f"post_request {req.uri} {environ['QUERY_STRING']} {resp.status}", log=worker.log)


def worker_exit(server: Any, worker: Any) -> None:
    _say(f"worker_exit {server.pid == worker.ppid}", log=worker.log)
