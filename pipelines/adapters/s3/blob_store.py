"""Blobs in S3.

Where stores differ (seen with SeaweedFS 4, the local store): for ``If-Match`` on a missing key AWS answers 404 and
SeaweedFS 412; for an unknown version id AWS answers 400 and SeaweedFS 404; ``aws:kms`` needs a key service and is an
internal error on SeaweedFS, so the local store encrypts with ``AES256``; a part that was sent again is still taken by
its old etag on SeaweedFS and refused on AWS. All of these are within the port's promises or mapped to its errors.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from pipelines.adapters.s3.settings import S3Settings
from pipelines.ports.blob_store import (
    BlobInfo,
    BlobNotFound,
    BlobStoreUnavailable,
    ListedPart,
    PartsRefused,
    PreconditionFailed,
    UploadedPart,
    UploadNotFound,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NOT_FOUND = {"404", "NoSuchKey", "NoSuchVersion", "NotFound"}
_PRECONDITION = {"412", "PreconditionFailed", "ConditionalRequestConflict"}
_PARTS = {"InvalidPart", "InvalidPartOrder", "EntityTooSmall"}
_DELETE_BATCH = 1000  # the most DeleteObjects takes


class S3BlobStore:
    """``pipelines.ports.blob_store.BlobStore`` over one versioned bucket."""

    def __init__(self, client: S3Client, settings: S3Settings) -> None:
        self._client = client
        self._bucket = settings.bucket
        self._encryption: dict[str, Any] = {}
        if settings.encryption != "none":
            self._encryption["ServerSideEncryption"] = settings.encryption
        if settings.encryption == "aws:kms":
            self._encryption["SSEKMSKeyId"] = settings.kms_key_id

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
        condition: dict[str, Any] = {}
        if if_absent:
            condition["IfNoneMatch"] = "*"
        if if_etag is not None:
            condition["IfMatch"] = f'"{if_etag}"'
        with _mapped(key):
            try:
                answer = self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=body,
                    ContentType=content_type,
                    ChecksumSHA256=_base64(hashlib.sha256(body).digest()),
                    Tagging=urlencode(tags),
                    Metadata=dict(metadata),
                    **condition,
                    **self._encryption,
                )
            except ClientError as error:
                if if_etag is not None and error.response["Error"]["Code"] in _NOT_FOUND:
                    raise PreconditionFailed(f"{key} is not there, so not {if_etag}") from error
                raise
        info = self.head(key, answer.get("VersionId"))
        if info is None:
            raise BlobStoreUnavailable(f"{key} was stored and is not there")
        return info

    def get(self, key: str, version_id: str | None = None) -> bytes:
        with _mapped(key):
            return self._client.get_object(Bucket=self._bucket, Key=key, **_version(version_id))["Body"].read()

    def get_range(self, key: str, offset: int, length: int, version_id: str | None = None) -> bytes:
        if length <= 0 or offset < 0:
            raise ValueError(f"{key}: no bytes at {offset}+{length}")
        with _mapped(key):
            try:
                answer = self._client.get_object(
                    Bucket=self._bucket, Key=key, Range=f"bytes={offset}-{offset + length - 1}", **_version(version_id)
                )
            except ClientError as error:
                if error.response["Error"]["Code"] in {"InvalidRange", "416"}:
                    raise ValueError(f"{key}: no bytes at {offset}+{length}") from error
                raise
            return answer["Body"].read()

    def head(self, key: str, version_id: str | None = None) -> BlobInfo | None:
        try:
            with _mapped(key):
                answer = self._client.head_object(Bucket=self._bucket, Key=key, **_version(version_id))
        except BlobNotFound:
            return None
        return BlobInfo(
            key,
            answer.get("VersionId"),
            answer["ETag"].strip('"'),
            answer["ContentLength"],
            answer["LastModified"],
            answer["Metadata"],
        )

    def tags(self, key: str, version_id: str | None = None) -> dict[str, str]:
        with _mapped(key):
            answer = self._client.get_object_tagging(Bucket=self._bucket, Key=key, **_version(version_id))
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def set_tags(self, key: str, tags: Mapping[str, str], version_id: str | None = None) -> None:
        with _mapped(key):
            self._client.put_object_tagging(
                Bucket=self._bucket,
                Key=key,
                Tagging={"TagSet": [{"Key": name, "Value": value} for name, value in tags.items()]},
                **_version(version_id),
            )

    def list_objects(self, prefix: str) -> Iterator[BlobInfo]:
        with _mapped(prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                for entry in page.get("Contents", []):
                    yield BlobInfo(
                        entry["Key"], None, entry["ETag"].strip('"'), entry["Size"], entry["LastModified"], {}
                    )

    def list_versions(self, key: str) -> list[BlobInfo]:
        versions = []
        with _mapped(key):
            for page in self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=key):
                versions += [
                    BlobInfo(
                        key, entry["VersionId"], entry["ETag"].strip('"'), entry["Size"], entry["LastModified"], {}
                    )
                    for entry in page.get("Versions", [])
                    if entry["Key"] == key
                ]
        return versions

    def delete_version(self, key: str, version_id: str) -> None:
        with contextlib.suppress(BlobNotFound), _mapped(key):
            self._client.delete_object(Bucket=self._bucket, Key=key, VersionId=version_id)

    def delete_all_versions(self, key: str) -> int:
        doomed: list[str] = []
        with _mapped(key):
            for page in self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=key):
                doomed += [entry["VersionId"] for entry in page.get("Versions", []) if entry["Key"] == key]
                doomed += [entry["VersionId"] for entry in page.get("DeleteMarkers", []) if entry["Key"] == key]
            for start in range(0, len(doomed), _DELETE_BATCH):
                batch = doomed[start : start + _DELETE_BATCH]
                answer = self._client.delete_objects(
                    Bucket=self._bucket,
                    Delete={"Objects": [{"Key": key, "VersionId": version_id} for version_id in batch], "Quiet": True},
                )
                if answer.get("Errors"):
                    raise BlobStoreUnavailable(f"{key}: not all versions were deleted: {answer['Errors']}")
        return len(doomed)

    def presign(self, key: str, version_id: str, expires_s: int) -> str:
        return self._client.generate_presigned_url(
            "get_object",
            Params={"Bucket": self._bucket, "Key": key, "VersionId": version_id},
            ExpiresIn=expires_s,
        )

    def create_upload(
        self,
        key: str,
        *,
        tags: Mapping[str, str],
        metadata: Mapping[str, str],
        content_type: str = "application/octet-stream",
    ) -> str:
        with _mapped(key):
            answer = self._client.create_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                ContentType=content_type,
                ChecksumAlgorithm="SHA256",
                Tagging=urlencode(tags),
                Metadata=dict(metadata),
                **self._encryption,
            )
        return answer["UploadId"]

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> UploadedPart:
        digest = hashlib.sha256(body).digest()
        with _mapped(key):
            answer = self._client.upload_part(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                Body=body,
                ChecksumSHA256=_base64(digest),
            )
        return UploadedPart(number, answer["ETag"].strip('"'), digest, len(body))

    def complete_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, if_absent: bool = False
    ) -> BlobInfo:
        if not parts:
            raise PartsRefused(f"{key}: no part is named")
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        with _mapped(key):
            answer = self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={
                    "Parts": [
                        {"PartNumber": part.number, "ETag": f'"{part.etag}"', "ChecksumSHA256": _base64(part.sha256)}
                        for part in parts
                    ]
                },
                **condition,
            )
        info = self.head(key, answer.get("VersionId"))
        if info is None:
            raise BlobStoreUnavailable(f"{key} was completed and is not there")
        return info

    def abort_upload(self, key: str, upload_id: str) -> None:
        with contextlib.suppress(BlobNotFound), _mapped(key):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)

    def list_parts(self, key: str, upload_id: str) -> list[ListedPart]:
        parts: list[ListedPart] = []
        with _mapped(key):
            pages = self._client.get_paginator("list_parts").paginate(Bucket=self._bucket, Key=key, UploadId=upload_id)
            for page in pages:
                parts += [
                    ListedPart(entry["PartNumber"], entry["ETag"].strip('"'), entry["Size"])
                    for entry in page.get("Parts", [])
                ]
        return parts

    def list_uploads(self, key: str) -> list[str]:
        uploads: list[str] = []
        with _mapped(key):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=key)
            for page in pages:
                uploads += [entry["UploadId"] for entry in page.get("Uploads", []) if entry["Key"] == key]
        return uploads


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _version(version_id: str | None) -> Any:  # noqa: ANN401 - boto3's stubs want a TypedDict a call
    return {} if version_id is None else {"VersionId": version_id}


@contextlib.contextmanager
def _mapped(key: str) -> Iterator[None]:
    """The port's errors for boto3's. A refusal that is neither (access denied, bad digest) stays boto3's: a bug."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code == "NoSuchUpload":
            raise UploadNotFound(key) from error
        if code in _PARTS:
            raise PartsRefused(f"{key}: {error}") from error
        if code in _NOT_FOUND or (status == 400 and "version" in error.response["Error"].get("Message", "").lower()):
            raise BlobNotFound(key) from error
        if code in _PRECONDITION:
            raise PreconditionFailed(key) from error
        if status >= 500 or status == 429:
            raise BlobStoreUnavailable(f"{key}: {error}") from error
        raise
    except (HTTPClientError, BotoCoreError) as error:
        raise BlobStoreUnavailable(f"{key}: {error}") from error
