# ruff: noqa: N999 - gunicorn's own name for it
"""gunicorn's settings for the Core API. gevent patches first: everything imported later must wait cooperatively,
psycopg and its pool included.
"""

from gevent import monkey  # type: ignore[import-untyped]

monkey.patch_all()

import os  # noqa: E402

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
