# ruff: noqa: N999 - the name gunicorn looks for
"""gunicorn for the ingest service: gevent workers, patched before anything else is imported."""

from gevent import monkey

monkey.patch_all()

import gc  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

# One landmark array is small work; BLAS threads would only fight the workers for their cores.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(_name, "1")


def _worker_class(name: str) -> str:
    """gunicorn's own gevent worker, or one of this service's. Anything else would serve without gevent's hub."""
    if name == "gevent" or name.startswith("ingest_service."):
        return name
    raise ValueError(f"RESTARTIX_WORKER_CLASS must be gevent or a class of ingest_service, not {name!r}")


_metrics_dir = Path(os.environ.get("RESTARTIX_DATA_DIR", ".")) / "metrics"
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(_metrics_dir))

bind = os.environ.get("RESTARTIX_BIND", "127.0.0.1:8090")
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
worker_class = _worker_class(os.environ.get("RESTARTIX_WORKER_CLASS", "ingest_service.worker.IngestWorker"))
worker_connections = 2000
keepalive = 5  # a batch comes every second
timeout = 30  # without a sign of the worker's loop; recovery is not on it
graceful_timeout = 30
limit_request_line = 2048
limit_request_fields = 50
limit_request_field_size = 8190
control_socket_disable = True
accesslog = None
_COLLECT_AFTER = 10_000  # objects that could be in a cycle
preload_app = False  # the log, the keys and every connection belong to the worker that serves


def on_starting(server: Any) -> None:  # noqa: ANN401, ARG001 - gunicorn's hook
    """Metrics files of a former life would be counted as living workers."""
    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)


def post_worker_init(worker: Any) -> None:  # noqa: ANN401 - gunicorn's hook
    from ingest_service import wsgi  # noqa: PLC0415 - belongs to the worker

    wsgi.drains_when(lambda: not worker.alive)
    wsgi.when_serving(_leave_the_standing_alone)


def _leave_the_standing_alone() -> None:
    # What is there now stays for the worker's life: no collection need look at it. What requests leave behind is freed
    # by counting references; cycles come of refusals alone.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def child_exit(server: Any, worker: Any) -> None:  # noqa: ANN401, ARG001 - gunicorn's hook
    from prometheus_client import multiprocess  # noqa: PLC0415 - not needed where nobody dies

    multiprocess.mark_process_dead(worker.pid)


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ANN401, ARG001 - gunicorn's hook
    from ingest_service import wsgi  # noqa: PLC0415 - belongs to the worker

    wsgi.close()
