"""The consent ledger's news from PostgreSQL: ``LISTEN`` first, read the ledger then, and listen for our own echo.

Two greenlets: the listener owns a connection that only listens and echoes; the loader reads the ledger, once for all
patients who wait. Any fault of the listener's connection discards everything that was known.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable

import psycopg
import structlog
from psycopg import sql

from ingest_service.consent import ConsentView, Grant, LedgerRow
from ingest_service.sessions import PatientKey

_ECHO_INTERVAL_S = 1.0
_RECONNECT_S = 0.5
_SECONDS_BEFORE_WAITING_IS_FUTILE = 5.0
_WAITING_PATIENTS_MAX = 20_000

log = structlog.get_logger(__name__)


class ConsentUnknownError(Exception):
    """The feed is blind, or the ledger could not be read in time."""


class ConsentFeed:
    """Keeps a ``ConsentView`` true. ``on_change`` is called with each patient whose state was read or changed."""

    def __init__(
        self,
        *,
        connect: Callable[[], psycopg.Connection[tuple[object, ...]]],
        read_ledger: Callable[[list[PatientKey]], list[LedgerRow]],
        live_patients: Callable[[], set[PatientKey]],
        on_change: Callable[[PatientKey], None],
        token: str,
        max_age_s: float,
        wait_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.view = ConsentView()
        self._connect = connect
        self._read_ledger = read_ledger
        self._live_patients = live_patients
        self._on_change = on_change
        self._echo_channel = f"consent_echo_{token}"
        self._max_age_s = max_age_s
        self._wait_s = wait_s
        self._monotonic = monotonic
        self._stopping = threading.Event()
        self._wanted: dict[PatientKey, threading.Event] = {}
        self._wake_loader = threading.Event()
        self._first_echo = threading.Event()
        self._threads = [
            threading.Thread(target=self._listen_for_ever, name="consent listener", daemon=True),
            threading.Thread(target=self._load_for_ever, name="consent loader", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._wake_loader.set()
        for thread in self._threads:
            thread.join(timeout=2 * _ECHO_INTERVAL_S + 1)

    def age_s(self) -> float | None:
        return self.view.age_s(self._monotonic())

    def is_sighted(self) -> bool:
        """Whether everything committed up to ``max_age_s`` ago is known."""
        age_s = self.age_s()
        return age_s is not None and age_s <= self._max_age_s

    def state(self) -> int | None:
        """A number that is another one after any news; None while everything committed lately may not be known."""
        return self.view.change_count if self.is_sighted() else None

    def grants(self, patient: PatientKey) -> dict[str, Grant]:
        """The patient's state by purpose, read on first need. Raises ``ConsentUnknownError``."""
        deadline_s = self._monotonic() + self._wait_s
        while True:
            if self.age_s() is None:  # just connected: the first echo is milliseconds away
                self._first_echo.wait(max(0.0, deadline_s - self._monotonic()))
            if not self.is_sighted():
                raise ConsentUnknownError("the consent ledger's news is too old")
            grants = self.view.find(patient)
            if grants is not None:
                return dict(grants)
            self._want(patient).wait(max(0.0, deadline_s - self._monotonic()))
            if self.view.find(patient) is None and self._monotonic() >= deadline_s:
                raise ConsentUnknownError("the consent ledger could not be read in time")

    def _want(self, patient: PatientKey) -> threading.Event:
        waiting = self._wanted.get(patient)
        if waiting is None:
            if len(self._wanted) >= _WAITING_PATIENTS_MAX:
                raise ConsentUnknownError("too many sessions wait for the consent ledger")
            waiting = self._wanted[patient] = threading.Event()
            self._wake_loader.set()
        return waiting

    def _load_for_ever(self) -> None:
        while not self._stopping.is_set():
            self._wake_loader.wait()
            self._wake_loader.clear()
            waiting, self._wanted = self._wanted, {}
            if not waiting or self._stopping.is_set():
                continue
            try:
                self._load(list(waiting))
            except psycopg.Error as error:
                log.warning("consent_ledger_unreadable", error=type(error).__name__)
                self._stopping.wait(_RECONNECT_S)
                self._read_again(waiting.keys() & self._live_patients())
            finally:
                for event in waiting.values():
                    event.set()

    def _read_again(self, patients: Iterable[PatientKey]) -> None:
        """What a live session awaits, or what news was about, is not dropped because one reading failed."""
        for patient in patients:
            with contextlib.suppress(ConsentUnknownError):  # too many wait: each asks for itself with its next request
                self._want(patient)

    def _load(self, patients: list[PatientKey]) -> None:
        if not self.is_sighted():
            return  # nobody listens: what is read now could be outdated without notice
        remaining = patients
        deadline_s = self._monotonic() + _SECONDS_BEFORE_WAITING_IS_FUTILE
        while remaining and self._monotonic() < deadline_s:
            generation = self.view.begin_load(remaining)
            rows = self._read_ledger(remaining)
            remaining = self.view.finish_load(generation, remaining, rows)
        for patient in patients:
            self._on_change(patient)

    def _listen_for_ever(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._connect() as connection:
                    self._listen(connection)
            except psycopg.Error as error:
                log.warning("consent_feed_lost", error=type(error).__name__)
            except Exception:
                log.exception("consent_feed_failed")  # must not end the listener: it would stay blind for ever
            # What is known stays until it is too old: a blip of the database need not stop anyone.
            self._stopping.wait(_RECONNECT_S)

    def _listen(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        connection.execute("listen consent")
        connection.execute(sql.SQL("listen {}").format(sql.Identifier(self._echo_channel)))
        self._first_echo.clear()
        self.view.reset()
        sent_s: dict[str, float] = {}
        number = 0
        first = True
        while not self._stopping.is_set():
            number += 1
            sent_s = {str(number - 1): sent_s.get(str(number - 1), 0.0), str(number): self._monotonic()}
            connection.execute("select pg_notify(%s, %s)", (self._echo_channel, str(number)))
            for news in connection.notifies(timeout=_ECHO_INTERVAL_S):
                if news.channel == self._echo_channel:
                    if moment_s := sent_s.get(news.payload):
                        self.view.echoed(moment_s)
                        self._first_echo.set()
                    if first:
                        first = False
                        log.info("consent_feed_ready")
                        for patient in self._live_patients():
                            self._want(patient)
                else:
                    self._take(news.payload)
                if self._stopping.is_set():
                    return

    def _take(self, payload: str) -> None:
        patient = self.view.notified(payload)
        if patient is not None:
            self._read_again([patient])
