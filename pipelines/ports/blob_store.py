"""The blob store: sealed objects by key and version. What an adapter promises; no implementation.

* **Versions.** Every ``put`` makes a new version; an old one stays readable by its id until it is deleted or expires.
* **Conditions.** ``if_absent`` and ``if_etag`` are decided by the store, atomically with the write: of two writers
  exactly one succeeds, the other gets ``PreconditionFailed``.
* **Integrity.** The body's SHA-256 travels with it and the store refuses what it did not receive whole. A returned
  ``put`` is durable and seen by every later read.
* **Tags from the first moment.** A lifecycle rule cannot say "untagged", so ``put`` demands tags.
* **Errors.** ``BlobNotFound``, ``PreconditionFailed`` and ``BlobStoreUnavailable``; the last is temporary, and the
  call may or may not have happened: repeat it, conditionally.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol


class BlobNotFound(LookupError):  # noqa: N818 - named after the answer
    """No such key, or no such version of it."""


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
