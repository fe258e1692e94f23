"""The gunicorn worker: its life cycle over ``ingest_service.http``. What a connection does is there.

``worker_class = "ingest_service.worker.IngestWorker"``. gunicorn's own gevent worker spends more on a request than the
service does; this one spends about a third of that and is as strict (``docs/decisions/0010-own-gunicorn-worker.md``).
HTTP/1.1 over plain TCP or a Unix socket; TLS, HTTP/2 and the PROXY protocol end in front of it.
"""

from __future__ import annotations

import _socket
import os
import time
from collections.abc import Callable
from datetime import timedelta
from email.utils import formatdate
from functools import partial
from typing import Any

import gevent  # type: ignore[import-untyped]
from gevent.pool import Pool  # type: ignore[import-untyped]
from gevent.server import StreamServer  # type: ignore[import-untyped]
from gunicorn.http.message import _ip_in_allow_list  # type: ignore[import-untyped]
from gunicorn.http.wsgi import base_environ  # type: ignore[import-untyped]
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]

from ingest_service.http.connection import Connection, RequestView, WsgiApp
from ingest_service.http.errors import RequestError
from ingest_service.http.head import Environ, HeadReader
from ingest_service.http.limits import HttpLimits
from ingest_service.http.response import FieldCache, Response
from ingest_service.http.transport import ReceiveBuffer

# How often deadlines are looked at and a stop is noticed. A deadline is missed by at most this.
_TICK_S = 0.25
# How long a draining worker lets a peer wait that has connected and not asked anything yet.
_FIRST_REQUEST_S = 1.0

# What would make the reader laxer, or is served by gunicorn's other workers. gunicorn's defaults are all served.
_UNSERVED: dict[str, Callable[[Any], bool]] = {
    "is_ssl": bool,
    "http2_cleartext": lambda value: value not in (None, False, "off"),
    "proxy_protocol": lambda value: value != "off",
    "protocol": lambda value: value != "http",
    "permit_obsolete_folding": bool,
    "strip_header_spaces": bool,
    "permit_unconventional_http_method": bool,
    "permit_unconventional_http_version": bool,
    "casefold_http_method": bool,
    "header_map": lambda value: value == "dangerous",
}


class UnservedSettingError(RuntimeError):
    """A gunicorn setting asks for what this worker does not do."""


