"""Computed bytes become sealed objects: conditional PUT, read back, tagged. Safe to repeat after any crash.

An object carries in its metadata the revision it belongs to and its SHA-256 (not where a safety copy became the object:
the digest was unknown when that was begun, so it is read and compared). What is there already is adopted where it is
the same, replaced where it is not, and respected where it is newer: a finaliser that was away for long can never put an
old result over a new one.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from pipelines.finalise.compute import Computed
from pipelines.finalise.payload import StoredObject
from pipelines.ports.blob_store import BlobInfo, BlobStore
from pipelines.ports.session_store import SessionRow, StaleRevisionError
from pipelines.replay.keys import MEDIA_RETENTION, RETENTION_TAG, blob_key, events_key


class ReadBackError(Exception):
    """The store gave back other bytes than were put."""


class Sealed(NamedTuple):
    """The objects of one revision; None where there is nothing to store."""

    blob: StoredObject | None
    events_object: StoredObject | None


def seal(blobs: BlobStore, row: SessionRow, computed: Computed) -> Sealed:
    """Store the objects of revision ``row.revision + 1`` and read them back.

    Raises ``StaleRevisionError`` (a newer result is there), ``PreconditionFailed`` (somebody writes at this moment),
    ``BlobStoreUnavailable``, ``ReadBackError``.
    """
    revision = row.revision + 1
    return Sealed(
        _seal_one(blobs, blob_key(row.organisation_id, row.session_id), computed.blob, revision, row.retention),
        _seal_one(blobs, events_key(row.organisation_id, row.session_id), computed.events, revision, MEDIA_RETENTION),
    )


def ensure_retention(blobs: BlobStore, sealed: StoredObject | None, retention: str) -> None:
    """Tag the sealed version with ``retention`` where it is tagged otherwise: the flag may have changed since."""
    if sealed is not None and blobs.tags(sealed.key, sealed.version_id).get(RETENTION_TAG) != retention:
        blobs.set_tags(sealed.key, {RETENTION_TAG: retention}, sealed.version_id)


def remove_superseded(blobs: BlobStore, key: str, kept_version_id: str | None) -> int:
    """Delete every version of ``key`` but one (all for None): dropped bytes may not outlive the seal."""
    removed = 0
    for version in blobs.list_versions(key):
        if version.version_id is not None and version.version_id != kept_version_id:
            blobs.delete_version(key, version.version_id)
            removed += 1
    return removed


def _seal_one(blobs: BlobStore, key: str, body: bytes | None, revision: int, retention: str) -> StoredObject | None:
    if body is None:
        return None
    digest = hashlib.sha256(body).hexdigest()
    present = blobs.head(key)
    if present is not None:
        present_revision = int(present.metadata.get("revision", "0"))
        if present_revision > revision:
            raise StaleRevisionError(f"{key} is already at revision {present_revision}, this is {revision}")
        if present_revision == revision and present.metadata.get("sha256") == digest:
            return _verified(blobs, present, body)
        if present_revision == revision and "sha256" not in present.metadata and _is(blobs, present, body):
            return _stored(present)
    put = blobs.put(
        key,
        body,
        tags={RETENTION_TAG: retention},
        metadata={"revision": str(revision), "sha256": digest},
        if_absent=present is None,
        if_etag=None if present is None else present.etag,
    )
    return _verified(blobs, put, body)


def _verified(blobs: BlobStore, info: BlobInfo, body: bytes) -> StoredObject:
    if not _is(blobs, info, body):
        raise ReadBackError(f"{info.key} version {info.version_id} reads back differently")
    return _stored(info)


def _is(blobs: BlobStore, info: BlobInfo, body: bytes) -> bool:
    return info.size_bytes == len(body) and blobs.get(info.key, info.version_id) == body


def _stored(info: BlobInfo) -> StoredObject:
    return StoredObject(key=info.key, version_id=info.version_id, etag=info.etag, size_bytes=info.size_bytes)
