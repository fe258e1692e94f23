"""What is remembered of the safety copies of running sessions. What an adapter promises; no implementation.

* A copy is one upload in parts at the blob store. Where two are begun for a session, one is remembered.
* A part is remembered after the store has it, and only while its upload is the session's: forgetting an upload forgets
  its parts, and a part of a forgotten upload is refused.
* Reads and writes happen under the session's organisation; only ids cross tenants.
* Every method raises ``SessionStoreUnavailable`` where the store cannot be reached: nothing happened, or all of it.
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple, Protocol
from uuid import UUID

from pipelines.ports.blob_store import UploadedPart


class CopiedMember(NamedTuple):
    """One batch in a part: its payload's hash, its first receipt that counts, and the bytes of its gzip member."""

    payload_hash: bytes
    received_at: dt.datetime
    size_bytes: int


class CopiedPart(NamedTuple):
    """One part that reached the blob store, and what is in it, in its order."""

    part: UploadedPart
    members: tuple[CopiedMember, ...]


class SafetyCopy(NamedTuple):
    """A session's upload and its parts, by number."""

    session_id: UUID
    organisation_id: int
    key: str
    upload_id: str
    parts: list[CopiedPart]

    @property
    def size_bytes(self) -> int:
        return sum(one.part.size_bytes for one in self.parts)

    @property
    def members(self) -> list[CopiedMember]:
        return [member for one in self.parts for member in one.members]


class SettledCopy(NamedTuple):
    """A copy that nothing will complete any more."""

    session_id: UUID
    organisation_id: int


class SafetyCopyStore(Protocol):
    """Every method raises ``SessionStoreUnavailable``."""

    def load(self, organisation_id: int, session_id: UUID) -> SafetyCopy | None:
        """The session's copy, None where there is none."""
        ...

    def begin(self, organisation_id: int, session_id: UUID, node_id: str, key: str, upload_id: str) -> bool:
        """Remember an upload; False where the session has one already."""
        ...

    def add(self, copy: SafetyCopy, added: CopiedPart) -> bool:
        """Remember a part; False where ``copy`` is not the session's any more, or the number is taken."""
        ...

    def forget(self, copy: SafetyCopy) -> None:
        """Forget an upload and its parts. No error if it is not there."""
        ...

    def settled(self, node_id: str, lost_s: int, max_copies: int) -> list[SettledCopy]:
        """Copies of finalised or erased sessions, of this node or of one that is given up; the oldest first."""
        ...
