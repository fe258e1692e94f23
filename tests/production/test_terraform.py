"""The Terraform: lifecycle rules are the policy's, and each process may do what it does and nothing else.

What this does not show: that AWS takes it. Nothing here was planned against an account.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from pipelines.erasure.ledger import PREFIX as LEDGER_PREFIX
from pipelines.retention.cli import retention
from pipelines.retention.drift import drift
from pipelines.retention.lifecycle import MINIMUM_OBJECT_SIZE, render
from pipelines.retention.policy import load
from pipelines.retention.terraform import terraform

REPOSITORY = Path(__file__).parents[2]
TERRAFORM = REPOSITORY / "infra" / "terraform"
GENERATED = TERRAFORM / "lifecycle.tf.json"

# What each call of boto3 needs, by AWS's list of the permissions of S3's operations. Keys: a call with a version id and
# without; an object that is absent is 404 rather than 403 only to who may list the bucket.
ACTIONS: dict[str, set[str]] = {
    "put_object": {"s3:PutObject", "s3:PutObjectTagging", "kms:GenerateDataKey"},
    "get_object": {"s3:GetObject", "s3:GetObjectVersion", "kms:Decrypt"},
    "head_object": {"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "kms:Decrypt"},
    "get_object_tagging": {"s3:GetObjectTagging", "s3:GetObjectVersionTagging"},
    "put_object_tagging": {"s3:PutObjectTagging", "s3:PutObjectVersionTagging"},
    "list_objects_v2": {"s3:ListBucket"},
    "list_object_versions": {"s3:ListBucketVersions"},
    "list_multipart_uploads": {"s3:ListBucketMultipartUploads"},
    "list_parts": {"s3:ListMultipartUploadParts"},
    "delete_object": {"s3:DeleteObject", "s3:DeleteObjectVersion"},
    "delete_objects": {"s3:DeleteObject", "s3:DeleteObjectVersion"},
    "generate_presigned_url": {"s3:GetObject", "s3:GetObjectVersion", "kms:Decrypt"},
    "create_multipart_upload": {"s3:PutObject", "s3:PutObjectTagging", "kms:GenerateDataKey"},
    "upload_part": {"s3:PutObject", "kms:GenerateDataKey", "kms:Decrypt"},
    "complete_multipart_upload": {"s3:PutObject", "kms:GenerateDataKey", "kms:Decrypt"},
    "abort_multipart_upload": {"s3:AbortMultipartUpload"},
    "get_bucket_lifecycle_configuration": {"s3:GetLifecycleConfiguration"},
    "put_bucket_lifecycle_configuration": {"s3:PutLifecycleConfiguration"},
    "encrypt": {"kms:Encrypt"},
    "decrypt": {"kms:Decrypt"},
}
ADAPTERS = [
    REPOSITORY / "pipelines" / "adapters" / name
    for name in ("s3/blob_store.py", "s3/inventory.py", "s3/lifecycle.py", "aws_kms.py")
]
# The sources of each process that has a store in hand; the finaliser's room has two of orchestration's.
ORCHESTRATIONS = ("recount.py", "orphans.py", "sweep.py")
PROCESSES: dict[str, list[Path]] = {
    "finaliser": [
        each for each in (REPOSITORY / "pipelines" / "finalise").glob("*.py") if each.name not in ORCHESTRATIONS
    ],
    "core-api": [*(REPOSITORY / "core_api").rglob("*.py")],
    "orchestration": [
        *(REPOSITORY / "orchestration").rglob("*.py"),
        *(REPOSITORY / "pipelines" / "retention").glob("*.py"),
        *(REPOSITORY / "pipelines" / "finalise" / name for name in ORCHESTRATIONS),
    ],
    "erasure": [*(REPOSITORY / "pipelines" / "erasure").glob("*.py")],
}
STORES = re.compile(
    r"\b_?(?:blobs|inventory|bucket|wrapper|store|keys|master|kms)(?:\([^()]*(?:\([^()]*\))?[^()]*\))?\.(\w+)\("
)


def test_the_file_is_what_the_command_gives() -> None:
    told = CliRunner().invoke(retention, ["report", "--terraform"])
    assert told.exit_code == 0
    assert GENERATED.read_text() == told.output, (
        "run: restartix retention report --terraform > infra/terraform/lifecycle.tf.json"
    )


def test_another_policy_gives_another_file() -> None:
    policy = load()
    longer = msgspec.structs.replace(
        policy, objects=(msgspec.structs.replace(policy.objects[0], kept_days=185), *policy.objects[1:])
    )
    assert terraform(render(longer)) != GENERATED.read_text()


def test_the_file_says_what_the_retention_job_applies() -> None:
    """Read back into S3's words by the provider's documentation, independently of the code that wrote it."""
    [configuration] = _resources("aws_s3_bucket_lifecycle_configuration")
    assert configuration["transition_default_minimum_object_size"] == MINIMUM_OBJECT_SIZE
    document = {"Rules": [_as_s3(rule) for rule in configuration["rule"]]}
    assert drift(render(load()), document) == []
    assert document == render(load())


def test_a_rule_with_a_part_that_is_not_known_is_refused() -> None:
    document = {"Rules": [{"ID": "a", "Status": "Enabled", "NoncurrentVersionTransitions": []}]}
    with pytest.raises(KeyError, match="NoncurrentVersionTransitions"):
        terraform(document)


def test_every_call_of_the_adapters_is_in_the_table() -> None:
    called = {call for path in ADAPTERS for calls in _client_calls(path).values() for call in calls}
    assert called == set(ACTIONS)


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_a_process_may_do_what_it_does_and_nothing_else(process: str) -> None:
    needed = set().union(*(ACTIONS[call] for call in _calls_of(process)))
    granted = {action for statement in _policy(process) for action in statement["Action"]}
    assert granted == needed


def test_there_is_a_policy_a_process_and_none_for_who_reaches_no_store() -> None:
    assert {path.stem for path in (TERRAFORM / "policies").glob("*.json")} == set(PROCESSES)
    for room in ("ingest_service", "core_api/subscriber"):
        source = "".join(path.read_text() for path in (REPOSITORY / room).rglob("*.py"))
        assert "boto3" not in source
        assert "adapters.s3" not in source


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_nothing_is_granted_everywhere(process: str) -> None:
    for statement in _policy(process):
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in statement["Action"])
        resource = statement["Resource"]
        assert resource.startswith(("${bucket_arn}", "${objects_key_arn}", "${columns_key_arn}"))
        services = {action.split(":")[0] for action in statement["Action"]}
        assert services == {"s3" if "bucket" in resource else "kms"}
        of_the_bucket = {action for action in statement["Action"] if re.search("Bucket|Lifecycle", action)}
        assert of_the_bucket == (set(statement["Action"]) if resource == "${bucket_arn}" else set())


def test_who_writes_and_who_deletes() -> None:
    """Only the finaliser writes sessions' objects; only it, erasure and the Core API delete. Only the Core API has the
    key of names and free text, and that for one purpose.
    """
    by_action: dict[str, set[str]] = {}
    for process in PROCESSES:
        for statement in _policy(process):
            for action in statement["Action"]:
                by_action.setdefault(f"{action} {statement['Resource']}", set()).add(process)
            if statement["Resource"] == "${columns_key_arn}":
                purpose = {"StringEquals": {"kms:EncryptionContext:purpose": "column-encryption"}}
                assert statement["Condition"] == purpose
    assert by_action["s3:PutObject ${bucket_arn}/*"] == {"finaliser"}
    assert by_action["s3:PutObject ${bucket_arn}/" + LEDGER_PREFIX + "*"] == {"erasure"}
    assert by_action["s3:DeleteObjectVersion ${bucket_arn}/*"] == {"finaliser", "core-api", "erasure"}
    assert by_action["s3:PutLifecycleConfiguration ${bucket_arn}"] == {"orchestration"}
    assert by_action["kms:Decrypt ${columns_key_arn}"] == {"core-api"}


def test_what_the_bucket_is_held_to() -> None:
    source = (TERRAFORM / "bucket.tf").read_text() + (TERRAFORM / "keys.tf").read_text()
    for line in (
        'status = "Enabled"',
        'sse_algorithm     = "aws:kms"',
        "block_public_acls       = true",
        "block_public_policy     = true",
        "ignore_public_acls      = true",
        "restrict_public_buckets = true",
    ):
        assert source.count(line) == 1, line
    assert source.count("enable_key_rotation     = true") == source.count('resource "aws_kms_key"') == 2
    assert source.count("prevent_destroy = true") == 3
    statements = json.loads((TERRAFORM / "bucket-policy.json").read_text())["Statement"]
    assert {each["Effect"] for each in statements} == {"Deny"}
    assert statements[0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_every_reference_is_to_something_declared() -> None:
    """Resources, variables and templates' values by name, over all files."""
    source = "".join(path.read_text() for path in sorted(TERRAFORM.glob("*.tf")))
    generated = GENERATED.read_text()
    declared = set(re.findall(r'^resource "(\w+)" "(\w+)"', source, re.MULTILINE))
    used = set(re.findall(r"\b(aws_\w+)\.(\w+)", source + generated))
    assert used <= declared
    assert set(re.findall(r"\bvar\.(\w+)", source)) == set(re.findall(r'^variable "(\w+)"', source, re.MULTILINE))
    given = set(re.findall(r"^    (\w+_arn)\s+=", source, re.MULTILINE))
    for template in (TERRAFORM / "bucket-policy.json", *(TERRAFORM / "policies").glob("*.json")):
        assert set(re.findall(r"\$\{(\w+)\}", template.read_text())) <= given


