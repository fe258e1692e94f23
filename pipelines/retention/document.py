"""The policy as a table for people: the one in the documentation, and the one the command prints. Pure."""

from __future__ import annotations

from pipelines.retention.policy import ObjectRule, Policy


def markdown(policy: Policy) -> str:
    """One row a rule, as in ``docs/retention.md``."""
    lines = ["| data | where | kept | counted from |", "|---|---|---|---|"]
    for partitioned in policy.partitioned:
        where = f"`{partitioned.table}`, monthly partitions"
        lines.append(_line(partitioned.title, where, _days(partitioned.kept_days), partitioned.counted_from))
    for rows in policy.rows:
        where = ", ".join(f"`{table}`" for table in rows.tables)
        lines.append(_line(rows.title, where, _days(rows.kept_days), rows.counted_from))
    for objects in policy.objects:
        where = f"S3, tag `retention={objects.tag}`"
        lines.append(_line(objects.title, where, _object_kept(objects), "creation of the object"))
    bucket = policy.bucket
    lines.append(_line("Old versions", "S3, all objects", _days(bucket.noncurrent_kept_days), "being replaced"))
    lines.append(
        _line("Incomplete uploads", "S3, all uploads", _days(bucket.incomplete_upload_kept_days), "their beginning")
    )
    return "\n".join(lines) + "\n"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days:,} days"


def _object_kept(rule: ObjectRule) -> str:
    steps = [f"{step.storage_class} at {step.after_days:,} days" for step in rule.transitions]
    return "; ".join([*steps, f"expires at {_days(rule.kept_days)}"])
