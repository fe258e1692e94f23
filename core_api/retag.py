"""The object store follows what the rows say of a replay's retention: at once where it can, later where it cannot.

A change of retention leaves a row in ``telemetry.replay_retags``, so it holds whatever happens to S3 or this process.
Here: paying such debts, and the loop that looks for them. Not here: deciding a session's retention.
"""

from __future__ import annotations

import threading
from uuid import UUID

import psycopg
import structlog

from core_api.database import Database, Row, Tx, every, one, run, the
from core_api.metrics import Metrics
from pipelines.ports.blob_store import BlobNotFound, BlobStore
from pipelines.replay.keys import RETENTION_TAG

log = structlog.get_logger(__name__)

NO_ORGANISATION = 0  # a tenant without a row: what is asked for crosses tenants by a function that gives ids only
SESSIONS_MAX = 100  # looked for at once
DELAY_FIRST_S = 5.0
DELAY_MAX_S = 3600.0
LOOK_S = 30.0


class Retagger:
    """Safe beside others of its kind: one at a time works on a session."""

    def __init__(self, database: Database, blobs: BlobStore, metrics: Metrics) -> None:
        self._database = database
        self._blobs = blobs
        self._metrics = metrics

    def settle(self, organisation_id: int, session_id: UUID) -> bool:
        """Bring the session's object to what its row says; True where nothing is owed any more.

        Raises ``psycopg.OperationalError``; a failing store is remembered with the debt instead.
        """
        with self._database.tenant(organisation_id) as tx:
            if not the(tx, "retag_turn", {"session_id": session_id})["taken"]:
                return False
            debts = every(tx, "retags_of_session", {"session_id": session_id})
            if not debts:
                return True
            ids = [each["id"] for each in debts]
            try:
                self._apply(tx, session_id, debts)
            except Exception as error:
                # Whatever it is, the debt stays and is tried again: an unset tag is a blob gone too early.
                attempts = max(each["attempts"] for each in debts)
                delay_s = min(DELAY_FIRST_S * 2.0 ** min(attempts, 20), DELAY_MAX_S)
                postponed = {"ids": ids, "error": type(error).__name__, "delay_s": delay_s}
                run(tx, "postpone_retags", postponed)
                log.warning("retag_postponed", session_id=str(session_id), retry_in_s=delay_s, exc_info=error)
                return False
            run(tx, "delete_retags", {"ids": ids})
        return True

    def drain(self) -> int:
        """Settle what is due now; how many sessions were settled. Raises ``psycopg.OperationalError``."""
        with self._database.tenant(NO_ORGANISATION) as tx:
            due = every(tx, "retags_due", {"sessions_max": SESSIONS_MAX})
        return sum(self.settle(each["organisation_id"], each["session_id"]) for each in due)

    def report(self) -> None:
        """Tell the metrics what is still owed, by all organisations. Raises ``psycopg.OperationalError``."""
        with self._database.tenant(NO_ORGANISATION) as tx:
            owed = the(tx, "retag_backlog", {})
        self._metrics.retags(owed["sessions"], owed["failing"], owed["oldest_asked_at"])

    def run(self, stop: threading.Event, look_s: float = LOOK_S) -> None:
        """Look round until ``stop`` is set; a database that is away is tried again at the next look."""
        while not stop.is_set():
            try:
                settled = self.drain()
                if settled:
                    log.info("retagged", sessions=settled)
                self.report()
            except psycopg.Error as error:
                self._metrics.retags_unknown()
                log.warning("retag_look_failed", error=type(error).__name__)
            stop.wait(look_s)

    def start(self, stop: threading.Event | None = None) -> threading.Thread:
        """``run`` beside the requests of this process, for as long as it lives."""
        thread = threading.Thread(target=self.run, args=(stop or threading.Event(),), name="retagger", daemon=True)
        thread.start()
        return thread

    def _apply(self, tx: Tx, session_id: UUID, debts: list[Row]) -> None:
        for deleted_key in {each["deleted_key"] for each in debts if each["deleted_key"] is not None}:
            self._blobs.delete_all_versions(deleted_key)
        session = one(tx, "retained_blob", {"session_id": session_id})
        if session is None or session["blob_key"] is None:
            return
        wanted = {RETENTION_TAG: session["retention"]}
        try:
            if self._blobs.tags(session["blob_key"], session["blob_version_id"]) != wanted:
                self._blobs.set_tags(session["blob_key"], wanted, session["blob_version_id"])
        except BlobNotFound:
            # It expired, or a later revision took its place, which was tagged by the row as it was then: nothing to do.
            log.info("retag_without_object", session_id=str(session_id))
