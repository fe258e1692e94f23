"""The bucket's lifecycle document, rendered from the policy. Pure.

A rule cannot say "untagged", so every object is tagged when it is created (``pipelines.replay.keys``). Rules about
uploads and old versions take no tag, so each is a rule of its own. Objects under 128 KiB never change class: S3 does
not move them by default, and the document's size setting says so.
"""

from __future__ import annotations

from typing import Any

from pipelines.replay.keys import RETENTION_TAG
from pipelines.retention.policy import ObjectRule, Policy

Document = dict[str, Any]

MINIMUM_OBJECT_SIZE = "all_storage_classes_128K"  # TransitionDefaultMinimumObjectSize, beside the document


def render(policy: Policy) -> Document:
    """``LifecycleConfiguration`` as S3's ``PutBucketLifecycleConfiguration`` takes it."""
    rules = [_object_rule(rule) for rule in policy.objects]
    rules.append(
        {
            "ID": "noncurrent-versions",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "NoncurrentVersionExpiration": {"NoncurrentDays": policy.bucket.noncurrent_kept_days},
            "Expiration": {"ExpiredObjectDeleteMarker": True},
        }
    )
    rules.append(
        {
            "ID": "incomplete-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": policy.bucket.incomplete_upload_kept_days},
        }
    )
    return {"Rules": rules}


def without_transitions(document: Document) -> tuple[Document, list[str]]:
    """The document for a store that cannot change storage classes, and what was left out, a line each."""
    left_out = []
    rules = []
    for rule in document["Rules"]:
        for transition in rule.get("Transitions", []):
            left_out.append(f"{rule['ID']}: to {transition['StorageClass']} after {transition['Days']} days")
        rules.append({name: value for name, value in rule.items() if name != "Transitions"})
    return {"Rules": rules}, left_out


def _object_rule(rule: ObjectRule) -> Document:
    transitions = [
        {"Days": transition.after_days, "StorageClass": transition.storage_class} for transition in rule.transitions
    ]
    return {
        "ID": f"retention-{rule.tag}",
        "Status": "Enabled",
        "Filter": {"Tag": {"Key": RETENTION_TAG, "Value": rule.tag}},
        **({"Transitions": transitions} if transitions else {}),  # S3 refuses an empty list
        "Expiration": {"Days": rule.kept_days},
    }
