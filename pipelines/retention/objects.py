"""The objects a bucket really holds against what the policy promises of them, and against the sessions they belong to.

S3 executes the lifecycle rules by itself, within about a day; nothing tells when it does not. So each night the
listing is read once: every object is looked up among the sessions, its age is held against the rule of its tag, and
what should have expired, changed class or been there is counted.

Belongs here: the judgement of one listing. Does not belong here: the rules (``policy``), the listing (the adapter).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from pipelines.erasure.ledger import PREFIX as LEDGER_PREFIX
from pipelines.erasure.ledger import RETENTION as LEDGER_RETENTION
from pipelines.replay.keys import MEDIA_RETENTION, RETENTION_TAG
from pipelines.retention.policy import ObjectRule, Policy

STANDARD = "STANDARD"
SMALLEST_MOVED_BYTES = 128 * 1024  # smaller objects never change class (``lifecycle.MINIMUM_OBJECT_SIZE``)
GRACE = dt.timedelta(days=3)  # the rules run once a day, at midnight UTC, and take their time
FRESH = dt.timedelta(hours=1)  # an object this young may belong to a session that is being published right now
EXAMPLES_MAX = 10


class ListedObject(Protocol):
    """One object's present version."""

    @property
    def key(self) -> str: ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def storage_class(self) -> str: ...

    @property
    def modified_at(self) -> dt.datetime: ...


class SealedSession(Protocol):
    """What a session says it has in the store. ``blob_bytes`` None: not known."""

    @property
    def session_id(self) -> UUID: ...

    @property
    def blob_key(self) -> str | None: ...

    @property
    def blob_bytes(self) -> int | None: ...

    @property
    def events_key(self) -> str | None: ...

    @property
    def retention(self) -> str: ...

    @property
    def finalised_at(self) -> dt.datetime | None: ...


class ObjectStore(Protocol):
    """The listing."""

    def prefixes(self) -> list[str]: ...

    def objects(self, prefix: str) -> Iterable[ListedObject]: ...

    def tags(self, key: str) -> dict[str, str] | None: ...


