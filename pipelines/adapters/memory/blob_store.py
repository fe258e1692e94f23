"""Blobs in memory, with versions and conditions as the port promises."""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.ports.blob_store import (
    PART_MIN_BYTES,
    BlobInfo,
    BlobNotFound,
    ListedPart,
    PartsRefused,
    PreconditionFailed,
    UploadedPart,
    UploadNotFound,
)


@dataclass(slots=True)
class _Version:
    info: BlobInfo
    body: bytes
    tags: dict[str, str]


@dataclass(slots=True)
class _Upload:
    key: str
    tags: dict[str, str]
    metadata: dict[str, str]
    parts: dict[int, tuple[UploadedPart, bytes]] = field(default_factory=dict)


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class MemoryBlobStore:
    """``pipelines.ports.blob_store.BlobStore``; ``now`` stamps ``last_modified``.

    ``part_min_bytes`` may be lowered, so that a test needs no megabytes.
    """

    def __init__(self, now: Callable[[], dt.datetime] = _utc_now, part_min_bytes: int = PART_MIN_BYTES) -> None:
        self._now = now
        self._part_min_bytes = part_min_bytes
        self._uploads: dict[str, _Upload] = {}
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
            return self._add(key, bytes(body), tags, metadata)

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

    def create_upload(
        self,
        key: str,
        *,
        tags: Mapping[str, str],
        metadata: Mapping[str, str],
        content_type: str = "application/octet-stream",
    ) -> str:
        del content_type
        with self._lock:
            self._made += 1
            upload_id = f"u{self._made}"
            self._uploads[upload_id] = _Upload(key, dict(tags), dict(metadata))
            return upload_id

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> UploadedPart:
        with self._lock:
            digest = hashlib.sha256(body)
            part = UploadedPart(number, digest.hexdigest()[:32], digest.digest(), len(body))
            self._upload(key, upload_id).parts[number] = (part, bytes(body))
            return part

    def complete_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, if_absent: bool = False
    ) -> BlobInfo:
        with self._lock:
            if if_absent and self._versions.get(key):
                raise PreconditionFailed(f"{key} is there")
            upload = self._upload(key, upload_id)
            bodies = []
            for part in parts:
                held, body = upload.parts.get(part.number, (None, b""))
                if held is None or held.etag != part.etag:
                    raise PartsRefused(f"{key}: part {part.number} is not {part.etag}")
                bodies.append(body)
            if not bodies or any(len(body) < self._part_min_bytes for body in bodies[:-1]):
                raise PartsRefused(
                    f"{key}: a part but the last is below {self._part_min_bytes} bytes, or none is named"
                )
            del self._uploads[upload_id]
            return self._add(key, b"".join(bodies), upload.tags, upload.metadata)

    def abort_upload(self, key: str, upload_id: str) -> None:
        del key
        with self._lock:
            self._uploads.pop(upload_id, None)

    def list_parts(self, key: str, upload_id: str) -> list[ListedPart]:
        with self._lock:
            parts = [part for part, _ in self._upload(key, upload_id).parts.values()]
            return sorted(ListedPart(part.number, part.etag, part.size_bytes) for part in parts)

    def list_uploads(self, key: str) -> list[str]:
        with self._lock:
            return [upload_id for upload_id, upload in self._uploads.items() if upload.key == key]

    def _upload(self, key: str, upload_id: str) -> _Upload:
        upload = self._uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise UploadNotFound(f"{key} upload {upload_id}")
        return upload

    def _add(self, key: str, body: bytes, tags: Mapping[str, str], metadata: Mapping[str, str]) -> BlobInfo:
        self._made += 1
        etag = hashlib.sha256(body).hexdigest()[:32]
        info = BlobInfo(key, f"v{self._made}", etag, len(body), self._now(), dict(metadata))
        self._versions.setdefault(key, []).append(_Version(info, body, dict(tags)))
        return info

    def _version(self, key: str, version_id: str | None) -> _Version:
        versions = self._versions.get(key, [])
        if version_id is None and versions:
            return versions[-1]
        for version in versions:
            if version.info.version_id == version_id:
                return version
        raise BlobNotFound(f"{key} version {version_id}")
