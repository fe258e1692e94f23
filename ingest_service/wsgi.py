"""Composition: one worker's service, put together from its environment. Nothing happens until ``app`` is asked for.

``gunicorn -c ingest_service/gunicorn.conf.py ingest_service.wsgi:app``
"""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from ingest_service import logs, runtime
from ingest_service.admission import Admission
from ingest_service.app import Deps, create_app, create_recovering_app
from ingest_service.chores import Chores
from ingest_service.consent import Grant, LedgerRow
from ingest_service.consent_feed import ConsentFeed
from ingest_service.cors import CorsMiddleware
from ingest_service.database import Database, connect
from ingest_service.ending import Ender, WithdrawalWatch
from ingest_service.endpoints import Health, Intake
from ingest_service.gate import Gate, WsgiApp
from ingest_service.metrics import Metrics
from ingest_service.opening import Opening
from ingest_service.requests import BodyReader, WaitingRoom
from ingest_service.sessions import PatientKey, Session, SessionTable
from ingest_service.settings import Settings
from ingest_service.tokens import KeySet, TokenVerifier, fetch_jwks
from pipelines.landing import closed, layout
from pipelines.landing.disk import DiskLog, open_log
from pipelines.landing.world import RunInThread

log = structlog.get_logger(__name__)


class Service(NamedTuple):
    """A running service: the application, and how it ends."""

    app: WsgiApp
    close: Callable[[], None]


_service: Service | None = None
_stopping: Callable[[], bool] = bool  # False until the server says otherwise
_on_serving: list[Callable[[], None]] = []
_is_serving = threading.Event()


def __getattr__(name: str) -> object:
    """``app``, made when it is first asked for: after the fork, in the worker that serves it."""
    global _service  # noqa: PLW0603 - one process, one service
    if name != "app":
        raise AttributeError(name)
    if _service is None:
        _service = start(os.environ)
    return _service.app


def drains_when(is_draining: Callable[[], bool]) -> None:
    """How the server says that this worker is to finish: from then on it is not ready."""
    global _stopping  # noqa: PLW0603 - as above
    _stopping = is_draining


def close() -> None:
    """Finish what was begun; nothing is left to recover. Called when the worker exits."""
    global _service
    if _service is not None:
        service, _service = _service, None
        service.close()


def when_serving(action: Callable[[], None]) -> None:
    """Have ``action`` called once this worker has recovered and serves; at once if it does already."""
    if _is_serving.is_set():
        action()
    else:
        _on_serving.append(action)


def start(environ: Mapping[str, str]) -> Service:
    """A service that answers at once, recovers the node's log beside that, and then serves.

    Raises ``SettingInvalid``, and ``OSError`` where the data directory cannot be used at all.
    """
    settings = Settings.from_env(environ)
    logs.configure()
    layout.prepare(settings.data_dir)
    metrics = Metrics()
    thread_runner = runtime.thread_runner()
    writer = Database(settings.database_url, "writer")
    serving: list[Service] = []
    is_closed = threading.Event()

    def open_service() -> None:
        landing = _open_landing(settings, metrics)
        if is_closed.is_set():
            landing.close()
            return
        serving.append(_serve(settings, metrics, thread_runner, landing, writer))
        gate.open(serving[0].app)
        _is_serving.set()
        for action in _on_serving:
            action()

    def stop() -> None:
        is_closed.set()
        opening.end()
        for service in serving:
            service.close()
        writer.close()
        metrics.flush()

    def not_ready() -> list[str]:
        return ["draining", "recovering"] if _stopping() else ["recovering"]

    opening = Opening(open_service, lambda: _renew_lease(settings, writer, ready=False))
    health = Health(metrics, lambda: opening.failure, not_ready, layout.finaliser_metrics(settings.data_dir))
    cors = CorsMiddleware(settings.portal_origins, settings.preflight_max_age_s)

    def on_refusal(origin: str | None, code: str) -> list[tuple[str, str]]:
        metrics.rejected.labels(code).inc()
        return cors.headers(origin)

    gate = Gate(create_recovering_app(settings, health, metrics), on_refusal, settings.recovery_wait_s)
    opening.begin(settings.lease_s / 3, settings.retry_after_s)
    return Service(gate, stop)


def _serve(
    settings: Settings, metrics: Metrics, thread_runner: RunInThread, landing: DiskLog, writer: Database
) -> Service:
    loader = Database(settings.database_url, "consent")
    chores = Chores(database=writer, metrics=metrics, node_id=settings.node_id)
    sessions = SessionTable(
        settings.open_sessions_max, settings.session_idle_s, settings.batch_burst, settings.duplicate_window
    )
    ender = Ender(
        data_dir=settings.data_dir,
        landing=landing,
        run_in_thread=thread_runner,
        announce=chores.ended,
        now=_now,
    )
    watch = WithdrawalWatch(sessions, lambda patient: (feed.view.find(patient) or {}).items(), chores.wake)
    feed = ConsentFeed(
        connect=lambda: connect(settings.database_url, "consent feed"),
        read_ledger=lambda patients: _read_ledger(loader, patients),
        live_patients=sessions.patients,
        on_change=watch.changed,
        token=secrets.token_hex(8),
        max_age_s=settings.consent_max_age_s,
        wait_s=settings.consent_wait_s,
    )
    places = WaitingRoom(settings.requests_max, settings.retry_after_s)
    parts = _Parts(settings, metrics, landing, sessions, feed, chores, writer, places, ender)
    _schedule(parts)
    chores.when_woken(lambda: watch.end_queued(ender))
    feed.start()
    chores.start()

    def stop() -> None:
        feed.stop()
        landing.close()
        chores.stop()
        loader.close()
        log.info("stopped", log=landing.name)

    return Service(create_app(_deps(parts)), stop)


