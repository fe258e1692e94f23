"""The certificate: what was erased, where, how much and when; what was retained and why; when back-ups expire. Pure.

Its hash is SHA-256 over its canonical JSON (keys sorted, no spaces) without the hash itself; the audit log's row of the
issue holds the same hash.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from pipelines.erasure import places

VERSION = 3


class Disk(Protocol):
    """A node's word, or an operator's for a destroyed one."""

    @property
    def node_id(self) -> str: ...
    @property
    def sessions(self) -> int: ...
    @property
    def clean_at(self) -> dt.datetime | None: ...
    @property
    def destroyed_at(self) -> dt.datetime | None: ...


class HandedOut(Protocol):
    """An archive that the eraser did not find, or could not remove."""

    @property
    def file_name(self) -> str | None: ...
    @property
    def made_at(self) -> dt.datetime: ...


class Checked(NamedTuple):
    """One place that was looked at after the erasure, and what of the erased set is there."""

    place: str
    remaining: int


def issue(
    *,
    erasure_id: UUID,
    organisation_id: int,
    requested_by: str,
    requested_at: dt.datetime,
    steps: dict[str, dict[str, Any]],
    disks: Sequence[Disk],
    checked: Sequence[Checked],
    handed_out: Sequence[HandedOut],
    backups_kept: dt.timedelta,
    idempotency_kept: dt.timedelta,
    now: dt.datetime,
) -> dict[str, Any]:
    """Raises ``ValueError`` where something remains: nothing is certified then."""
    kept = places.load()
    left = [each for each in checked if each.remaining]
    if left or not checked:
        raise ValueError("not erased: " + ", ".join(f"{each.place}: {each.remaining}" for each in left))
    counts = {name: step["counts"] for name, step in steps.items()}
    objects = counts["objects_removed"]
    erased = [
        {"what": "replay blobs and media events, all versions, and unfinished uploads", "where": "object store",
         "count": objects["versions"], "bytes": objects["bytes"], "at": steps["objects_removed"]["at"]},
        *({"what": "rows", "where": place, "count": count, "at": steps["rows_dropped"]["at"]}
          for place, count in sorted(counts["rows_dropped"].items())),
        {"what": "name, contact data and principal id", "where": "core.patients",
         "count": counts["depersonalised"]["identity_columns"], "at": steps["depersonalised"]["at"]},
        {"what": "archives made for export", "where": "as registered in core.exports",
         "count": counts["exports_removed"]["exports"], "at": steps["exports_removed"]["at"]},
        *({"what": "log and spool", "where": f"node {disk.node_id}", "count": disk.sessions,
           "at": _text(disk.clean_at or disk.destroyed_at),
           "how": "the node found nothing" if disk.destroyed_at is None else "an operator said the disk is destroyed"}
          for disk in disks),
    ]  # fmt: skip
    retained = [
        {
            "what": each.title,
            "where": each.table,
            "columns": list(each.columns),
            "count": counts["depersonalised"].get(f"retained.{each.table}", 0),
            "under": "a random patient number",
            "why": kept.why(each),
        }
        for each in kept.retained
    ]
    document: dict[str, Any] = {
        "certificate": VERSION,
        "erasure_id": str(erasure_id),
        "organisation_id": organisation_id,
        "requested_by": requested_by,
        "requested_at": _text(requested_at),
        "issued_at": _text(now),
        "erased": erased,
        "verified": [{"where": each.place, "remaining": 0} for each in checked]
        + [
            {
                "where": f"{counts['depersonalised']['columns_walked']} columns of Postgres, for the principal id",
                "remaining": 0,
            }
        ],
        "retained": retained,
        "handed_out": [
            {
                "what": "archive made for export: not found by the eraser, or not removable by it; handed out",
                "file_name": each.file_name,
                "made_at": _text(each.made_at),
            }
            for each in handed_out
        ],
        "expires_by_itself": [
            {
                "what": "back-ups made before this",
                "at_the_latest": _text(now + backups_kept),
                "until_then": "a restore replays this erasure from the erasure ledger",
            },
            {"what": "answers kept for requests of staff, sealed", "at_the_latest": _text(now + idempotency_kept)},
        ],
    }
    return {**document, "sha256": digest(document)}


def digest(document: dict[str, Any]) -> str:
    """The hash of a certificate, with or without its own hash in it."""
    bare = {name: value for name, value in document.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(bare, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _text(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(dt.UTC).isoformat()
