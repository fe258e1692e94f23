"""The erasure's statements, for the role ``restartix_sweeper``. See ``pipelines.erasure.run``.

Over connections in autocommit: each call is one transaction, with the audit row of what it did.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import sql as composed
from psycopg.rows import class_row, dict_row, scalar_row
from psycopg.types.json import Jsonb

from pipelines.adapters.postgres import sql


class State(NamedTuple):
    """One erasure. ``steps``: step -> ``{"at": ..., "counts": {...}}``."""

    organisation_id: int
    patient_id: int
    retained_patient_id: int
    principal_check: bytes
    requested_by: str
    requested_at: dt.datetime
    certificate: dict[str, Any] | None
    steps: dict[str, dict[str, Any]]


class SessionOf(NamedTuple):
    """One erased exercise session."""

    organisation_id: int
    session_id: UUID


class DiskRow(NamedTuple):
    """One node that was home to erased sessions. ``waiting``: sessions it owes a word about."""

    node_id: str
    sessions: int
    waiting: int
    clean_at: dt.datetime | None
    destroyed_at: dt.datetime | None


class ExportRow(NamedTuple):
    """One archive that was made of the patient's data."""

    export_id: UUID
    path: str | None
    made_at: dt.datetime


class HandedOutRow(NamedTuple):
    """One archive that an erasure did not find where it was made, or could not remove."""

    export_id: UUID
    file_name: str | None
    made_at: dt.datetime


class Due(NamedTuple):
    erasure_id: UUID
    certified: bool


class Remain(NamedTuple):
    """A place where the erased set was, and how much of it is still there."""

    place: str
    remaining: int


class BuiltRemain(NamedTuple):
    """The same of a built table; ``remaining`` None: not every row of it can be seen, so nobody knows."""

    place: str
    remaining: int | None


