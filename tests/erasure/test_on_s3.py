"""The same erasure over a real, versioned bucket: of the patient's objects no version, marker or upload is left."""

from __future__ import annotations

from typing import Any

import pytest

from infra.stack.throwaway import Bucket
from pipelines.adapters.s3.blob_store import S3BlobStore
from pipelines.adapters.s3.settings import S3Settings
from pipelines.erasure.ledger import PREFIX
from pipelines.erasure.run import Waiting
from tests.erasure.test_erasure import Scene, erased, keys, scene

__all__ = ["scene"]


@pytest.fixture
def blobs(s3: Bucket) -> S3BlobStore:
    return S3BlobStore(s3.client(), S3Settings.from_env(s3.environment()))


def everything(s3: Bucket) -> list[tuple[str, str]]:
    """Every version, delete marker and unfinished upload of the bucket, as (kind, key), by the S3 API itself."""
    listed: dict[str, Any] = dict(s3.client().list_object_versions(Bucket=s3.bucket))
    uploads: dict[str, Any] = dict(s3.client().list_multipart_uploads(Bucket=s3.bucket))
    found = [(kind, each["Key"]) for kind in ("Versions", "DeleteMarkers") for each in listed.get(kind, [])]
    assert not listed["IsTruncated"]
    return found + [("Uploads", each["Key"]) for each in uploads.get("Uploads", [])]


def test_nothing_is_left_in_the_bucket_but_the_erasure_ledger(scene: Scene, bodies: list[bytes], s3: Bucket) -> None:
    """With what a bucket gathers: an older version, a deleted object, an upload that was begun and one with a part."""
    client, stored = s3.client(), keys(scene)
    client.put_object(Bucket=s3.bucket, Key=stored[0], Body=b"a later revision")
    client.delete_object(Bucket=s3.bucket, Key=stored[1])
    for key in stored:
        upload = client.create_multipart_upload(Bucket=s3.bucket, Key=key)["UploadId"]
    client.upload_part(Bucket=s3.bucket, Key=stored[1], UploadId=upload, PartNumber=1, Body=b"part")
    other = "1/00000000-0000-4000-8000-00000000ffff.bin.gz"
    client.put_object(Bucket=s3.bucket, Key=other, Body=b"of another patient")
    before = everything(s3)
    assert {kind for kind, _ in before} == {"Versions", "DeleteMarkers", "Uploads"}
    assert len(before) == 7

    certificate = erased(scene, bodies)

    left = everything(s3)
    assert [each for each in left if not each[1].startswith(PREFIX)] == [("Versions", other)]
    assert left.count(("Versions", f"{PREFIX}1/{scene.erasure_id}.json")) == 1
    [objects] = [each for each in certificate["erased"] if each["where"] == "object store"]
    # Those six, and the blob and events object of the session that was still open.
    assert objects["count"] == len(before) - 1 + 2
    assert {"where": "object store", "remaining": 0} in certificate["verified"]


def test_a_version_that_appears_after_the_removal_goes_before_the_certificate(scene: Scene, s3: Bucket) -> None:
    """As a seal that was under way does, and an upload that began just then."""
    [blob, events] = keys(scene)
    scene.request()
    with pytest.raises(Waiting):
        scene.run()
    assert "objects_removed" in scene.told
    s3.client().put_object(Bucket=s3.bucket, Key=blob, Body=b"late")
    s3.client().create_multipart_upload(Bucket=s3.bucket, Key=events)
    scene.clean_disk()
    scene.confirm()
    assert scene.run()["sha256"]
    assert [each for each in everything(s3) if not each[1].startswith(PREFIX)] == []
