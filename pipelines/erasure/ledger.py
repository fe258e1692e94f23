"""The erasure ledger: what was erased, kept outside the database, so that a restored back-up can be erased again.

One object an erasure, in the bucket, under a prefix and with a retention of its own. It holds numbers and a salted
check of the principal id: after a restore a number may belong to somebody else, and then nothing is done.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from uuid import UUID

import msgspec

from pipelines.ports.blob_store import BlobStore
from pipelines.replay.keys import RETENTION_TAG

PREFIX = "erasure-ledger/"
RETENTION = "ledger"  # the rule of pipelines/retention/policy.toml that holds for it
TAGS = {RETENTION_TAG: RETENTION}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure that was begun. ``principal_check``: hex of SHA-256 over erasure id and principal id."""

    erasure_id: UUID
    organisation_id: int
    patient_id: int
    retained_patient_id: int
    principal_check: str
    requested_by: str
    requested_at: dt.datetime


def write(blobs: BlobStore, entry: Entry) -> None:
    """Durable when this returns. Writing it again changes nothing. Raises ``BlobStoreUnavailable``."""
    body = msgspec.json.encode(entry)
    key = f"{PREFIX}{entry.organisation_id}/{entry.erasure_id}.json"
    if blobs.head(key) is None:
        blobs.put(key, body, tags=TAGS, metadata={}, content_type="application/json")


def entries(blobs: BlobStore) -> Iterator[Entry]:
    """Every erasure there ever was. Raises ``BlobStoreUnavailable``, ``msgspec.DecodeError``."""
    for info in blobs.list_objects(PREFIX):
        yield msgspec.json.decode(blobs.get(info.key), type=Entry)
