"""Blobs in memory, with versions and conditions as the port promises."""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pipelines.ports.blob_store import BlobInfo, BlobNotFound, PreconditionFailed


@dataclass(slots=True)
class _Version:
    info: BlobInfo
    body: bytes
    tags: dict[str, str]


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class MemoryBlobStore:
    """``pipelines.ports.blob_store.BlobStore``; ``now`` stamps ``last_modified``."""

    def __init__(self, now: Callable[[], dt.datetime] = _utc_now) -> None:
        self._now = now
        self._versions: dict[str, list[_Version]] = {}
        self._made = 0
        self._lock = threading.Lock()

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
        del content_type  # nobody reads memory over HTTP
        with self._lock:
            current = self._versions.get(key, [])
            if if_absent and current:
                raise PreconditionFailed(f"{key} is there")
            if if_etag is not None and (not current or current[-1].info.etag != if_etag):
                raise PreconditionFailed(f"{key} is not {if_etag}")
            self._made += 1
            etag = hashlib.sha256(body).hexdigest()[:32]
            info = BlobInfo(key, f"v{self._made}", etag, len(body), self._now(), dict(metadata))
            self._versions.setdefault(key, []).append(_Version(info, bytes(body), dict(tags)))
            return info

    def get(self, key: str, version_id: str | None = None) -> bytes:
        return self._version(key, version_id).body

    def get_range(self, key: str, offset: int, length: int, version_id: str | None = None) -> bytes:
        body = self._version(key, version_id).body
        if length <= 0 or not 0 <= offset < len(body):
            raise ValueError(f"{key}: no bytes at {offset}+{length}")
        return body[offset : offset + length]

    def head(self, key: str, version_id: str | None = None) -> BlobInfo | None:
        try:
            return self._version(key, version_id).info
        except BlobNotFound:
            return None

    def tags(self, key: str, version_id: str | None = None) -> dict[str, str]:
        return dict(self._version(key, version_id).tags)

    def set_tags(self, key: str, tags: Mapping[str, str], version_id: str | None = None) -> None:
        self._version(key, version_id).tags = dict(tags)

    def list_objects(self, prefix: str) -> Iterator[BlobInfo]:
        for key in sorted(key for key, versions in self._versions.items() if versions and key.startswith(prefix)):
            yield self._versions[key][-1].info._replace(metadata={})

    def list_versions(self, key: str) -> list[BlobInfo]:
        return [version.info._replace(metadata={}) for version in reversed(self._versions.get(key, []))]

    def delete_version(self, key: str, version_id: str) -> None:
        with self._lock:
            kept = [version for version in self._versions.get(key, []) if version.info.version_id != version_id]
            self._versions[key] = kept

    def delete_all_versions(self, key: str) -> int:
        with self._lock:
            return len(self._versions.pop(key, []))

    def presign(self, key: str, version_id: str, expires_s: int) -> str:
        return f"memory:///{key}?versionId={version_id}&X-Amz-Expires={expires_s}"

    def _version(self, key: str, version_id: str | None) -> _Version:
        versions = self._versions.get(key, [])
        if version_id is None and versions:
            return versions[-1]
        for version in versions:
            if version.info.version_id == version_id:
                return version
        raise BlobNotFound(f"{key} version {version_id}")
