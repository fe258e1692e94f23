"""One night of retention on Postgres: partitions made ahead and dropped, expired rows deleted in bounded batches.

Belongs here: the order, the bounds and the report. Does not belong here: periods (``policy.toml``), SQL (the adapter),
objects (their lifecycle rules do the work, ``lifecycle``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from pipelines.retention.policy import Policy

REHEARSED_BATCHES = 10  # a dry run counts so far; the night may do more


class Month(Protocol):
    """One monthly partition: its rows (exact of a dropped one, else an estimate) and bytes."""

    @property
    def name(self) -> str: ...

    @property
    def rows(self) -> int: ...

    @property
    def bytes(self) -> int: ...


class Size(Protocol):
    """The tables of a kind of data: estimated rows, bytes with indexes."""

    @property
    def rows(self) -> int: ...

    @property
    def bytes(self) -> int: ...


class RetentionStore(Protocol):
    """Each call is one transaction and may be repeated."""

    def expire_rows(self, data: str, kept_days: int, max_rows: int) -> int:
        """Delete up to ``max_rows`` expired rows of a kind of data; how many, 0 where there are none left."""
        ...

    def drop_partitions(self, table: str, kept_days: int) -> Sequence[Month]:
        """Detach the months of ``table`` that are wholly expired, then drop them; never one with a younger row."""
        ...

    def due_partitions(self, table: str, kept_days: int) -> Sequence[Month]:
        """The months that ``drop_partitions`` would drop."""
        ...

    def sizes(self) -> Mapping[str, Size]:
        """How large each kind of data is; partitioned ones by table."""
        ...

    def undone(self) -> AbstractContextManager[None]:
        """What is done within is taken back at the end."""
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
    """What one rule did. ``is_complete`` False: the night's bound was reached, or it failed; more remains.

    ``dropped_rows`` and ``dropped_bytes`` are of whole months; ``deleted_bytes`` is about what the deleted rows took
    (their number by the mean size of a row), None where Postgres has no statistics yet.
    """

    data: str
    kept_days: int
    deleted: int
    dropped_partitions: tuple[str, ...] = ()
    dropped_rows: int = 0
    dropped_bytes: int = 0
    deleted_bytes: int | None = None
    is_complete: bool = True
    error: str | None = None


class RetentionReport(msgspec.Struct, frozen=True, kw_only=True):
    """One night, or its dry run."""

    is_rehearsal: bool = False
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
    sizes = store.sizes()
    made = store.ensure_partitions(policy.partitions.months_behind, policy.partitions.months_ahead)
    reports = [_apply_partitioned(store, policy, rule.table, rule.kept_days) for rule in policy.partitioned]
    reports += [_apply_rows(store, policy, rule.data, rule.kept_days) for rule in policy.rows]
    return RetentionReport(partitions_made=made, rules=tuple(_with_bytes(report, sizes) for report in reports))


def rehearse(store: RetentionStore, policy: Policy) -> RetentionReport:
    """What the night would do, found by doing it and taking it back: the same statements, each rule by itself.

    A rule is counted up to ``REHEARSED_BATCHES`` batches (``is_complete`` False: or more). Whole months are only
    listed: detaching one, even to take it back, would keep everybody out of the table. Rows that are left of a month
    are not counted while whole months are due, because those would be counted with them.
    """
    sizes = store.sizes()
    count_max = min(policy.batches.count_max, REHEARSED_BATCHES)
    few = msgspec.structs.replace(policy, batches=msgspec.structs.replace(policy.batches, count_max=count_max))
    reports = []
    for partitioned in few.partitioned:
        table, kept_days = partitioned.table, partitioned.kept_days
        due = store.due_partitions(table, kept_days)
        if due:
            report = RuleReport(data=table, kept_days=kept_days, deleted=0, is_complete=False)
        else:
            with store.undone():
                report = _apply_rows_of_months(store, few, table, kept_days)
        reports.append(_with_months(report, due))
    for rule in few.rows:
        with store.undone():
            reports.append(_apply_rows(store, few, rule.data, rule.kept_days))
    rules = tuple(_with_bytes(report, sizes) for report in reports)
    return RetentionReport(is_rehearsal=True, partitions_made=0, rules=rules)


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
    try:
        dropped = store.drop_partitions(table, kept_days)
    except Exception as error:
        return RuleReport(data=table, kept_days=kept_days, deleted=0, is_complete=False, error=_said(error))
    return _with_months(_apply_rows_of_months(store, policy, table, kept_days), dropped)


def _apply_rows_of_months(store: RetentionStore, policy: Policy, table: str, kept_days: int) -> RuleReport:
    def expire(max_rows: int) -> int:
        return store.expire_partitioned(table, kept_days, max_rows)

    deleted, is_complete, error = _in_batches(policy, expire)
    return RuleReport(data=table, kept_days=kept_days, deleted=deleted, is_complete=is_complete, error=error)


def _with_months(report: RuleReport, months: Sequence[Month]) -> RuleReport:
    return msgspec.structs.replace(
        report,
        dropped_partitions=tuple(month.name for month in months),
        dropped_rows=sum(month.rows for month in months),
        dropped_bytes=sum(month.bytes for month in months),
    )


def _with_bytes(report: RuleReport, sizes: Mapping[str, Size]) -> RuleReport:
    size = sizes.get(report.data)
    if report.deleted == 0:
        return msgspec.structs.replace(report, deleted_bytes=0)
    if size is None or size.rows == 0:
        return report
    return msgspec.structs.replace(report, deleted_bytes=round(report.deleted * size.bytes / size.rows))


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
