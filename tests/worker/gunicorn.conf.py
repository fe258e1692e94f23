"""gunicorn for the workers under test: patched first, as the service is, with bounds small enough to reach."""

from gevent import monkey  # type: ignore[import-untyped]

monkey.patch_all()

control_socket_disable = True
limit_request_line = 1024
limit_request_fields = 20
limit_request_field_size = 512
keepalive = 1
graceful_timeout = 4
timeout = 20
