"""The blob-store port's promises, over every adapter."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.stack.throwaway import Bucket
from pipelines.adapters.memory.blob_store import MemoryBlobStore
from pipelines.adapters.s3.blob_store import S3BlobStore
from pipelines.adapters.s3.client import connect
from pipelines.adapters.s3.settings import S3Settings, S3SettingsError
from pipelines.ports.blob_store import (
    PART_MIN_BYTES,
    BlobNotFound,
    BlobStore,
    BlobStoreUnavailable,
    ListedPart,
    PartsRefused,
    PreconditionFailed,
    UploadNotFound,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY = "1/550e8400-e29b-41d4-a716-446655440000.bin.gz"
TAGS = {"retention": "default"}


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> Iterator[BlobStore]:
    if request.param == "memory":
        yield MemoryBlobStore()
        return
    bucket: Bucket = request.getfixturevalue("s3")
    yield _s3_store(bucket)


def _s3_store(bucket: Bucket) -> S3BlobStore:
    client: S3Client = bucket.client()
    return S3BlobStore(client, S3Settings(bucket=bucket.bucket, endpoint_url=bucket.endpoint_url))


def test_what_is_put_is_read_whole_with_its_tags_and_metadata(store: BlobStore) -> None:
    put = store.put(KEY, b"body", tags={"retention": "clinical", "a": "b c"}, metadata={"revision": "1"})
    assert (put.key, put.size_bytes, put.metadata) == (KEY, 4, {"revision": "1"})
    assert put.version_id is not None
    assert '"' not in put.etag
    assert store.get(KEY) == b"body"
    assert store.head(KEY) == put
    assert store.tags(KEY) == {"retention": "clinical", "a": "b c"}


def test_ranges(store: BlobStore) -> None:
    store.put(KEY, bytes(range(100)), tags=TAGS, metadata={})
    assert store.get_range(KEY, 10, 5) == bytes(range(10, 15))
    assert store.get_range(KEY, 95, 50) == bytes(range(95, 100))
    with pytest.raises(ValueError, match="no bytes"):
        store.get_range(KEY, 100, 1)
    with pytest.raises(ValueError, match="no bytes"):
        store.get_range(KEY, 0, 0)


def test_a_put_if_absent_never_replaces(store: BlobStore) -> None:
    store.put(KEY, b"first", tags=TAGS, metadata={}, if_absent=True)
    with pytest.raises(PreconditionFailed):
        store.put(KEY, b"second", tags=TAGS, metadata={}, if_absent=True)
    assert store.get(KEY) == b"first"


def test_a_put_if_etag_replaces_only_what_it_named(store: BlobStore) -> None:
    with pytest.raises(PreconditionFailed):
        store.put(KEY, b"none", tags=TAGS, metadata={}, if_etag="0" * 32)
    first = store.put(KEY, b"first", tags=TAGS, metadata={})
    second = store.put(KEY, b"second", tags=TAGS, metadata={}, if_etag=first.etag)
    with pytest.raises(PreconditionFailed):
        store.put(KEY, b"third", tags=TAGS, metadata={}, if_etag=first.etag)
    assert second.version_id != first.version_id
    assert store.get(KEY) == b"second"


def test_of_two_writers_at_once_one_succeeds(store: BlobStore) -> None:
    def put(number: int) -> bool:
        try:
            store.put(KEY, b"writer %d" % number, tags=TAGS, metadata={}, if_absent=True)
        except PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(put, range(8))) == 1
    assert len(store.list_versions(KEY)) == 1


def test_every_version_stays_readable_with_its_own_tags(store: BlobStore) -> None:
    first = store.put(KEY, b"first", tags=TAGS, metadata={})
    second = store.put(KEY, b"second!", tags={"retention": "clinical"}, metadata={})
    assert store.get(KEY, first.version_id) == b"first"
    assert store.get_range(KEY, 1, 2, first.version_id) == b"ir"
    assert store.tags(KEY, first.version_id) == TAGS
    store.set_tags(KEY, {"retention": "media"}, first.version_id)
    assert store.tags(KEY, first.version_id) == {"retention": "media"}
    assert store.tags(KEY) == {"retention": "clinical"}
    assert [info.version_id for info in store.list_versions(KEY)] == [second.version_id, first.version_id]


def test_what_is_not_there(store: BlobStore) -> None:
    assert store.head(KEY) is None
    assert store.list_versions(KEY) == []
    assert store.delete_all_versions(KEY) == 0
    for call in (lambda: store.get(KEY), lambda: store.tags(KEY), lambda: store.set_tags(KEY, TAGS)):
        with pytest.raises(BlobNotFound):
            call()
    with pytest.raises(BlobNotFound):
        store.get_range(KEY, 0, 1)


def test_deleting_a_version_leaves_the_others(store: BlobStore) -> None:
    first = store.put(KEY, b"first", tags=TAGS, metadata={})
    store.put(KEY, b"second", tags=TAGS, metadata={})
    assert first.version_id is not None
    store.delete_version(KEY, first.version_id)
    store.delete_version(KEY, first.version_id)
    assert store.head(KEY, first.version_id) is None
    assert store.get(KEY) == b"second"


def test_deleting_all_versions_touches_exactly_one_key(store: BlobStore) -> None:
    for body in (b"1", b"2", b"3"):
        store.put(KEY, body, tags=TAGS, metadata={})
    store.put(KEY + "x", b"neighbour", tags=TAGS, metadata={})
    assert store.delete_all_versions(KEY) == 3
    assert store.head(KEY) is None
    assert store.get(KEY + "x") == b"neighbour"


def test_listing_shows_current_versions_below_a_prefix(store: BlobStore) -> None:
    for key in ("1/b", "1/a", "2/a"):
        store.put(key, b"old", tags=TAGS, metadata={})
        store.put(key, b"newer", tags=TAGS, metadata={})
    assert [(info.key, info.size_bytes) for info in store.list_objects("1/")] == [("1/a", 5), ("1/b", 5)]


def _begin(store: BlobStore) -> str:
    return store.create_upload(KEY, tags={"retention": "clinical", "a": "b c"}, metadata={"revision": "1"})


def test_an_upload_in_parts_is_seen_whole_when_it_is_completed_and_not_before(store: BlobStore) -> None:
    upload = _begin(store)
    large = bytes(range(256)) * (PART_MIN_BYTES // 256)
    parts = [store.upload_part(KEY, upload, 1, large), store.upload_part(KEY, upload, 2, b"the rest")]
    assert store.head(KEY) is None
    assert store.list_uploads(KEY) == [upload]
    assert store.list_parts(KEY, upload) == [
        ListedPart(1, parts[0].etag, PART_MIN_BYTES),
        ListedPart(2, parts[1].etag, 8),
    ]
    info = store.complete_upload(KEY, upload, parts, if_absent=True)
    assert store.head(KEY) == info
    assert (info.size_bytes, info.metadata) == (PART_MIN_BYTES + 8, {"revision": "1"})
    assert store.get(KEY, info.version_id) == large + b"the rest"
    assert store.get_range(KEY, PART_MIN_BYTES - 1, 4) == b"\xffthe"
    assert store.tags(KEY) == {"retention": "clinical", "a": "b c"}
    assert store.list_uploads(KEY) == []


def test_a_part_sent_again_replaces_the_first_and_what_is_not_named_is_left_out(store: BlobStore) -> None:
    upload = _begin(store)
    store.upload_part(KEY, upload, 1, b"first")
    again = store.upload_part(KEY, upload, 1, b"again")
    other = store.upload_part(KEY, upload, 2, b"not named")
    for never_sent in (again._replace(etag=other.etag), again._replace(number=3)):
        with pytest.raises(PartsRefused):
            store.complete_upload(KEY, upload, [never_sent])
    assert store.head(KEY) is None
    store.complete_upload(KEY, upload, [again])
    assert store.get(KEY) == b"again"


def test_parts_too_small_or_none_make_no_object(store: BlobStore) -> None:
    upload = _begin(store)
    parts = [store.upload_part(KEY, upload, number, b"small") for number in (1, 2)]
    for refused in (parts, []):
        with pytest.raises(PartsRefused):
            store.complete_upload(KEY, upload, refused)
    assert store.head(KEY) is None
    store.complete_upload(KEY, upload, parts[:1])
    assert store.get(KEY) == b"small"


def test_completing_if_absent_never_replaces_and_keeps_the_upload(store: BlobStore) -> None:
    upload = _begin(store)
    part = store.upload_part(KEY, upload, 1, b"late")
    store.put(KEY, b"there", tags=TAGS, metadata={})
    with pytest.raises(PreconditionFailed):
        store.complete_upload(KEY, upload, [part], if_absent=True)
    assert store.get(KEY) == b"there"
    assert len(store.list_versions(KEY)) == 1
    assert store.list_uploads(KEY) == [upload]
    store.complete_upload(KEY, upload, [part])
    assert store.get(KEY) == b"late"


def test_an_aborted_upload_is_gone_and_aborting_a_completed_one_leaves_its_object(store: BlobStore) -> None:
    aborted, completed = _begin(store), _begin(store)
    parts = [store.upload_part(KEY, upload, 1, b"part") for upload in (aborted, completed)]
    store.abort_upload(KEY, aborted)
    store.abort_upload(KEY, aborted)
    assert store.list_uploads(KEY) == [completed]
    for call in (
        lambda: store.upload_part(KEY, aborted, 2, b"x"),
        lambda: store.complete_upload(KEY, aborted, parts[:1]),
        lambda: store.list_parts(KEY, aborted),
    ):
        with pytest.raises(UploadNotFound):
            call()
    store.complete_upload(KEY, completed, parts[1:])
    store.abort_upload(KEY, completed)
    assert store.get(KEY) == b"part"


def test_uploads_are_listed_by_exactly_their_key(store: BlobStore) -> None:
    upload = _begin(store)
    store.create_upload(KEY + "x", tags=TAGS, metadata={})
    assert store.list_uploads(KEY) == [upload]
    assert store.list_uploads("1/other") == []


def test_a_part_that_arrives_changed_is_refused_and_uploads_are_encrypted(s3: Bucket) -> None:
    store = _s3_store(s3)
    upload = _begin(store)
    with pytest.raises(ClientError, match="BadDigest"):
        s3.client().upload_part(
            Bucket=s3.bucket, Key=KEY, UploadId=upload, PartNumber=1, Body=b"changed", ChecksumSHA256="A" * 43 + "="
        )
    store.complete_upload(KEY, upload, [store.upload_part(KEY, upload, 1, b"body")])
    assert s3.client().head_object(Bucket=s3.bucket, Key=KEY)["ServerSideEncryption"] == "AES256"


def _fetch(url: str, headers: dict[str, str]) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


def test_a_presigned_url_reads_its_version_and_nothing_else(s3: Bucket) -> None:
    store = _s3_store(s3)
    first = store.put(KEY, b"first", tags=TAGS, metadata={})
    second = store.put(KEY, b"second", tags=TAGS, metadata={})
    assert first.version_id is not None
    assert second.version_id is not None
    url = store.presign(KEY, first.version_id, 60)
    assert _fetch(url, {}) == (200, b"first")
    assert _fetch(url, {"Range": "bytes=1-2"}) == (206, b"ir")
    assert _fetch(url.replace(first.version_id, second.version_id), {})[0] == 403
    assert _fetch(url.partition("?")[0], {})[0] == 403


def test_objects_are_encrypted_as_set(s3: Bucket) -> None:
    _s3_store(s3).put(KEY, b"body", tags=TAGS, metadata={})
    assert s3.client().head_object(Bucket=s3.bucket, Key=KEY)["ServerSideEncryption"] == "AES256"


def test_the_request_for_a_managed_key_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """On moto, a double: this proves the request's shape, nothing about keys or access."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        settings = S3Settings(bucket="replays", encryption="aws:kms", kms_key_id="key-1")
        client = connect(settings)
        client.create_bucket(Bucket="replays")
        client.put_bucket_versioning(Bucket="replays", VersioningConfiguration={"Status": "Enabled"})
        store = S3BlobStore(client, settings)
        store.put(KEY, b"body", tags=TAGS, metadata={})
        upload = store.create_upload("in parts", tags=TAGS, metadata={})
        store.complete_upload("in parts", upload, [store.upload_part("in parts", upload, 1, b"body")])
        for key in (KEY, "in parts"):
            stored = client.head_object(Bucket="replays", Key=key)
            assert (stored["ServerSideEncryption"], stored["SSEKMSKeyId"]) == ("aws:kms", "key-1")


def test_an_unreachable_store_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    settings = S3Settings(endpoint_url="http://127.0.0.1:1")
    store = S3BlobStore(connect(settings), settings)
    with pytest.raises(BlobStoreUnavailable):
        store.head(KEY)


def test_settings_name_the_variable_that_is_wrong() -> None:
    with pytest.raises(S3SettingsError, match="RESTARTIX_S3_ENCRYPTION"):
        S3Settings.from_env({"RESTARTIX_S3_ENCRYPTION": "rot13"})
    with pytest.raises(S3SettingsError, match="RESTARTIX_S3_KMS_KEY_ID"):
        S3Settings.from_env({"RESTARTIX_S3_ENCRYPTION": "aws:kms"})
    kms = S3Settings.from_env({"RESTARTIX_S3_ENCRYPTION": "aws:kms", "RESTARTIX_S3_KMS_KEY_ID": "key"})
    assert (kms.encryption, kms.kms_key_id, kms.bucket) == ("aws:kms", "key", "restartix-telemetry")
