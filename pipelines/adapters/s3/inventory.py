"""What a bucket holds, for those who compare it with what it ought to hold: objects by class and age, uploads
under way, the lifecycle document.

Belongs here: listing. Does not belong here: reading and writing sessions' blobs (``blob_store``), judging (the
retention and the reconciliation).

Where stores differ: SeaweedFS, the local store, has one storage class and names it STANDARD or not at all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_STANDARD = "STANDARD"


class StoredObject(NamedTuple):
    """One object's present version, as a listing shows it."""

    key: str
    size_bytes: int
    storage_class: str
    modified_at: dt.datetime


class Upload(NamedTuple):
    """One multipart upload that is neither completed nor aborted."""

    key: str
    upload_id: str
    begun_at: dt.datetime


class BucketInventory:
    """One bucket. Every call is paged by the store; boto3's errors pass through."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def prefixes(self) -> list[str]:
        """The first part of every key, with its slash, and keys that have no slash."""
        found: list[str] = []
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Delimiter="/"):
            found += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
            found += [entry["Key"] for entry in page.get("Contents", [])]
        return found

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        """The objects under ``prefix`` in the order of their keys' bytes."""
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                yield StoredObject(
                    entry["Key"], entry["Size"], entry.get("StorageClass") or _STANDARD, entry["LastModified"]
                )

    def tags(self, key: str) -> dict[str, str] | None:
        """The tags of an object's present version; None where it has gone meanwhile."""
        try:
            answer = self._client.get_object_tagging(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"404", "NoSuchKey", "NoSuchVersion", "MethodNotAllowed"}:
                return None
            raise
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def pending_uploads(self) -> Iterator[Upload]:
        for page in self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket):
            for entry in page.get("Uploads", []):
                yield Upload(entry["Key"], entry["UploadId"], entry["Initiated"])

    def abort_upload(self, key: str, upload_id: str) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"404", "NoSuchUpload"}:
                raise

    def lifecycle(self) -> dict[str, Any]:
        """The lifecycle document as the store gives it back: its rules, and from which size objects change class.

        No rules where there is no document.
        """
        try:
            answer = self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchLifecycleConfiguration":
                return {"Rules": [], "TransitionDefaultMinimumObjectSize": None}
            raise
        return {
            "Rules": answer.get("Rules", []),
            "TransitionDefaultMinimumObjectSize": answer.get("TransitionDefaultMinimumObjectSize"),
        }
