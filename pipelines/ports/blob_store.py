"""The blob store: sealed objects by key and version. What an adapter promises; no implementation.

* **Versions.** Every ``put`` makes a new version; an old one stays readable by its id until it is deleted or expires.
* **Conditions.** ``if_absent`` and ``if_etag`` are decided by the store, atomically with the write: of two writers
  exactly one succeeds, the other gets ``PreconditionFailed``.
* **Integrity.** The body's SHA-256 travels with it and the store refuses what it did not receive whole. A returned
  ``put`` is durable and seen by every later read.
* **Tags from the first moment.** A lifecycle rule cannot say "untagged", so ``put`` demands tags.
* **Uploads in parts.** Nothing is seen at the key until ``complete_upload``, which makes one version of the parts it
  names, or none. A part sent again under its number replaces the earlier one (naming that by its etag is refused, or
  gives it as it was); parts that are not named are dropped.
  Aborting, also what is completed or aborted already, leaves no parts and touches no version.
* **Errors.** ``BlobNotFound`` (``UploadNotFound`` for an upload), ``PreconditionFailed``, ``PartsRefused`` and
  ``BlobStoreUnavailable``; the last is temporary, and the call may or may not have happened: repeat it, conditionally.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

# Every part of an upload but the last has at least so many bytes; S3's rule, so everybody's.
PART_MIN_BYTES = 5 * 1024 * 1024
PARTS_MAX = 10_000


class BlobNotFound(LookupError):  # noqa: N818 - named after the answer
    """No such key, or no such version of it."""


class UploadNotFound(BlobNotFound):
    """No such upload: it was completed, aborted, or has expired."""


class PartsRefused(Exception):  # noqa: N818 - named after the answer
    """A part that was named is not there as named, or one but the last is too small. The upload is still there."""


class PreconditionFailed(Exception):  # noqa: N818 - named after the answer
    """The object is there (``if_absent``), or is not the one expected (``if_etag``)."""


class BlobStoreUnavailable(Exception):  # noqa: N818 - named after the answer
    """The store did not answer, or answered that it cannot now."""


class BlobInfo(NamedTuple):
    """One version of one object. ``version_id`` is None where the store keeps no versions; ``etag`` has no quotes.

    ``metadata`` is empty in listings, which do not carry it.
    """

    key: str
    version_id: str | None
    etag: str
    size_bytes: int
    last_modified: dt.datetime
    metadata: Mapping[str, str]


class UploadedPart(NamedTuple):
    """One part of an upload; ``number`` from 1, ``sha256`` of its bytes, ``etag`` without quotes."""

    number: int
    etag: str
    sha256: bytes
    size_bytes: int


class ListedPart(NamedTuple):
    """A part as the store lists it."""

    number: int
    etag: str
    size_bytes: int


class BlobStore(Protocol):
    """Keyed, versioned, tagged objects of one bucket."""

    def put(
        self,
        key: str,
        body: bytes,
        *,
        tags: Mapping[str, str],
        metadata: Mapping[str, str],
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
        if_etag: str | None = None,
    ) -> BlobInfo:
        """Store ``body``. Raises ``PreconditionFailed`` (also for ``if_etag`` where nothing is stored)."""
        ...

    def get(self, key: str, version_id: str | None = None) -> bytes:
        """The whole object; the current version where none is named. Raises ``BlobNotFound``."""
        ...

    def get_range(self, key: str, offset: int, length: int, version_id: str | None = None) -> bytes:
        """``length`` bytes from ``offset``, fewer at the end. Raises ``BlobNotFound``; ``ValueError`` for a range that
        begins beyond the end or is empty.
        """
        ...

    def head(self, key: str, version_id: str | None = None) -> BlobInfo | None:
        """What is stored, None where nothing is (a deleted object is nothing)."""
        ...

    def tags(self, key: str, version_id: str | None = None) -> dict[str, str]:
        """Raises ``BlobNotFound``."""
        ...

    def set_tags(self, key: str, tags: Mapping[str, str], version_id: str | None = None) -> None:
        """Replace all tags of one version. Raises ``BlobNotFound``."""
        ...

    def list_objects(self, prefix: str) -> Iterator[BlobInfo]:
        """The current versions of all objects whose key begins with ``prefix``, by key."""
        ...

    def list_versions(self, key: str) -> list[BlobInfo]:
        """All versions of exactly this key, the newest first; delete markers are left out."""
        ...

    def delete_version(self, key: str, version_id: str) -> None:
        """Remove one version for good. No error if it is not there."""
        ...

    def delete_all_versions(self, key: str) -> int:
        """Remove every version and delete marker of exactly this key, for good; how many were removed."""
        ...

    def presign(self, key: str, version_id: str, expires_s: int) -> str:
        """A URL that reads this one version (ranges included) for ``expires_s`` seconds, and nothing else.

        Signed offline: that the object is there is not checked.
        """
        ...

    def create_upload(
        self,
        key: str,
        *,
        tags: Mapping[str, str],
        metadata: Mapping[str, str],
        content_type: str = "application/octet-stream",
    ) -> str:
        """Begin an upload in parts; gives its id. Tags and metadata are those of the version it becomes."""
        ...

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> UploadedPart:
        """Store part ``number`` (1 to ``PARTS_MAX``). Raises ``UploadNotFound``."""
        ...

    def complete_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, if_absent: bool = False
    ) -> BlobInfo:
        """Make a version of exactly these parts, by rising number. Raises ``UploadNotFound``, ``PartsRefused``,
        ``PreconditionFailed``.
        """
        ...

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts. No error if there is none."""
        ...

    def list_parts(self, key: str, upload_id: str) -> list[ListedPart]:
        """What the upload holds, by number. Raises ``UploadNotFound``."""
        ...

    def list_uploads(self, key: str) -> list[str]:
        """Ids of the uploads of exactly this key that are neither completed nor aborted."""
        ...
