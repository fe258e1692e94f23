"""When a session's records may leave the node's disk, and removing them.

A spool is kept until the token's expiry and some more, because late data makes a new revision from the whole of it.
Records that were dropped because consent was withdrawn go earlier: of a finalised session, which is closed for good
first, with the whole spool; of one that goes on for another purpose, out of the spool (``withdrawn``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from pipelines.finalise.disk import NodeDisk
from pipelines.landing.closed import End
from pipelines.ports.session_store import NodeSession, SessionStore

_CHUNK = 1000


class CleanupReport(NamedTuple):
    """``withdrawals``: finalised sessions still kept whose patient withdrew a consent since they were created."""

    removed: list[UUID]
    removed_for_consent: list[UUID]
    withdrawals: list[NodeSession]


class Keeping(NamedTuple):
    """How long records are kept."""

    after_expiry: dt.timedelta
    after_withdrawal: dt.timedelta


def clean(
    disk: NodeDisk,
    store: SessionStore,
    node_id: str,
    keeping: Keeping,
    *,
    is_settled: Callable[[UUID], bool],
    withhold: Callable[[NodeSession], None],
    discard_copy: Callable[[NodeSession], None],
    now: dt.datetime,
) -> CleanupReport:
    """One pass over the node's spools and ends. ``is_settled``: whether everything on the disk is in the last revision;
    ``withhold``: takes what was withdrawn out of an unfinished session's spool; ``discard_copy``: gives up what reached
    the blob store of an erased one.

    Raises ``SessionStoreUnavailable``, ``BlobStoreUnavailable``; what was removed until then stays so.
    """
    report = CleanupReport([], [], [])
    for chunk in _chunks(sorted({*disk.spooled(), *disk.closed()})):
        for session in store.states(node_id, chunk):
            if session.state == "erased":
                discard_copy(session)
            elif session.state != "finalised":
                if (
                    session.last_withdrawal_at is not None
                    and now >= session.last_withdrawal_at + keeping.after_withdrawal
                ):
                    withhold(session)
                continue
            elif not is_settled(session.session_id):
                continue
            if session.state == "erased" or now >= session.token_expires_at + keeping.after_expiry:
                disk.remove(session.session_id)
                report.removed.append(session.session_id)
            elif session.last_withdrawal_at is None:
                continue
            elif not session.dropped_for_consent or now < session.last_withdrawal_at + keeping.after_withdrawal:
                report.withdrawals.append(session)
            elif not disk.sizes(session.session_id):
                continue  # gone already; its end stays until the token's expiry
            elif disk.end(session.session_id) is None:
                # What a worker has begun may still land: it is removed with the next pass, if it is settled then.
                disk.close(session.session_id, End(reason="consent_withdrawn", ended_at=now))
            else:
                disk.remove_spool(session.session_id)
                report.removed_for_consent.append(session.session_id)
    return report


def _chunks(session_ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for start in range(0, len(session_ids), _CHUNK):
        yield session_ids[start : start + _CHUNK]