def _resources(kind: str) -> list[dict[str, Any]]:
    return list(json.loads(GENERATED.read_text())["resource"][kind].values())


def _as_s3(rule: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"ID": rule["id"], "Status": rule["status"]}
    [scope] = rule["filter"]
    if "tag" in scope:
        [tag] = scope["tag"]
        found["Filter"] = {"Tag": {"Key": tag["key"], "Value": tag["value"]}}
    else:
        found["Filter"] = {"Prefix": scope["prefix"]}
    if "transition" in rule:
        found["Transitions"] = [
            {"Days": step["days"], "StorageClass": step["storage_class"]} for step in rule["transition"]
        ]
    for expiration in rule.get("expiration", []):
        names = {"days": "Days", "expired_object_delete_marker": "ExpiredObjectDeleteMarker"}
        found["Expiration"] = {names[name]: value for name, value in expiration.items()}
    for noncurrent in rule.get("noncurrent_version_expiration", []):
        found["NoncurrentVersionExpiration"] = {"NoncurrentDays": noncurrent["noncurrent_days"]}
    for upload in rule.get("abort_incomplete_multipart_upload", []):
        found["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": upload["days_after_initiation"]}
    return found


def _policy(process: str) -> list[dict[str, Any]]:
    document = json.loads((TERRAFORM / "policies" / f"{process}.json").read_text())
    assert document["Version"] == "2012-10-17"
    statements: list[dict[str, Any]] = document["Statement"]
    return statements