class IngestWorker(GeventWorker):  # type: ignore[misc]
    """gevent's accept loop, our connections. The ``Host`` of every connection."""

    alive: bool
    wsgi: WsgiApp
    now_s = staticmethod(time.monotonic)

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - gunicorn's
        super().__init__(*args, **kwargs)
        for setting, is_unserved in _UNSERVED.items():
            if is_unserved(value := getattr(self.cfg, setting)):
                raise UnservedSettingError(f"{setting} = {value!r} is not served by this worker; use `gevent`")
        self.limits = HttpLimits.from_config(self.cfg, os.environ)
        self.fields = FieldCache()
        self.date_line = b""
        self.observed = False
        self._connections: set[Connection] = set()

    def run(self) -> None:
        """Serve until told to stop, then finish what was begun within ``graceful_timeout``."""
        self.buffer = ReceiveBuffer()
        self._refresh_date()
        hooks = ("pre_request", "post_request")
        self.observed = bool(self.log.access_log_enabled or self.cfg.statsd_host) or any(
            self.cfg.settings[name].get() is not self.cfg.settings[name].default for name in hooks
        )
        pool = Pool(self.worker_connections)
        servers = [self._listen(listener, pool) for listener in self.sockets]
        self._tick_until(lambda: not self.alive)
        for server in servers:
            server.close()
        drain_s = time.monotonic()
        self._tick_until(partial(self._is_drained, drain_s))
        if self._connections:
            self.log.warning("%d connections did not end in time", len(self._connections))
            pool.kill(timeout=1)

    def _is_drained(self, began_s: float) -> bool:
        """Also ends waits for requests that have not begun; a peer just connected is given a moment to ask."""
        took_s = time.monotonic() - began_s
        for connection in tuple(self._connections):
            connection.stop_idling(is_patient=took_s < _FIRST_REQUEST_S)
        return not self._connections or took_s > self.cfg.graceful_timeout

    def _tick_until(self, ended: Any) -> None:  # noqa: ANN401 - a predicate
        while not ended():
            self.notify()
            self._refresh_date()
            now_s = time.monotonic()
            for connection in tuple(self._connections):
                connection.expire(now_s)
            gevent.sleep(_TICK_S)

    def _refresh_date(self) -> None:
        self.date_line = b"Date: %s\r\n" % formatdate(usegmt=True).encode("ascii")

    def _listen(self, listener: Any, pool: Any) -> Any:  # noqa: ANN401 - gevent is untyped
        listener.setblocking(1)
        name = listener.getsockname()
        server = StreamServer(listener, handle=partial(self._serve, *self._common(name)), spawn=pool)
        if self.cfg.workers > 1:
            server.max_accept = 1
        server.start()
        return server

    def _common(self, listener_name: Any) -> tuple[Environ, HeadReader, HeadReader]:  # noqa: ANN401
        """What is the same for all requests of a listener: the environ, and how trusted and other peers are read."""
        script_name = os.environ.get("SCRIPT_NAME", "")
        is_tcp = isinstance(listener_name, tuple)
        environ: Environ = {
            **base_environ(self.cfg),
            "wsgi.multithread": True,
            "wsgi.url_scheme": "http",
            "SCRIPT_NAME": script_name,
            "SERVER_NAME": listener_name[0] if is_tcp else "localhost",
            "SERVER_PORT": str(listener_name[1]) if is_tcp else "80",
        }
        schemes = {"HTTP_" + name.replace("-", "_"): value for name, value in self.cfg.secure_scheme_headers.items()}
        refuse = self.cfg.header_map == "refuse"
        trusting = HeadReader(self.limits, schemes, script_name, refuse_underscores=refuse)
        return environ, trusting, HeadReader(self.limits, {}, script_name, refuse_underscores=refuse)

    def _serve(self, common: Environ, trusting: HeadReader, wary: HeadReader, client: Any, address: Any) -> None:  # noqa: ANN401
        sock = _socket.socket(client.family, client.type, client.proto, fileno=client.detach())
        sock.setblocking(False)
        environ = common.copy()
        trusted = True
        if isinstance(address, tuple):
            environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = address[0], str(address[1])
            cfg = self.cfg
            trusted = _ip_in_allow_list(address[0], cfg.forwarded_allow_ips, cfg.forwarded_allow_networks())
        else:
            environ["REMOTE_ADDR"] = ""
        connection = Connection(self, sock, trusting if trusted else wary, environ)
        self._connections.add(connection)
        try:
            connection.run()
        finally:
            self._connections.discard(connection)

    # For the connections (Host).

    def count_request(self) -> None:
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False

    def is_draining(self) -> bool:
        return not self.alive

    def before(self, request: RequestView) -> None:
        self.cfg.pre_request(self, request)

    def after(self, request: RequestView, environ: Environ, response: Response, took: timedelta) -> None:
        self.log.access(response, request, environ, took)
        try:
            self.cfg.post_request(self, request, environ, response)
        except Exception:
            self.log.exception("Exception in post_request hook")

    def application_failed(self, method: str, path: str) -> None:
        self.log.exception("Error handling request %s %s", method, path)

    def refused(self, origin: str | None, error: RequestError) -> bytes:
        """An application may count the server's own refusals and have a say in them: ``on_refusal(origin, code)`` gives
        header fields, CORS for one.
        """
        self.log.debug("Refused a request: %s", error)
        on_refusal = getattr(self.wsgi, "on_refusal", None)
        if on_refusal is None:
            return b""
        lines = (self.fields.field(name, value)[1] for name, value in on_refusal(origin, error.code))
        return b"".join(lines)
