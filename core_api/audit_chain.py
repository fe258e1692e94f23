"""Verifying an organisation's audit chain: that no row was changed, left out, slipped in or taken away since it was
written, and, against an anchor kept elsewhere, that the whole end was not rewritten.

Here: recomputing every digest and link in this process, from the rows alone; nothing the database says of a link is
believed. Not here: making links (the database does, as the last thing before COMMIT; ``infra/migrations/0110``).

    digest = SHA-256 of the row's fields, each ``<bytes>:<UTF-8>`` or ``-`` for NULL, the actor by its commitment
    commitment = SHA-256(salt | actor)            link = SHA-256(link before | sequence, 8 bytes | digest)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from core_api.database import Row, Tx, every, one

PAGE = 2000

Fault = Literal[
    "link_missing",  # a sequence number is left out
    "link_broken",  # the link does not follow from the link before and the digest
    "row_altered",  # the row reads otherwise than it was written
    "actor_altered",  # the actor is not the one who was committed to
    "row_missing",  # the row was deleted before retention may
    "row_unchained",  # a row that was slipped in beside the chain
    "head_differs",  # the chain does not end where its head says: the end was cut off
    "anchor_differs",  # the chain is not the one that an anchor was taken of
]


class Broken(msgspec.Struct, frozen=True):
    """The first thing that is wrong. ``sequence``: of the link; None for a row without one."""

    fault: Fault
    sequence: int | None
    audit_id: int | None


class Anchor(msgspec.Struct, frozen=True):
    """The end of a chain at a moment, as hex: kept outside, it shows later that nothing up to it was rewritten."""

    organisation_id: int
    sequence: int
    link: str


class Verdict(msgspec.Struct, frozen=True):
    """``expired``: links whose rows retention has deleted; ``erased_actors``: rows whose actor was erased."""

    organisation_id: int
    links: int
    expired: int
    erased_actors: int
    head: Anchor
    broken: Broken | None


def genesis(organisation_id: int) -> bytes:
    """What the first link follows."""
    return hashlib.sha256(f"restartix audit {organisation_id}".encode()).digest()


def following(link: bytes, sequence: int, digest: bytes) -> bytes:
    """The link after ``link``."""
    return hashlib.sha256(link + sequence.to_bytes(8, "big", signed=True) + digest).digest()


def digest_of(row: Row) -> bytes:
    """The digest of a row of ``audit_links.sql``."""
    at: datetime = row["occurred_at"]
    values = (
        row["id"],
        row["organisation_id"],
        at.strftime("%Y-%m-%dT%H:%M:%S.%f"),
        bytes(row["actor_commitment"]).hex(),
        row["actor_role"],
        row["action"],
        row["entity"],
        row["entity_id"],
        row["session_id"],
        row["purpose"],
        row["details"],
        *(None if row[name] is None else bytes(row[name]).hex() for name in ("state_before", "state_after")),
    )
    return hashlib.sha256("".join(map(_field, values)).encode()).digest()


def _field(value: object) -> str:
    if value is None:
        return "-"
    text = str(value)
    return f"{len(text.encode())}:{text}"


def _untold(_: int) -> None:
    """Nobody watches."""


def verify(
    tx: Tx,
    organisation_id: int,
    kept: timedelta,
    now: datetime,
    *,
    anchors: Mapping[int, str] | None = None,
    progress: Callable[[int], None] = _untold,
) -> Verdict:
    """Walk the chain of the transaction's organisation from its first link. ``kept``: how long a row is kept at least;
    ``anchors``: sequence -> link (hex) as they were; ``progress`` is told how many links each page had.

    To be called in one repeatable-read transaction, so that rows and head are of one moment.
    """
    anchored = dict(anchors or {})
    walk = _Walk(organisation_id, now - kept)
    for row in _links(tx):
        fault = walk.check(row)
        if fault is None and (anchored.pop(row["sequence"], None) or walk.link.hex()) != walk.link.hex():
            fault = "anchor_differs"
        if fault is not None:
            return walk.verdict(Broken(fault, int(row["sequence"]), int(row["audit_id"])))
        if row["sequence"] % PAGE == 0:
            progress(PAGE)
    progress(walk.sequence % PAGE)
    return walk.verdict(_after_the_last_link(tx, walk, anchored))


def _after_the_last_link(tx: Tx, walk: _Walk, anchored: Mapping[int, str]) -> Broken | None:
    head = one(tx, "audit_head", {})
    if head is None:
        is_end = walk.sequence == 0
    else:
        is_end = (head["sequence"], bytes(head["link"])) == (walk.sequence, walk.link)
    if not is_end:
        return Broken("head_differs", walk.sequence, None)
    if anchored:
        return Broken("anchor_differs", min(anchored), None)
    stray = one(tx, "audit_unchained", {})
    return None if stray is None else Broken("row_unchained", None, int(stray["id"]))


class _Walk:
    def __init__(self, organisation_id: int, expired_before: datetime) -> None:
        self.organisation_id = organisation_id
        self.sequence = 0
        self.link = genesis(organisation_id)
        self.expired = self.erased_actors = 0
        self._expired_before = expired_before

    def check(self, row: Row) -> Fault | None:
        """What is wrong with the next link, if anything."""
        digest = bytes(row["row_digest"])
        if row["sequence"] != self.sequence + 1:
            return "link_missing"
        self.sequence += 1
        self.link = following(self.link, self.sequence, digest)
        if bytes(row["link"]) != self.link:
            return "link_broken"
        if row["id"] is None:
            self.expired += 1
            return "row_missing" if row["chained_at"] >= self._expired_before else None
        if digest_of(row) != digest:
            return "row_altered"
        if row["actor_salt"] is None:
            self.erased_actors += 1
            return None
        actor = str(row["actor_principal_id"] or "-").encode()
        commitment = hashlib.sha256(bytes(row["actor_salt"]) + actor).digest()
        return None if commitment == bytes(row["actor_commitment"]) else "actor_altered"

    def verdict(self, broken: Broken | None) -> Verdict:
        head = Anchor(self.organisation_id, self.sequence, self.link.hex())
        return Verdict(self.organisation_id, self.sequence, self.expired, self.erased_actors, head, broken)


def _links(tx: Tx) -> Iterator[Row]:
    after = 0
    while page := every(tx, "audit_links", {"after": after, "limit": PAGE}):
        yield from page
        after = page[-1]["sequence"]
