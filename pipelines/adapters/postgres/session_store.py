"""The finaliser's sessions in Postgres, for the role ``restartix_finaliser``. See ``pipelines.ports.session_store``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from uuid import UUID

import msgspec
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from pipelines.adapters.postgres import sql
from pipelines.adapters.postgres.tenancy import Connection, transaction
from pipelines.ports.bus import Publisher
from pipelines.ports.session_store import (
    Announcement,
    ConsentRow,
    CountsRow,
    LoadedSession,
    MemberRow,
    NodeSession,
    ObjectRow,
    Outcome,
    PendingSession,
    SessionRow,
    StaleRevisionError,
)

INCOMPLETE_REASONS = frozenset({"timeout", "node_lost", "consent_withdrawn"})
_UNCOUNTED = 2_147_483_647  # attempts_max of an attempt that does not count: never reached


class PostgresSessionStore:
    """``pipelines.ports.session_store.SessionStore``; ``publisher`` puts the announcement into the same transaction."""

    def __init__(self, pool: ConnectionPool[Connection], publisher: Publisher[Connection]) -> None:
        self._pool = pool
        self._publisher = publisher
        self._sql = sql.load(__package__, "session_store.sql")

    def pending(self, node_id: str, max_sessions: int) -> list[PendingSession]:
        with self._transaction() as connection:
            rows = connection.execute(self._sql["pending"], {"node_id": node_id, "max_sessions": max_sessions})
            return [PendingSession(*row) for row in rows]

    def claim_lost(self, node_id: str, lost_s: int, lease_s: int, max_sessions: int) -> list[PendingSession]:
        values = {"node_id": node_id, "lost_s": lost_s, "lease_s": lease_s, "max_sessions": max_sessions}
        with self._transaction() as connection:
            rows = connection.execute(self._sql["claim_lost"], values)
            return [PendingSession(*row) for row in rows]

    def states(self, node_id: str, session_ids: Sequence[UUID]) -> list[NodeSession]:
        with self._transaction() as connection:
            rows = connection.execute(self._sql["states"], {"node_id": node_id, "session_ids": list(session_ids)})
            return [NodeSession(*row) for row in rows]

    def load(self, organisation_id: int, session_id: UUID) -> LoadedSession:
        with self._transaction(organisation_id) as connection:
            return self._load(connection, session_id)

    def end(self, organisation_id: int, session_id: UUID, reason: str, ended_at: dt.datetime) -> None:
        values = {
            "session_id": session_id,
            "reason": reason,
            "ended_at": ended_at,
            "incomplete": reason in INCOMPLETE_REASONS,
        }
        with self._transaction(organisation_id) as connection:
            connection.execute(self._sql["end"], values)

    def publish(
        self,
        session: SessionRow,
        outcome: Outcome,
        members: Sequence[MemberRow],
        announcement: Announcement,
        confirm: Callable[[LoadedSession], None],
    ) -> None:
        with self._transaction(session.organisation_id) as connection:
            connection.execute(self._sql["lock"], {"session_id": session.session_id})
            current = self._load(connection, session.session_id)
            if current.row.revision != session.revision or current.row.state in {"open", "erased"}:
                raise StaleRevisionError(
                    f"{session.session_id} is {current.row.state} at revision {current.row.revision},"
                    f" not at {session.revision}"
                )
            confirm(current)
            self._write(connection, session, outcome, members)
            topic, key, payload = announcement
            announced = self._publisher.publish(
                connection, topic=topic, key=key, organisation_id=session.organisation_id, payload=payload
            )
            if not announced:
                raise StaleRevisionError(f"{key} was already announced")

    def record_failure(self, organisation_id: int, session_id: UUID, failure: str, attempts_max: int | None) -> int:
        values = {
            "session_id": session_id,
            "failure": failure.replace("\x00", ""),  # Postgres text cannot hold it
            "counted": attempts_max is not None,
            "attempts_max": _UNCOUNTED if attempts_max is None else attempts_max,
        }
        with self._transaction(organisation_id) as connection:
            row = connection.execute(self._sql["record_failure"], values).fetchone()
        return 0 if row is None else int(row[0])

    def retry(self, organisation_id: int, session_id: UUID) -> bool:
        with self._transaction(organisation_id) as connection:
            return connection.execute(self._sql["retry"], {"session_id": session_id}).fetchone() is not None

    def _write(
        self, connection: Connection, session: SessionRow, outcome: Outcome, members: Sequence[MemberRow]
    ) -> None:
        blob = outcome.blob or (None,) * len(ObjectRow._fields)
        events = outcome.events or (None,) * len(ObjectRow._fields)
        counts = outcome.counts or (None,) * len(CountsRow._fields)
        values: dict[str, object] = {
            "session_id": session.session_id,
            "ended_at": outcome.ended_at,
            "end_reason": outcome.end_reason,
            "incomplete": outcome.incomplete,
            "algorithm_version": outcome.algorithm_version,
            "finalised_at": outcome.finalised_at,
            "consumed_offsets": Jsonb(outcome.consumed_offsets),
            "batches_in_blob": outcome.batches_in_blob,
            "events_in_object": outcome.events_in_object,
            **dict(zip(("blob_key", "blob_version_id", "blob_etag", "blob_bytes"), blob, strict=True)),
            **dict(zip(("events_key", "events_version_id", "events_etag"), events[:3], strict=True)),
            **dict(zip(CountsRow._fields, counts, strict=True)),
        }
        connection.execute(self._sql["finalise"], values)
        connection.execute(self._sql["forget_members"], {"session_id": session.session_id})
        if members:
            columns = zip(MemberRow._fields, map(list, zip(*members, strict=True)), strict=True)
            connection.execute(
                self._sql["insert_members"],
                {
                    "session_id": session.session_id,
                    "revision": session.revision + 1,
                    "organisation_id": session.organisation_id,
                    **dict(columns),
                },
            )

    def _load(self, connection: Connection, session_id: UUID) -> LoadedSession:
        with connection.cursor(row_factory=dict_row) as cursor:
            columns = cursor.execute(self._sql["load"], {"session_id": session_id}).fetchone()
        if columns is None:
            raise LookupError(f"no session {session_id}")
        row = msgspec.convert(columns, SessionRow)
        ledger = connection.execute(self._sql["ledger"], {"patient_id": row.patient_id})
        return LoadedSession(row, [ConsentRow(*entry) for entry in ledger])

    def _transaction(self, organisation_id: int | None = None) -> AbstractContextManager[Connection]:
        return transaction(self._pool, organisation_id)
