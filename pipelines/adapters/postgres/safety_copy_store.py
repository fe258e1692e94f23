"""Safety copies in Postgres, for the role ``restartix_finaliser``. See ``pipelines.ports.safety_copy_store``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg_pool import ConnectionPool

from pipelines.adapters.postgres import sql
from pipelines.adapters.postgres.tenancy import Connection, transaction
from pipelines.ports.blob_store import UploadedPart
from pipelines.ports.safety_copy_store import CopiedMember, CopiedPart, SafetyCopy, SettledCopy


class PostgresSafetyCopyStore:
    """``pipelines.ports.safety_copy_store.SafetyCopyStore``; each call is a transaction."""

    def __init__(self, pool: ConnectionPool[Connection]) -> None:
        self._pool = pool
        self._sql = sql.load(__package__, "safety_copy_store.sql")

    def load(self, organisation_id: int, session_id: UUID) -> SafetyCopy | None:
        with transaction(self._pool, organisation_id) as connection:
            row = connection.execute(self._sql["load"], {"session_id": session_id}).fetchone()
            if row is None:
                return None
            parts = connection.execute(self._sql["parts"], {"session_id": session_id})
            return SafetyCopy(
                session_id=row[0],
                organisation_id=row[1],
                key=row[2],
                upload_id=row[3],
                parts=[_part(*columns) for columns in parts],
            )

    def begin(self, organisation_id: int, session_id: UUID, node_id: str, key: str, upload_id: str) -> bool:
        values = {
            "session_id": session_id,
            "organisation_id": organisation_id,
            "node_id": node_id,
            "key": key,
            "upload_id": upload_id,
        }
        with transaction(self._pool, organisation_id) as connection:
            return connection.execute(self._sql["begin"], values).rowcount == 1

    def add(self, copy: SafetyCopy, added: CopiedPart) -> bool:
        values = {
            "session_id": copy.session_id,
            "upload_id": copy.upload_id,
            "part_number": added.part.number,
            "etag": added.part.etag,
            "sha256": added.part.sha256,
            "size_bytes": added.part.size_bytes,
            "member_hashes": [member.payload_hash for member in added.members],
            "member_received_at": [member.received_at for member in added.members],
            "member_bytes": [member.size_bytes for member in added.members],
        }
        with transaction(self._pool, copy.organisation_id) as connection:
            return connection.execute(self._sql["add"], values).rowcount == 1

    def forget(self, copy: SafetyCopy) -> None:
        with transaction(self._pool, copy.organisation_id) as connection:
            connection.execute(self._sql["forget"], {"session_id": copy.session_id, "upload_id": copy.upload_id})

    def settled(self, node_id: str, lost_s: int, max_copies: int) -> list[SettledCopy]:
        values = {"node_id": node_id, "lost_s": lost_s, "max_copies": max_copies}
        with transaction(self._pool) as connection:
            return [SettledCopy(*row) for row in connection.execute(self._sql["settled"], values)]


def _part(number: int, etag: str, sha256: bytes, size_bytes: int, *members: Any) -> CopiedPart:  # noqa: ANN401 - arrays
    return CopiedPart(
        UploadedPart(number, etag, bytes(sha256), size_bytes),
        tuple(CopiedMember(bytes(digest), at, size) for digest, at, size in zip(*members, strict=True)),
    )
