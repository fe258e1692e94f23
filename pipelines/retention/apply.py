"""One night of retention on Postgres: partitions made ahead and dropped, expired rows deleted in bounded batches.

Belongs here: the order, the bounds and the report. Does not belong here: periods (``policy.toml``), SQL (the adapter),
objects (their lifecycle rules do the work, ``lifecycle``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Protocol

import msgspec

from pipelines.retention.policy import Policy


class RetentionStore(Protocol):
    """Each call is one transaction and may be repeated."""

    def expire_rows(self, data: str, kept_days: int, max_rows: int) -> int:
        """Delete up to ``max_rows`` expired rows of a kind of data; how many, 0 where there are none left."""
        ...

    def drop_partitions(self, table: str, kept_days: int) -> list[str]:
        """Drop the months of ``table`` that are wholly expired; their names."""
        ...

    def expire_partitioned(self, table: str, kept_days: int, max_rows: int) -> int:
        """Delete expired rows of the month that is partly expired."""
        ...

    def ensure_partitions(self, months_behind: int, months_ahead: int) -> int:
        """Make missing monthly partitions around today; how many were made."""
        ...

    def oldest(self) -> dict[str, dt.datetime | None]:
        """The time of the oldest row of each kind of data, None where there is none."""
        ...


class RuleReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule did. ``is_complete`` False: the night's bound was reached, or it failed; more remains."""

    data: str
    kept_days: int
    deleted: int
    dropped_partitions: tuple[str, ...] = ()
    is_complete: bool = True
    error: str | None = None


class RetentionReport(msgspec.Struct, frozen=True, kw_only=True):
    """One night."""

    partitions_made: int
    rules: tuple[RuleReport, ...]

    @property
    def is_complete(self) -> bool:
        return all(rule.is_complete for rule in self.rules)

    @property
    def failures(self) -> list[str]:
        return [f"{rule.data}: {rule.error}" for rule in self.rules if rule.error is not None]


class AgeReport(msgspec.Struct, frozen=True, kw_only=True):
    """How old the oldest of a kind of data is, against how long it is kept."""

    data: str
    title: str
    kept_days: int
    counted_from: str
    oldest_days: int | None


def run(store: RetentionStore, policy: Policy) -> RetentionReport:
    """One night. A rule that fails is reported and does not keep the others from running."""
    made = store.ensure_partitions(policy.partitions.months_behind, policy.partitions.months_ahead)
    reports = []
    for partitioned in policy.partitioned:
        table, kept_days = partitioned.table, partitioned.kept_days
        reports.append(_apply_partitioned(store, policy, table, kept_days))
    for rule in policy.rows:
        reports.append(_apply_rows(store, policy, rule.data, rule.kept_days))
    return RetentionReport(partitions_made=made, rules=tuple(reports))


def ages(store: RetentionStore, policy: Policy, now: dt.datetime) -> list[AgeReport]:
    """The age of the oldest row of each kind, in the policy's order."""
    oldest = store.oldest()
    rules = [(rule.table, rule) for rule in policy.partitioned] + [(rule.data, rule) for rule in policy.rows]
    reports = []
    for data, rule in rules:
        moment = oldest.get(data)
        reports.append(
            AgeReport(
                data=data,
                title=rule.title,
                kept_days=rule.kept_days,
                counted_from=rule.counted_from,
                oldest_days=None if moment is None else (now - moment).days,
            )
        )
    return reports


def _apply_partitioned(store: RetentionStore, policy: Policy, table: str, kept_days: int) -> RuleReport:
    dropped: tuple[str, ...] = ()

    def expire(max_rows: int) -> int:
        return store.expire_partitioned(table, kept_days, max_rows)

    try:
        dropped = tuple(store.drop_partitions(table, kept_days))
    except Exception as error:
        return RuleReport(data=table, kept_days=kept_days, deleted=0, is_complete=False, error=_said(error))
    deleted, is_complete, error_text = _in_batches(policy, expire)
    return RuleReport(
        data=table,
        kept_days=kept_days,
        deleted=deleted,
        dropped_partitions=dropped,
        is_complete=is_complete,
        error=error_text,
    )


def _apply_rows(store: RetentionStore, policy: Policy, data: str, kept_days: int) -> RuleReport:
    def expire(max_rows: int) -> int:
        return store.expire_rows(data, kept_days, max_rows)

    deleted, is_complete, error = _in_batches(policy, expire)
    return RuleReport(data=data, kept_days=kept_days, deleted=deleted, is_complete=is_complete, error=error)


def _in_batches(policy: Policy, expire: Callable[[int], int]) -> tuple[int, bool, str | None]:
    deleted = 0
    for _ in range(policy.batches.count_max):
        try:
            batch = expire(policy.batches.rows)
        except Exception as error:
            return deleted, False, _said(error)
        deleted += batch
        if batch == 0:
            return deleted, True, None
    return deleted, False, None


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip()
