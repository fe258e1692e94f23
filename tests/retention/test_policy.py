"""The policy file, and what is made from it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import boto3
import msgspec
import pytest
from click.testing import CliRunner
from moto import mock_aws

from infra.stack.throwaway import Bucket
from pipelines.adapters.postgres import sql
from pipelines.adapters.s3.lifecycle import apply_lifecycle
from pipelines.replay.keys import MEDIA_RETENTION
from pipelines.retention.cli import retention
from pipelines.retention.document import markdown
from pipelines.retention.lifecycle import MINIMUM_OBJECT_SIZE, render, without_transitions
from pipelines.retention.policy import load, parse

TEXT = resources.files("pipelines.retention").joinpath("policy.toml").read_text()
DOCUMENT = Path(__file__).parents[2] / "docs" / "retention.md"


def test_the_periods_are_those_the_clinics_were_promised() -> None:
    policy = load()
    assert {rule.data: rule.kept_days for rule in policy.rows} == {
        "treatment_sessions": 2557,
        "other_forms": 2557,
        "consents": 2557,
        "audit_log": 2557,
        "replay_index_default": 184,
        "replay_index_clinical": 2557,
        "media_events_key": 731,
        "bus_events": 30,
        "dead_letters": 90,
        "idempotency_keys": 2,
        "row_changes": 30,
        "erasures": 2557,
        "exports": 2557,
    }
    assert {rule.table: rule.kept_days for rule in policy.partitioned} == {
        "telemetry.pose_rep_metrics": 2557,
        "telemetry.pose_session_metrics": 2557,
        "telemetry.media_buffering_events": 731,
        "telemetry.media_session_metrics": 731,
    }
    assert {rule.tag: rule.kept_days for rule in policy.objects} == {
        "default": 184,
        "clinical": 2557,
        "media": 731,
        "ledger": 2557,
    }


def test_an_index_is_kept_as_long_as_its_object() -> None:
    policy = load()
    kept = {rule.tag: rule.kept_days for rule in policy.objects}
    assert policy.row_rule("replay_index_default").kept_days == kept["default"]
    assert policy.row_rule("replay_index_clinical").kept_days == kept["clinical"]
    assert policy.row_rule("media_events_key").kept_days == kept[MEDIA_RETENTION]


def test_every_rule_has_a_statement() -> None:
    statements = sql.load("pipelines.adapters.postgres", "retention_store.sql")
    assert {rule.data for rule in load().rows} <= statements.keys()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("kept_days = 184", "kept_days = 0", ">= 1"),
        ('tag = "clinical"', 'tag = "default"', "twice"),
        ("after_days = 365", "after_days = 100", "30 days"),
        ("GLACIER_IR", "TAPE", "TAPE"),
        ("months_ahead = 12", "months_ahead = 12\nmonths_sideways = 1", "months_sideways"),
        ('data = "consents"', 'data = "audit_log"', "twice"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(before: str, after: str, said: str) -> None:
    assert before in TEXT
    with pytest.raises((msgspec.ValidationError, ValueError), match=said):
        parse(TEXT.replace(before, after))


def test_the_documentation_has_the_same_table() -> None:
    assert markdown(load()) in DOCUMENT.read_text()


def test_the_lifecycle_document() -> None:
    rules = {rule["ID"]: rule for rule in render(load())["Rules"]}
    assert rules["retention-clinical"] == {
        "ID": "retention-clinical",
        "Status": "Enabled",
        "Filter": {"Tag": {"Key": "retention", "Value": "clinical"}},
        "Transitions": [{"Days": 90, "StorageClass": "STANDARD_IA"}, {"Days": 365, "StorageClass": "GLACIER_IR"}],
        "Expiration": {"Days": 2557},
    }
    assert rules["retention-default"]["Expiration"] == {"Days": 184}
    assert rules["noncurrent-versions"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert rules["incomplete-uploads"].keys() == {"ID", "Status", "Filter", "AbortIncompleteMultipartUpload"}
    assert "Transitions" not in rules["retention-ledger"], "S3 refuses an empty list of them"
    assert len(rules) == 6


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    yield


def test_the_whole_document_is_accepted_where_transitions_are_known(aws_credentials: None) -> None:
    del aws_credentials
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="replays")
        document = render(load())
        outcome = apply_lifecycle(client, "replays", document, MINIMUM_OBJECT_SIZE, without_transitions)
        assert outcome.left_out == []
        kept = {rule["ID"]: rule for rule in client.get_bucket_lifecycle_configuration(Bucket="replays")["Rules"]}
        for rule in document["Rules"]:
            for name in rule.keys() - {"ID", "Filter"}:
                assert kept[rule["ID"]][name] == rule[name]  # type: ignore[literal-required]


def test_the_local_store_takes_expiry_and_says_what_it_cannot_do(s3: Bucket) -> None:
    outcome = apply_lifecycle(s3.client(), s3.bucket, render(load()), MINIMUM_OBJECT_SIZE, without_transitions)
    assert outcome.left_out == [
        "retention-default: to STANDARD_IA after 90 days",
        "retention-clinical: to STANDARD_IA after 90 days",
        "retention-clinical: to GLACIER_IR after 365 days",
        "retention-media: to STANDARD_IA after 90 days",
    ]
    kept = {rule["ID"]: rule for rule in s3.client().get_bucket_lifecycle_configuration(Bucket=s3.bucket)["Rules"]}
    assert kept["retention-default"]["Expiration"]["Days"] == 184
    assert outcome.rules == sorted(kept)
    again = apply_lifecycle(s3.client(), s3.bucket, render(load()), MINIMUM_OBJECT_SIZE, without_transitions)
    assert again == outcome


def test_the_command_applies_to_the_bucket_it_is_pointed_at(s3: Bucket) -> None:
    done = CliRunner().invoke(retention, ["apply"], env=s3.environment())
    assert done.exit_code == 0, done.output
    assert "retention-clinical" in done.output
    assert done.output.count("Not supported by this store") == 4


def test_the_command_shows_policy_and_document_without_any_store() -> None:
    shown = CliRunner().invoke(retention, ["report", "--policy"])
    assert shown.output == markdown(load())
    document = CliRunner().invoke(retention, ["report", "--lifecycle"])
    assert msgspec.json.decode(document.output) == render(load())


def test_a_missing_variable_is_named() -> None:
    done = CliRunner().invoke(retention, ["run"], env={"RESTARTIX_DATABASE_URL": ""})
    assert done.exit_code == 1
    assert "RESTARTIX_DATABASE_URL" in done.output