class PostgresErasureStore:
    """``pipelines.erasure.run.ErasureStore``. Raises psycopg's errors; a step out of its order is an
    ``ObjectNotInPrerequisiteState``.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._sql = sql.load(__package__, "erasure_store.sql")

    def request(
        self,
        erasure_id: UUID,
        organisation_id: int,
        patient_id: int,
        *,
        retained_patient_id: int,
        requested_by: str,
        principal_check: bytes | None,
    ) -> UUID | None:
        """The erasure of this patient, made now or before; None where there is no such patient (any more)."""
        found = self._scalar(
            "request",
            erasure_id=erasure_id,
            organisation_id=organisation_id,
            patient_id=patient_id,
            retained_patient_id=retained_patient_id,
            requested_by=requested_by,
            principal_check=principal_check,
        )
        return found if isinstance(found, UUID) else None

    def step(self, erasure_id: UUID, name: str, **values: object) -> dict[str, int]:
        """Do a step once; what it counted, then or now."""
        counts: dict[str, int] = self._scalar(name, erasure_id=erasure_id, **values)
        return counts

    def unfinished(self, erasure_id: UUID) -> int:
        return int(self._scalar("unfinished", erasure_id=erasure_id))

    def objects_due(self, erasure_id: UUID) -> list[SessionOf]:
        return self._rows(SessionOf, "objects_due", erasure_id=erasure_id)

    def sessions(self, erasure_id: UUID) -> list[SessionOf]:
        return self._rows(SessionOf, "sessions", erasure_id=erasure_id)

    def object_removed(self, erasure_id: UUID, session_id: UUID, versions: int, size_bytes: int) -> None:
        self._scalar(
            "object_removed", erasure_id=erasure_id, session_id=session_id, versions=versions, bytes=size_bytes
        )

    def disks(self, erasure_id: UUID) -> list[DiskRow]:
        return self._rows(DiskRow, "disks", erasure_id=erasure_id)

    def node_destroyed(self, erasure_id: UUID, node_id: str) -> int:
        return int(self._scalar("node_destroyed", erasure_id=erasure_id, node_id=node_id))

    def exports(self, erasure_id: UUID) -> list[ExportRow]:
        return self._rows(ExportRow, "exports", erasure_id=erasure_id)

    def reopen(self, erasure_id: UUID) -> list[str]:
        """The done steps that have to be done again for what has appeared since."""
        again: list[str] = self._scalar("reopen", erasure_id=erasure_id)
        return again

    def handed_out(self, erasure_id: UUID) -> list[HandedOutRow]:
        return self._rows(HandedOutRow, "handed_out", erasure_id=erasure_id)

    def remains(self, erasure_id: UUID) -> list[Remain]:
        return self._rows(Remain, "remains", erasure_id=erasure_id)

    def certify(self, erasure_id: UUID, certificate: dict[str, Any]) -> dict[str, Any]:
        """The certificate that stands: this one, unless one was issued before."""
        standing: dict[str, Any] = self._scalar("certify", erasure_id=erasure_id, certificate=Jsonb(certificate))
        return standing

    def state(self, erasure_id: UUID) -> State | None:
        with self._connection.cursor(row_factory=class_row(State)) as cursor:
            return cursor.execute(self._sql["state"], {"erasure_id": erasure_id}).fetchone()

    def due(self, erasures_max: int = 1000) -> list[Due]:
        return self._rows(Due, "due", erasures_max=erasures_max)

    def _scalar(self, name: str, **values: object) -> Any:  # noqa: ANN401 - the statement's one value
        with self._connection.cursor(row_factory=scalar_row) as cursor:
            return cursor.execute(self._sql[name], values).fetchone()

    def _rows(self, shape: Any, name: str, **values: object) -> list[Any]:  # noqa: ANN401 - rows of ``shape``
        with self._connection.cursor(row_factory=class_row(shape)) as cursor:
            return cursor.execute(self._sql[name], values).fetchall()


class PostgresNodeErasures:
    """What a node's finaliser knows of erasures, for the role ``restartix_finaliser``. ``connection`` opens one whose
    leaving commits, such as a pool's.
    """

    def __init__(self, connection: Callable[[], AbstractContextManager[psycopg.Connection[Any]]]) -> None:
        self._connection = connection
        self._sql = sql.load(__package__, "erasure_store.sql")

    def due(self, node_id: str, sessions_max: int = 1000) -> list[UUID]:
        values = {"node_id": node_id, "sessions_max": sessions_max}
        with self._connection() as connection, connection.cursor(row_factory=scalar_row) as cursor:
            return cursor.execute(self._sql["node_due"], values).fetchall()

    def confirm(self, node_id: str, session_ids: Sequence[UUID]) -> None:
        with self._connection() as connection:
            connection.execute(self._sql["node_confirm"], {"node_id": node_id, "session_ids": list(session_ids)})


class PostgresMarts:
    """The built tables, and whatever else is kept beside them, for the role ``restartix_analytics_builder``."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._sql = sql.load(__package__, "erasure_store.sql")

    def remains(self, patient_id: int, session_ids: Sequence[UUID]) -> list[BuiltRemain]:
        """Rows of the patient, by number, and media figures of erased sessions, in each built table."""
        found: list[BuiltRemain] = []
        with self._connection.cursor(row_factory=dict_row) as cursor:
            tables = cursor.execute(self._sql["mart_tables"]).fetchall()
            for table in tables:
                # What is counted by session only is of interest where it is of media: movement is retained.
                is_media = "media" in table["table_name"]
                name = composed.Identifier(table["schema_name"], table["table_name"])
                conditions: list[composed.SQL] = []
                values: list[object] = []
                if table["has_patient"]:
                    conditions.append(composed.SQL("patient_id = %s"))
                    values.append(patient_id)
                if table["has_session"] and is_media:
                    conditions.append(composed.SQL("session_id = ANY (%s)"))
                    values.append(list(session_ids))
                if not conditions:
                    continue
                place = f"{table['schema_name']}.{table['table_name']}"
                if not table["is_seen"]:
                    found.append(BuiltRemain(place, None))
                    continue
                statement = composed.SQL("SELECT count(*) AS n FROM {} WHERE {}").format(
                    name, composed.SQL(" OR ").join(conditions)
                )
                row = cursor.execute(statement, values).fetchone()
                found.append(BuiltRemain(place, int(row["n"]) if row else None))
        return found
