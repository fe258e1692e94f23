"""The retention policy, typed: what ``policy.toml`` says and nothing else. Pure but for reading that one file."""

from __future__ import annotations

import functools
import tomllib
from importlib import resources
from itertools import pairwise
from typing import Annotated, Literal

import msgspec

Days = Annotated[int, msgspec.Meta(ge=1)]
StorageClass = Literal["STANDARD_IA", "GLACIER_IR"]

# Standard-IA bills at least 30 days, and S3 refuses a second transition sooner than that after it.
TRANSITION_SPACING_DAYS = 30


class RowRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows of Postgres that are deleted in batches. ``tables`` in the order of deletion: children first."""

    data: str
    title: str
    tables: tuple[str, ...]
    kept_days: Days
    counted_from: str = msgspec.field(name="from")


class PartitionRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table partitioned by month."""

    table: str
    title: str
    kept_days: Days
    counted_from: str = msgspec.field(name="from")


class Transition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of storage class ``after_days`` from an object's creation."""

    after_days: Annotated[int, msgspec.Meta(ge=TRANSITION_SPACING_DAYS)]
    storage_class: StorageClass


class ObjectRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Objects with the tag ``retention=<tag>``, from their creation."""

    tag: str
    title: str
    kept_days: Days
    transitions: tuple[Transition, ...]


class PartitionWindow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Months for which partitions exist, around today."""

    months_ahead: Annotated[int, msgspec.Meta(ge=1, le=24)]
    months_behind: Annotated[int, msgspec.Meta(ge=0, le=24)]


class BucketRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for every object of the bucket."""

    noncurrent_kept_days: Days
    incomplete_upload_kept_days: Days


class Batches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bound of one night."""

    rows: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    count_max: Annotated[int, msgspec.Meta(ge=1)]


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole policy. Raises ``ValueError`` where rules contradict each other."""

    version: Literal[1]
    rows: tuple[RowRule, ...]
    partitioned: tuple[PartitionRule, ...]
    partitions: PartitionWindow
    objects: tuple[ObjectRule, ...]
    bucket: BucketRule
    batches: Batches

    def __post_init__(self) -> None:
        for names in (
            [rule.data for rule in self.rows],
            [rule.table for rule in self.partitioned],
            [rule.tag for rule in self.objects],
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"a rule is there twice: {', '.join(names)}")
        for objects in self.objects:
            days = [transition.after_days for transition in objects.transitions]
            steps = [*days, objects.kept_days]
            if any(later - earlier < TRANSITION_SPACING_DAYS for earlier, later in pairwise(steps)):
                raise ValueError(
                    f"objects {objects.tag}: less than {TRANSITION_SPACING_DAYS} days between steps {days}"
                )
        for partitioned in self.partitioned:
            if partitioned.kept_days < 31 * self.partitions.months_behind:
                raise ValueError(f"{partitioned.table}: partitions are made for months that are already dropped")

    def row_rule(self, data: str) -> RowRule:
        """Raises ``LookupError``."""
        for rule in self.rows:
            if rule.data == data:
                return rule
        raise LookupError(f"the policy has no rows {data!r}")


def parse(text: str) -> Policy:
    """Raises ``msgspec.ValidationError``, ``tomllib.TOMLDecodeError``."""
    return msgspec.convert(tomllib.loads(text), Policy)


@functools.cache
def load() -> Policy:
    """The policy of this version of the product."""
    return parse(resources.files(__package__).joinpath("policy.toml").read_text(encoding="utf-8"))
