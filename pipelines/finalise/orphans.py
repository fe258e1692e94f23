"""Multipart uploads that nothing will complete: begun by a finaliser that died before it noted them.

A running session's safety copy is an upload, and the session store knows it; so does the seal its own. One that is old
and that nobody knows costs storage for ever and is shown in no listing of objects, so it is aborted. The bucket's
lifecycle rule does the same after two days; this says how many there were, and fails where the store will not let go.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec


class PendingUpload(Protocol):
    """One upload that is neither completed nor aborted."""

    @property
    def key(self) -> str: ...

    @property
    def upload_id(self) -> str: ...

    @property
    def begun_at(self) -> dt.datetime: ...


class OrphanRules(msgspec.Struct, frozen=True, kw_only=True):
    """Uploads of ``age`` and more that no safety copy knows are aborted, up to ``uploads_max`` in a pass; one that is
    still there after ``attempts_max`` aborts, ``delay`` and then twice as long apart, is given up.
    """

    age: dt.timedelta = dt.timedelta(hours=6)  # longer than a session's token: its upload is complete or known
    delay: dt.timedelta = dt.timedelta(hours=1)
    attempts_max: int = 5
    uploads_max: int = 1000


class OrphanReport(msgspec.Struct, frozen=True, kw_only=True):
    """One pass over the store's uploads."""

    under_way: int
    old: int
    aborted: int
    given_up: int
    is_complete: bool  # False where ``uploads_max`` was reached


class UploadStore(Protocol):
    """The object store's side."""

    def pending_uploads(self) -> Iterable[PendingUpload]:
        """Every upload of the bucket that is neither completed nor aborted."""
        ...

    def abort_upload(self, key: str, upload_id: str) -> None:
        """No error if there is none."""
        ...


class OrphanLedger(Protocol):
    """The session store's side."""

    def orphan_uploads(
        self, upload_ids: Sequence[str], delay: dt.timedelta, attempts_max: int
    ) -> list[tuple[str, bool]]:
        """Those that no session knows and that are due, each with whether it is given up; counts the attempt."""
        ...


def abort_orphans(store: UploadStore, ledger: OrphanLedger, rules: OrphanRules, now: dt.datetime) -> OrphanReport:
    """One pass. Overlapping passes do no harm: aborting twice is aborting."""
    under_way = 0
    old: dict[str, PendingUpload] = {}
    is_complete = True
    for upload in store.pending_uploads():
        under_way += 1
        if now - upload.begun_at < rules.age:
            continue
        if len(old) == rules.uploads_max:
            is_complete = False
            break
        old[upload.upload_id] = upload
    aborted, given_up = 0, 0
    for upload_id, is_given_up in ledger.orphan_uploads(list(old), rules.delay, rules.attempts_max):
        if is_given_up:
            given_up += 1
            continue
        store.abort_upload(old[upload_id].key, upload_id)
        aborted += 1
    return OrphanReport(under_way=under_way, old=len(old), aborted=aborted, given_up=given_up, is_complete=is_complete)
