"""What a withdrawal of one purpose reaches back to leaves a session's spool while the session goes on.

Belongs here: which sessions, and what of them. Does not belong here: rewriting files (``landing.withhold``), or spools
of finalised sessions, which go whole (``cleanup``).
"""

from __future__ import annotations

import datetime as dt
from uuid import UUID

import structlog

from pipelines.finalise.disk import NodeDisk
from pipelines.finalise.load import windows
from pipelines.landing.withhold import Withheld
from pipelines.ports.session_store import NodeSession, SessionStore
from pipelines.replay.consent import ALWAYS, ConsentWindow

_DONE_MAX = 10_000


class Withholding:
    """One node's. What is remembered, which withdrawals are done with, is a shortcut."""

    def __init__(self, disk: NodeDisk, store: SessionStore, log: structlog.stdlib.BoundLogger) -> None:
        self._disk = disk
        self._store = store
        self._log = log
        self._done: dict[UUID, dt.datetime] = {}

    def look(self, session: NodeSession) -> None:
        """See to it that no spool file of an unfinished session keeps what consent does not cover.

        To be repeated until nothing is left: a living worker rewrites its own files, when it next looks. Not before
        every worker must have heard of the withdrawal, so that what is gone then stays gone. A file that cannot be
        rewritten is logged and tried again. Raises ``SessionStoreUnavailable``.
        """
        withdrawn_at = session.last_withdrawal_at
        if withdrawn_at is None or self._done.get(session.session_id) == withdrawn_at:
            return
        covered = windows(self._store.load(session.organisation_id, session.session_id))
        withheld = Withheld(batches_from=_end_of(covered.pose), media_from=_end_of(covered.media))
        try:
            taken, left = self._disk.withhold(session.session_id, withheld)
        except OSError as error:
            self._log.error("withdrawn bodies are still there", session_id=str(session.session_id), error=str(error))
            return
        if taken or left:
            self._log.info("withdrawn bodies", session_id=str(session.session_id), rewritten=taken, asked=left)
        if not left:
            if len(self._done) >= _DONE_MAX:
                self._done.clear()
            self._done[session.session_id] = withdrawn_at


def _end_of(covered: ConsentWindow) -> dt.datetime | None:
    return ALWAYS if covered.begins_at is None else covered.ends_at
