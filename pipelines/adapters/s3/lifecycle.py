"""Applying a lifecycle document to a bucket, and saying what the store cannot do.

SeaweedFS, the local store, executes expiry and answers 501 to storage-class transitions: it gets the document without
them. What was left out is part of the answer, so that nobody takes the local store for proof of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Document = dict[str, Any]
Reduce = Callable[[Document], tuple[Document, list[str]]]


class LifecycleOutcome(NamedTuple):
    """Rule ids the store now has, and what it could not take (empty on AWS)."""

    rules: list[str]
    left_out: list[str]


class LifecycleNotKeptError(Exception):
    """The store accepted the document and has another."""


def apply_lifecycle(
    client: S3Client, bucket: str, document: Document, minimum_object_size: str, reduce: Reduce
) -> LifecycleOutcome:
    """Replace the bucket's lifecycle document; ``reduce`` gives the one for a store without transitions.

    Raises ``ClientError`` for any other refusal, ``LifecycleNotKeptError``.
    """
    left_out: list[str] = []
    try:
        _put(client, bucket, document, minimum_object_size)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 501:
            raise
        document, left_out = reduce(document)
        _put(client, bucket, document, minimum_object_size)
    asked = sorted(rule["ID"] for rule in document["Rules"])
    kept = sorted(rule["ID"] for rule in client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"])
    if asked != kept:
        raise LifecycleNotKeptError(f"asked for {asked}, the bucket has {kept}")
    return LifecycleOutcome(kept, left_out)


def _put(client: S3Client, bucket: str, document: Any, minimum_object_size: Any) -> None:  # noqa: ANN401 - stubs want TypedDicts
    client.put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration=document,
        TransitionDefaultMinimumObjectSize=minimum_object_size,
    )
