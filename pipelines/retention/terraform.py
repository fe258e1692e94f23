"""The bucket's lifecycle rules as Terraform (JSON syntax), for the AWS provider. Pure.

Made of the same lifecycle document that the retention job puts on the bucket, so the two never undo each other. Names
are the provider's (``aws_s3_bucket_lifecycle_configuration``); a block that may repeat is a list.
"""

from __future__ import annotations

import json
from typing import Any

from pipelines.retention.lifecycle import MINIMUM_OBJECT_SIZE, Document

_NOTE = "Generated from the retention policy by `restartix retention report --terraform`. Do not edit."
_BUCKET = "telemetry"


def terraform(document: Document) -> str:
    """``lifecycle.tf.json`` for ``document``. Raises ``KeyError`` for a part of a rule that is not known here."""
    configuration = {
        "bucket": f"${{aws_s3_bucket.{_BUCKET}.id}}",
        # Rules about old versions mean nothing until there are versions.
        "depends_on": [f"aws_s3_bucket_versioning.{_BUCKET}"],
        "transition_default_minimum_object_size": MINIMUM_OBJECT_SIZE,
        "rule": [_rule(rule) for rule in document["Rules"]],
    }
    resource = {"aws_s3_bucket_lifecycle_configuration": {_BUCKET: configuration}}
    return json.dumps({"//": _NOTE, "resource": resource}, indent=2) + "\n"


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    return {_PARTS[part][0]: _PARTS[part][1](value) for part, value in rule.items()}


def _filter(value: dict[str, Any]) -> list[dict[str, Any]]:
    if "Tag" in value:
        return [{"tag": [{"key": value["Tag"]["Key"], "value": value["Tag"]["Value"]}]}]
    return [{"prefix": value["Prefix"]}]


def _block(names: dict[str, str]) -> Any:  # noqa: ANN401 - one of the functions of _PARTS
    return lambda value: [{names[name]: each for name, each in value.items()}]


def _transitions(value: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"days": step["Days"], "storage_class": step["StorageClass"]} for step in value]


# Part of a rule in S3's document -> the provider's name, and how its value is said there.
_PARTS: dict[str, tuple[str, Any]] = {
    "ID": ("id", str),
    "Status": ("status", str),
    "Filter": ("filter", _filter),
    "Transitions": ("transition", _transitions),
    "Expiration": (
        "expiration",
        _block({"Days": "days", "ExpiredObjectDeleteMarker": "expired_object_delete_marker"}),
    ),
    "NoncurrentVersionExpiration": ("noncurrent_version_expiration", _block({"NoncurrentDays": "noncurrent_days"})),
    "AbortIncompleteMultipartUpload": (
        "abort_incomplete_multipart_upload",
        _block({"DaysAfterInitiation": "days_after_initiation"}),
    ),
}