class _Parts(NamedTuple):
    settings: Settings
    metrics: Metrics
    landing: DiskLog
    sessions: SessionTable
    feed: ConsentFeed
    chores: Chores
    writer: Database
    places: WaitingRoom
    ender: Ender

    def not_ready(self) -> list[str]:
        reasons = {
            "draining": _stopping(),
            "the disk failed": self.landing.failure is not None,
            "the disk is full": self.landing.full,
            "consent is unknown": not self.feed.is_sighted(),
        }
        return [reason for reason, holds in reasons.items() if holds]

    def renew_lease(self) -> None:
        _renew_lease(self.settings, self.writer, ready=not self.not_ready())

    def upkeep(self) -> None:
        self._replace_if_failed()
        self.landing.maintain()
        self.ender.mark_again()
        self.metrics.flush()
        self.sessions.forget_idle(time.time())
        self.feed.view.keep_only(self.sessions.patients())
        self.metrics.open_sessions.set(len(self.sessions))
        self.metrics.waiting_bytes.set(self.landing.waiting_bytes)
        self.metrics.waiting_requests.set(self.places.taken_count)
        self.metrics.log_bytes.set(self.landing.use.log_bytes)
        self.metrics.spool_bytes.set(self.landing.use.spool_bytes)
        self.metrics.free_bytes.set(self.landing.use.free_bytes)
        age_s = self.feed.age_s()
        self.metrics.consent_age_s.set(float("nan") if age_s is None else age_s)
        self.metrics.ready.set(0 if self.not_ready() else 1)

    def _replace_if_failed(self) -> None:
        """A log that failed never acknowledges again: let the server start another worker, which recovers it."""
        if self.landing.failure is None or _stopping():
            return
        log.error("worker_gives_up", log=self.landing.name, why=self.landing.failure)
        os.kill(os.getpid(), signal.SIGTERM)


def _open_landing(settings: Settings, metrics: Metrics) -> DiskLog:
    landing, report = open_log(
        settings.data_dir,
        started_at=_now(),
        salt=secrets.token_bytes(4),
        options=settings.disk,
        on_commit=metrics.commits.append,
        world=runtime.world(),
    )
    log.info("recovered", log=landing.name, **report._asdict())
    return landing


def _deps(parts: _Parts) -> Deps:
    settings, landing, chores = parts.settings, parts.landing, parts.chores
    keys = KeySet(lambda: fetch_jwks(settings.jwks), time.monotonic, settings.jwks_refresh_min_s)
    tokens = TokenVerifier(keys, settings.token_issuer, 2 * settings.open_sessions_max, settings.retry_after_s)

    watch = closed.Watch(settings.data_dir)

    def is_closed(session: Session) -> bool:
        state = watch.state()
        if session.unmarked_at == state:
            return False
        if session.closed_marker is None:
            session.closed_marker = closed.marker(settings.data_dir, session.header.session_id)
        if closed.is_marked(session.closed_marker):
            return True
        session.unmarked_at = state
        return False

    admission = Admission(
        node_id=settings.node_id,
        sessions=parts.sessions,
        consent=parts.feed,
        is_closed=is_closed,
        on_denial=lambda session, purpose, reason: chores.denied(session.header, purpose, reason),
        rate_per_s=settings.batch_rate_per_s,
        burst=settings.batch_burst,
        retry_after_s=settings.retry_after_s,
    )
    bodies = BodyReader(settings.body_max_bytes, settings.body_timeout_s, runtime.deadline())
    intake = Intake(settings, tokens, bodies, parts.places, admission, landing, parts.metrics, chores.touched, _now)
    beside = layout.finaliser_metrics(settings.data_dir)
    return Deps(intake, parts.ender, Health(parts.metrics, lambda: landing.failure, parts.not_ready, beside))


def _renew_lease(settings: Settings, writer: Database, *, ready: bool) -> None:
    """Raises ``psycopg.Error``."""
    lease = {"node_id": settings.node_id, "ingest_url": settings.ingest_url, "lease_s": settings.lease_s}
    writer.rows("renew_node_lease", {**lease, "ready": ready})


def _schedule(parts: _Parts) -> None:
    settings, chores = parts.settings, parts.chores
    chores.every(settings.maintenance_interval_s, parts.upkeep, "upkeep")
    chores.every(settings.touch_interval_s, chores.write_touches, "touches")
    chores.every(settings.lease_s / 3, parts.renew_lease, "lease")


def _read_ledger(loader: Database, patients: list[PatientKey]) -> list[LedgerRow]:
    parameters = {"organisation_ids": [org for org, _ in patients], "principal_ids": [sub for _, sub in patients]}
    return [
        LedgerRow((org, sub), purpose, Grant(granted, effective_at, withdrawn_at))
        for org, sub, purpose, granted, effective_at, withdrawn_at in loader.rows("consent_state", parameters)
    ]


def _now() -> datetime:
    return datetime.now(UTC)