def _client_calls(path: Path) -> dict[str, set[str]]:
    """Method of an adapter -> the calls of boto3 it makes, those of the adapter's own methods included."""
    direct: dict[str, set[str]] = {}
    own: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            direct[node.name] = set(_boto3(node))
            own[node.name] = {
                call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                for call in ast.walk(node)
                if isinstance(call, ast.Call)
                and (not isinstance(call.func, ast.Attribute) or getattr(call.func.value, "id", "") == "self")
            }
    for _ in range(3):  # nesting is shallower than that
        for name, others in own.items():
            direct[name] |= set().union(*(direct.get(other, set()) for other in others))
    return direct


def _boto3(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        receiver = node.func.value
        if "client" in (getattr(receiver, "attr", "") + getattr(receiver, "id", "")):
            if node.func.attr == "get_paginator":
                [operation] = node.args
                assert isinstance(operation, ast.Constant)
                yield str(operation.value)
            else:
                yield node.func.attr


def _calls_of(process: str) -> set[str]:
    """Which calls of boto3 the process's sources lead to: by the adapters' methods they use."""
    methods: dict[str, set[str]] = {}
    for path in ADAPTERS:
        for name, calls in _client_calls(path).items():
            methods[name] = methods.get(name, set()) | calls
    found: set[str] = set()
    for path in PROCESSES[process]:
        source = path.read_text()
        used = set(STORES.findall(source))
        used |= {name for name in ("apply_lifecycle",) if re.search(rf"\b{name}\(", source)}
        found |= set().union(*(methods.get(name, set()) for name in used)) if used else set()
    return found
