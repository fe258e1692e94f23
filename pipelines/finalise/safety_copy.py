"""What becomes of a session's safety copy: completed as the sealed blob, brought back for a lost disk, or given up.

Belongs here: everything that ends a copy, and the lock under which one is touched. Does not belong here: keeping it
going while the session runs (``copier``).

Each step may be repeated after a crash: an upload is completed or aborted before it is forgotten, and what is at the
key already is never replaced from here.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple
from uuid import UUID

from pipelines.finalise.compute import Computed
from pipelines.finalise.meter import CopyMeter, Reason
from pipelines.ports.blob_store import BlobStore, PartsRefused, PreconditionFailed, UploadNotFound
from pipelines.ports.safety_copy_store import SafetyCopy, SafetyCopyStore
from pipelines.ports.session_store import SessionRow
from pipelines.replay import parts

_LOCKS = 64  # sessions share them by chance; a wait is one part's upload


class CopyRules(NamedTuple):
    """How old a batch is before it is copied, and how large a part is at least (not below the blob store's minimum)."""

    age: dt.timedelta
    part_bytes: int


class SafetyCopies:
    """The copies of one finaliser; safe to use from several threads. Methods raise ``SessionStoreUnavailable`` and
    ``BlobStoreUnavailable``.
    """

    def __init__(self, store: SafetyCopyStore, blobs: BlobStore, rules: CopyRules, meter: CopyMeter) -> None:
        self.store = store
        self.blobs = blobs
        self.rules = rules
        self.meter = meter
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    @contextlib.contextmanager
    def locked(self, session_id: UUID) -> Iterator[None]:
        """Keep a part from being added while its upload ends. Between processes the node's finaliser lock does that."""
        with self._locks[session_id.int % _LOCKS]:
            yield

    def settle(self, row: SessionRow, computed: Computed) -> None:
        """Before the seal: the copy becomes the object if it is the blob's beginning, else it is given up.

        Afterwards the session has no copy. Whether an object is at the key, and the right one, is the seal's to see.
        """
        with self.locked(row.session_id):
            copy = self.store.load(row.organisation_id, row.session_id)
            if copy is None:
                return
            if row.revision == 0 and self._complete(copy, computed):
                self.meter.completed()
                self.store.forget(copy)
            else:
                self.drop(copy, "not_beginning")

    def copied(self, row: SessionRow) -> dict[bytes, dt.datetime]:
        """Receipt times of the copied batches by payload hash; empty where there is no copy."""
        copy = self.store.load(row.organisation_id, row.session_id)
        return {} if copy is None else {member.payload_hash: member.received_at for member in copy.members}

    def restore(self, row: SessionRow) -> None:
        """Make an object of the parts as they are, unless one is there: only an object can be read.

        The copy stays remembered, with its receipt times, until ``discard``. Parts that expired are gone: then nothing
        is at the key.
        """
        with self.locked(row.session_id):
            copy = self.store.load(row.organisation_id, row.session_id)
            if copy is None or self.blobs.head(copy.key) is not None:
                return
            with contextlib.suppress(UploadNotFound, PreconditionFailed):
                held = {part.number: part.etag for part in self.blobs.list_parts(copy.key, copy.upload_id)}
                whole = takewhile(lambda one: held.get(one.part.number) == one.part.etag, copy.parts)
                usable = [one.part for one in whole]
                if usable:
                    self.blobs.complete_upload(copy.key, copy.upload_id, usable, if_absent=True)
                    self.meter.restored()

    def discard(self, organisation_id: int, session_id: UUID) -> bool:
        """Give up what is left of a session's copy; whether there was any."""
        with self.locked(session_id):
            copy = self.store.load(organisation_id, session_id)
            if copy is not None:
                self.drop(copy, "settled")
            return copy is not None

    def drop(self, copy: SafetyCopy, reason: Reason) -> None:
        """Abort and forget, in this order: what is forgotten is found by nobody. The caller holds the lock."""
        self.blobs.abort_upload(copy.key, copy.upload_id)
        self.store.forget(copy)
        self.meter.aborted(reason)

    def _complete(self, copy: SafetyCopy, computed: Computed) -> bool:
        """Whether the copy, with what it lacks added, is an object now."""
        blob = computed.blob
        if blob is None or not copy.parts:
            return False
        digests = [parts.Digest(one.part.sha256, one.part.size_bytes) for one in copy.parts]
        begin = parts.length_if_beginning(blob, digests)
        if begin is None or self.blobs.head(copy.key) is not None:
            return False
        tail = [entry for entry in computed.entries if entry.byte_offset >= begin]
        uploaded = [one.part for one in copy.parts]
        try:
            for run in parts.cut([entry.byte_length for entry in tail], self.rules.part_bytes):
                first, last = tail[run[0]], tail[run[-1]]
                body = blob[first.byte_offset : last.byte_offset + last.byte_length]
                uploaded.append(self.blobs.upload_part(copy.key, copy.upload_id, len(uploaded) + 1, body))
            self.blobs.complete_upload(copy.key, copy.upload_id, uploaded, if_absent=True)
        except (UploadNotFound, PartsRefused, PreconditionFailed):
            return False
        return True