class SessionLedger(Protocol):
    """The sessions, of all organisations: ids, keys and times."""

    def organisations(self) -> list[int]: ...

    def sealed_objects(
        self, organisation_id: int, after: UUID | None, max_sessions: int
    ) -> Sequence[SealedSession]: ...


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """Objects of one tag, storage class and age."""

    tag: str  # of the rule that holds for them; ``unknown`` where they belong to no session
    storage_class: str
    age: str
    objects: int
    bytes: int


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of disagreement: how many, and some of the keys (for the log; they hold ids)."""

    objects: int = 0
    keys: tuple[str, ...] = ()


class ObjectsReport(msgspec.Struct, frozen=True, kw_only=True):
    """One listing, judged."""

    sessions: int
    objects: int
    bytes: int
    tags_read: int
    holdings: tuple[Holding, ...]
    missing: Finding  # a session says it is there
    stray: Finding  # no session knows it
    wrong_size: Finding  # not the bytes that were sealed
    wrong_tag: Finding  # another retention than its session's, among those whose tags were read
    overdue: Finding  # past its expiry, and there
    wrong_class: Finding  # not in the class its age and tag promise

    @property
    def disagreements(self) -> list[str]:
        """One phrase a kind of finding that is there: counts, no keys."""
        names = ("missing", "stray", "wrong_size", "wrong_tag", "overdue", "wrong_class")
        found = {name: getattr(self, name).objects for name in names}
        return [f"{name.replace('_', ' ')}: {count}" for name, count in found.items() if count]


def expected_class(rule: ObjectRule, size_bytes: int, age: dt.timedelta) -> str | None:
    """The storage class an object of this rule is in at ``age``, None once it has expired: what S3 makes of the
    lifecycle document.
    """
    if age >= dt.timedelta(days=rule.kept_days):
        return None
    if size_bytes < SMALLEST_MOVED_BYTES:
        return STANDARD
    passed = [step.storage_class for step in rule.transitions if age >= dt.timedelta(days=step.after_days)]
    return passed[-1] if passed else STANDARD


def allowed_classes(rule: ObjectRule, size_bytes: int, age: dt.timedelta) -> set[str]:
    """The classes that are right at ``age``, given that S3 may be late by ``GRACE``."""
    moments = (age, age - GRACE)
    return {found for moment in moments if (found := expected_class(rule, size_bytes, moment)) is not None}


class _Audit:
    """Counts while the listing passes by."""

    def __init__(self, policy: Policy, now: dt.datetime, *, has_classes: bool) -> None:
        self._rules = {rule.tag: rule for rule in policy.objects}
        self._now = now
        self._has_classes = has_classes
        self._objects: Counter[tuple[str, str, str]] = Counter()
        self._bytes: Counter[tuple[str, str, str]] = Counter()
        self._counts: Counter[str] = Counter()
        self._keys: dict[str, list[str]] = {}
        self.sessions = 0
        self.tags_read = 0

    def found(self, name: str, key: str) -> None:
        self._counts[name] += 1
        keys = self._keys.setdefault(name, [])
        if len(keys) < EXAMPLES_MAX:
            keys.append(key)

    def take(self, listed: ListedObject, tag: str) -> None:
        age = self._now - listed.modified_at
        place = (tag, listed.storage_class, _band(age))
        self._objects[place] += 1
        self._bytes[place] += listed.size_bytes
        rule = self._rules.get(tag)
        if rule is None:
            return
        if age >= dt.timedelta(days=rule.kept_days) + GRACE:
            self.found("overdue", listed.key)
        elif self._has_classes and listed.storage_class not in allowed_classes(rule, listed.size_bytes, age):
            self.found("wrong_class", listed.key)

    def may_have_expired(self, retention: str, finalised_at: dt.datetime | None) -> bool:
        """Whether the store was right to delete it already: rows learn of it a night later."""
        rule = self._rules.get(retention)
        return rule is not None and (
            finalised_at is None or self._now - finalised_at >= dt.timedelta(days=rule.kept_days)
        )

    def is_settled(self, moment: dt.datetime | None) -> bool:
        return moment is not None and self._now - moment >= FRESH

    def report(self) -> ObjectsReport:
        holdings = tuple(
            Holding(tag=tag, storage_class=kind, age=age, objects=count, bytes=self._bytes[(tag, kind, age)])
            for (tag, kind, age), count in sorted(self._objects.items())
        )
        findings = {
            name: Finding(objects=self._counts[name], keys=tuple(self._keys.get(name, ())))
            for name in ("missing", "stray", "wrong_size", "wrong_tag", "overdue", "wrong_class")
        }
        return ObjectsReport(
            sessions=self.sessions,
            objects=sum(self._objects.values()),
            bytes=sum(self._bytes.values()),
            tags_read=self.tags_read,
            holdings=holdings,
            **findings,
        )


def audit(
    store: ObjectStore,
    ledger: SessionLedger,
    policy: Policy,
    now: dt.datetime,
    *,
    has_classes: bool,
    tags_max: int = 500,
    page: int = 5000,
) -> ObjectsReport:
    """Read the whole listing once, beside the sessions in the same order; memory is bounded by a page of sessions.

    ``has_classes`` False: the store has one storage class and none is expected. The tags of up to ``tags_max`` objects
    are read, evenly the first of each organisation.
    """
    seen = _Audit(policy, now, has_classes=has_classes)
    organisations = ledger.organisations()
    share = max(tags_max // max(len(organisations), 1), 1)
    for organisation_id in organisations:
        expected = _expected(seen, ledger, organisation_id, page)
        _organisation(seen, store, f"{organisation_id}/", expected, min(share, tags_max - seen.tags_read))
    known = {f"{organisation_id}/" for organisation_id in organisations}
    for prefix in store.prefixes():
        if prefix == LEDGER_PREFIX:
            _ledger(seen, store, tags_max)
        elif prefix not in known:
            for listed in store.objects(prefix):
                seen.take(listed, "unknown")
                seen.found("stray", listed.key)
    return seen.report()


def _ledger(seen: _Audit, store: ObjectStore, tags_max: int) -> None:
    """The erasure ledger belongs to no session; its entries have a rule of their own, and the tag it goes by."""
    for number, listed in enumerate(store.objects(LEDGER_PREFIX)):
        seen.take(listed, LEDGER_RETENTION)
        if number < tags_max:
            seen.tags_read += 1
            tags = store.tags(listed.key)
            if tags is not None and tags.get(RETENTION_TAG) != LEDGER_RETENTION:
                seen.found("wrong_tag", listed.key)


_Expected = tuple[str, int | None, str, dt.datetime | None]  # key, bytes, retention, finalised at


def _organisation(seen: _Audit, store: ObjectStore, prefix: str, expected: Iterator[_Expected], tags_max: int) -> None:
    wanted = next(expected, None)
    read = 0
    for listed in store.objects(prefix):
        while wanted is not None and wanted[0] < listed.key:
            _missing(seen, wanted)
            wanted = next(expected, None)
        if wanted is None or wanted[0] != listed.key:
            seen.take(listed, "unknown")
            if seen.is_settled(listed.modified_at):
                seen.found("stray", listed.key)
            continue
        key, size_bytes, retention, _ = wanted
        seen.take(listed, retention)
        if size_bytes is not None and size_bytes != listed.size_bytes and seen.is_settled(listed.modified_at):
            seen.found("wrong_size", key)
        if read < tags_max:
            read += 1
            seen.tags_read += 1
            tags = store.tags(key)
            if tags is not None and tags.get(RETENTION_TAG) != retention:
                seen.found("wrong_tag", key)
        wanted = next(expected, None)
    while wanted is not None:
        _missing(seen, wanted)
        wanted = next(expected, None)


def _expected(seen: _Audit, ledger: SessionLedger, organisation_id: int, page: int) -> Iterator[_Expected]:
    after: UUID | None = None
    while True:
        sessions = ledger.sealed_objects(organisation_id, after, page)
        for session in sessions:
            seen.sessions += 1
            if session.blob_key is not None:
                yield session.blob_key, session.blob_bytes, session.retention, session.finalised_at
            if session.events_key is not None:
                yield session.events_key, None, MEDIA_RETENTION, session.finalised_at
        if len(sessions) < page:
            return
        after = sessions[-1].session_id


def _missing(seen: _Audit, wanted: _Expected) -> None:
    key, _, retention, finalised_at = wanted
    if seen.is_settled(finalised_at) and not seen.may_have_expired(retention, finalised_at):
        seen.found("missing", key)


def _band(age: dt.timedelta) -> str:
    for days, name in ((90, "to 90 days"), (184, "to 184 days"), (365, "to 1 year"), (731, "to 2 years")):
        if age < dt.timedelta(days=days):
            return name
    return "over 2 years"
