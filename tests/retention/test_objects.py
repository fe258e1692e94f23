"""The bucket against policy and sessions: every disagreement is found, and nothing else is."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec
import pytest

from infra.stack.throwaway import Bucket
from pipelines.adapters.postgres.retention_store import SealedRow
from pipelines.adapters.s3.inventory import BucketInventory, StoredObject
from pipelines.adapters.s3.lifecycle import apply_lifecycle
from pipelines.erasure.ledger import PREFIX, TAGS
from pipelines.retention.drift import drift
from pipelines.retention.lifecycle import MINIMUM_OBJECT_SIZE, render, without_transitions
from pipelines.retention.objects import ObjectsReport, audit
from pipelines.retention.policy import load

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
LARGE = 1_000_000


@dataclass
class Clinic:
    """Sessions and objects of one organisation, in memory."""

    sessions: list[SealedRow] = field(default_factory=list)
    stored: dict[str, StoredObject] = field(default_factory=dict)
    tagged: dict[str, str] = field(default_factory=dict)

    def session(
        self, days: float, *, retention: str = "default", storage_class: str = "STANDARD", size: int = LARGE
    ) -> str:
        session_id = uuid.uuid4()
        key = f"1/{session_id}.bin.gz"
        at = NOW - dt.timedelta(days=days)
        self.sessions.append(SealedRow(session_id, key, size, None, retention, at))
        self.stored[key] = StoredObject(key, size, storage_class, at)
        self.tagged[key] = retention
        return key

    def organisations(self) -> list[int]:
        return [1]

    def sealed_objects(self, organisation_id: int, after: UUID | None, max_sessions: int) -> Sequence[SealedRow]:
        assert organisation_id == 1
        later = [row for row in self.sessions if after is None or row.session_id > after]
        return sorted(later, key=lambda row: row.session_id)[:max_sessions]

    def prefixes(self) -> list[str]:
        return sorted({key[: key.index("/") + 1] if "/" in key else key for key in self.stored})

    def objects(self, prefix: str) -> list[StoredObject]:
        return [self.stored[key] for key in sorted(self.stored) if key.startswith(prefix)]

    def tags(self, key: str) -> dict[str, str] | None:
        return {"retention": self.tagged[key]} if key in self.tagged else {}


def _audit(clinic: Clinic, *, has_classes: bool = True) -> ObjectsReport:
    return audit(clinic, clinic, load(), NOW, has_classes=has_classes, page=2)


def test_a_bucket_that_is_as_promised_has_no_findings() -> None:
    clinic = Clinic()
    for days, retention, storage_class in (
        (1, "default", "STANDARD"),
        (100, "default", "STANDARD_IA"),
        (91, "default", "STANDARD"),  # the rules run once a day: not late yet
        (100, "clinical", "STANDARD_IA"),
        (400, "clinical", "GLACIER_IR"),
        (2556, "clinical", "GLACIER_IR"),
        (185, "default", "STANDARD_IA"),
    ):
        clinic.session(days, retention=retention, storage_class=storage_class)
    clinic.session(100, size=1000)  # too small to move
    report = _audit(clinic)
    assert report.disagreements == []
    assert (report.sessions, report.objects, report.bytes, report.tags_read) == (8, 8, 7 * LARGE + 1000, 8)
    assert sum(holding.objects for holding in report.holdings) == 8


@pytest.mark.parametrize(
    ("days", "retention", "storage_class", "finding"),
    [
        (188, "default", "STANDARD_IA", "overdue: 1"),
        (2561, "clinical", "GLACIER_IR", "overdue: 1"),
        (94, "default", "STANDARD", "wrong class: 1"),
        (10, "default", "STANDARD_IA", "wrong class: 1"),
        (369, "clinical", "STANDARD_IA", "wrong class: 1"),
        (100, "clinical", "GLACIER_IR", "wrong class: 1"),
    ],
)
def test_what_is_late_or_early_is_found(days: int, retention: str, storage_class: str, finding: str) -> None:
    clinic = Clinic()
    clinic.session(1)
    clinic.session(days, retention=retention, storage_class=storage_class)
    assert _audit(clinic).disagreements == [finding]


def test_what_is_missing_stray_or_otherwise_is_found() -> None:
    clinic = Clinic()
    for days in range(1, 8):
        clinic.session(days)
    missing, resized, retagged = list(clinic.stored)[:3]
    del clinic.stored[missing]
    clinic.stored[resized] = clinic.stored[resized]._replace(size_bytes=7)
    clinic.tagged[retagged] = "media"
    at = NOW - dt.timedelta(days=2)
    for stray in (f"1/{uuid.uuid4()}.bin.gz", "2/other.bin.gz", "loose"):
        clinic.stored[stray] = StoredObject(stray, 5, "STANDARD", at)
    report = _audit(clinic)
    assert report.disagreements == ["missing: 1", "stray: 3", "wrong size: 1", "wrong tag: 1"]
    assert report.missing.keys == (missing,)


def test_the_erasure_ledger_is_no_stray_and_goes_by_its_own_rule() -> None:
    clinic = Clinic()
    clinic.session(1)
    for name, days, tag in (("a", 1, TAGS["retention"]), ("b", 2, "default"), ("c", 2600, TAGS["retention"])):
        key = f"{PREFIX}1/{name}.json"
        clinic.stored[key] = StoredObject(key, 300, "STANDARD", NOW - dt.timedelta(days=days))
        clinic.tagged[key] = tag
    report = _audit(clinic)
    assert report.disagreements == ["wrong tag: 1", "overdue: 1"]
    assert report.wrong_tag.keys == (f"{PREFIX}1/b.json",)
    assert sum(holding.objects for holding in report.holdings if holding.tag == "ledger") == 3


def test_what_is_being_published_or_may_have_expired_is_no_finding() -> None:
    clinic = Clinic()
    fresh = clinic.session(0.01)
    del clinic.stored[fresh]
    gone = clinic.session(184.5)  # S3 was quicker than the night that forgets the key
    del clinic.stored[gone]
    young = f"1/{uuid.uuid4()}.bin.gz"
    clinic.stored[young] = StoredObject(young, 5, "STANDARD", NOW - dt.timedelta(minutes=5))
    assert _audit(clinic).disagreements == []


def test_a_real_bucket_is_read(s3: Bucket) -> None:
    clinic = Clinic()
    client = s3.client()
    kept = clinic.session(0.2, size=9)
    lost = clinic.session(0.3, size=9)
    client.put_object(Bucket=s3.bucket, Key=kept, Body=b"123456789", Tagging="retention=default")
    client.put_object(Bucket=s3.bucket, Key="7/x", Body=b"1", Tagging="retention=default")
    upload = client.create_multipart_upload(Bucket=s3.bucket, Key="1/under.way")["UploadId"]
    inventory = BucketInventory(client, s3.bucket)
    report = audit(inventory, clinic, load(), dt.datetime.now(dt.UTC), has_classes=False)
    assert report.missing.keys == (lost,)
    assert report.stray.keys == ("7/x",)
    assert (report.wrong_tag.objects, report.tags_read) == (0, 1)
    [pending] = inventory.pending_uploads()
    assert (pending.key, pending.upload_id) == ("1/under.way", upload)
    inventory.abort_upload(pending.key, pending.upload_id)
    inventory.abort_upload(pending.key, pending.upload_id)
    assert list(inventory.pending_uploads()) == []


def test_a_changed_lifecycle_document_is_drift(s3: Bucket) -> None:
    client, inventory = s3.client(), BucketInventory(s3.client(), s3.bucket)
    asked, _ = without_transitions(render(load()))
    assert len(drift(asked, inventory.lifecycle())) == len(asked["Rules"])
    apply_lifecycle(client, s3.bucket, render(load()), MINIMUM_OBJECT_SIZE, without_transitions)
    assert drift(asked, inventory.lifecycle()) == []
    shorter = msgspec.json.decode(msgspec.json.encode(asked))
    shorter["Rules"][1]["Expiration"]["Days"] = 30
    shorter["Rules"].pop()
    client.put_bucket_lifecycle_configuration(Bucket=s3.bucket, LifecycleConfiguration=shorter)
    assert drift(asked, inventory.lifecycle()) == [
        "incomplete-uploads: missing",
        "retention-clinical: Expiration is {'Days': 30}, not {'Days': 2557}",
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"Status": "Disabled"}, "Status is 'Disabled', not 'Enabled'"),
        ({"Transitions": []}, "Transitions is None"),
        ({"Filter": {"Prefix": ""}}, "Filter is {}"),
        ({"Filter": {"And": {"Prefix": "1/", "Tags": [{"Key": "retention", "Value": "default"}]}}}, "Filter is"),
    ],
)
def test_every_change_of_a_rule_is_drift(change: dict[str, object], line: str) -> None:
    asked = render(load())
    found = msgspec.json.decode(msgspec.json.encode(asked))
    found["Rules"][0] |= change
    [said] = drift(asked, found)
    assert line in said
