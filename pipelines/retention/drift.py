"""What a bucket's lifecycle document says otherwise than the policy's. Pure.

Stores give a document back in their own words (a prefix filter may come back as an absent one, keys in another order):
two rules are compared by what they make happen, to which objects, and whether they are on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]

_ACTIONS = (
    "Expiration",
    "Transitions",
    "NoncurrentVersionExpiration",
    "NoncurrentVersionTransitions",
    "AbortIncompleteMultipartUpload",
)


def drift(asked: Document, found: Document) -> list[str]:
    """One line a difference; empty where the bucket does what was asked and nothing else."""
    wanted = {rule["ID"]: _meaning(rule) for rule in asked["Rules"]}
    there = {rule["ID"]: _meaning(rule) for rule in found["Rules"]}
    lines = [f"{name}: missing" for name in sorted(wanted.keys() - there.keys())]
    lines += [f"{name}: not of the policy" for name in sorted(there.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & there.keys()):
        lines += [
            f"{name}: {part} is {there[name].get(part)!r}, not {wanted[name].get(part)!r}"
            for part in sorted(wanted[name].keys() | there[name].keys())
            if wanted[name].get(part) != there[name].get(part)
        ]
    return lines


def _meaning(rule: Mapping[str, Any]) -> dict[str, Any]:
    meaning: dict[str, Any] = {"Status": rule["Status"], "Filter": _filter(rule)}
    for action in _ACTIONS:
        value = rule.get(action)
        if not value:
            continue
        if isinstance(value, list):
            value = sorted((dict(step) for step in value), key=lambda step: step.get("Days", 0))
        else:
            # Absent and false are the same.
            value = {name: said for name, said in value.items() if said is not False}
        meaning[action] = value
    return meaning


def _filter(rule: Mapping[str, Any]) -> dict[str, Any]:
    said = dict(rule.get("Filter") or {})
    conditions = dict(said.pop("And", {}))
    conditions |= said
    tags = list(conditions.pop("Tags", []))
    if "Tag" in conditions:
        tags.append(conditions.pop("Tag"))
    prefix = conditions.pop("Prefix", None) or rule.get("Prefix") or ""
    found: dict[str, Any] = {name: value for name, value in conditions.items() if value}
    if prefix:
        found["Prefix"] = prefix
    if tags:
        found["Tags"] = sorted((tag["Key"], tag["Value"]) for tag in tags)
    return found
