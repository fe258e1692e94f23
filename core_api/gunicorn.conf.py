# ruff: noqa: N999 - gunicorn's own name for it
"""gunicorn's settings for the Core API. gevent patches first: everything imported later must wait cooperatively,
psycopg and its pool included.
"""

from gevent import monkey  # type: ignore[import-untyped]

monkey.patch_all()

import os  # noqa: E402
import shutil  # noqa: E402
import tempfile  # noqa: E402
from typing import Any  # noqa: E402

# Where the workers add up their metrics; set before the client library is imported, which looks at it then.
_metrics_dir = None if os.environ.get("PROMETHEUS_MULTIPROC_DIR") else tempfile.mkdtemp(prefix="restartix-core-api-")
if _metrics_dir is not None:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = _metrics_dir

bind = os.environ.get("RESTARTIX_CORE_API_BIND", "127.0.0.1:8081")
workers = int(os.environ.get("RESTARTIX_CORE_API_WORKERS", "2"))
worker_class = "gevent"
worker_connections = 1000
preload_app = False  # each worker has its own pool and greenlets
timeout = 60
graceful_timeout = 20
keepalive = 5
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
accesslog = None  # the app logs each request itself, without query strings
errorlog = "-"
control_socket_disable = True
proc_name = "restartix-core-api"


def child_exit(server: Any, worker: Any) -> None:  # noqa: ANN401, ARG001 - gunicorn's hook
    from prometheus_client import multiprocess  # noqa: PLC0415 - not needed where nobody dies

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:  # noqa: ANN401, ARG001 - gunicorn's hook
    if _metrics_dir is not None:
        shutil.rmtree(_metrics_dir, ignore_errors=True)
