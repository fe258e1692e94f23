"""Replacing an organisation's data key: a new one seals from now on, every value is resealed by it, and the old one is
destroyed once nothing needs it. For a data key that may be known.

Belongs here: the order, and where sealed values are. Does not belong here: sealing (``encryption``), the master key
(``key_rotation``), the command (``keys_cli``).

Each step is a transaction of its own: broken off, the resealing goes on where it was, and no further key is made for
that. Reading goes on all the while, because a value names its key. A request that was under way when the key was
replaced may still seal by the old one; so an old key is destroyed only when it has been retired for longer than any
request takes, and nothing names it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import NamedTuple

from psycopg import sql
from psycopg.errors import DeadlockDetected

from core_api import audit
from core_api.database import Tx, every, one, run, the
from core_api.encryption import KEY_BYTES, ColumnCipher, Place, SealBroken, wrapping_context
from pipelines.ports.key_wrapper import KeyWrapper

BATCH = 500
# A request may stand in a statement and idle in its transaction for as long as the settings allow at most
# (RESTARTIX_STATEMENT_TIMEOUT_S up to 300 s; idle three times that, see ``database.open_pool``). Ten minutes of margin.
SETTLED_MIN = timedelta(seconds=300 + 3 * 300 + 600)
SETTLED = timedelta(hours=1)
ATTEMPTS_MAX = 5  # of a batch that deadlocks with requests


class SealedColumn(NamedTuple):
    """A column of sealed values, and the SQL of what its ``Place`` calls the row."""

    table: str
    column: str
    row: str

    @property
    def place(self) -> str:
        return f"{self.table}.{self.column}"


COLUMNS = (
    SealedColumn("core.patients", "full_name_encrypted", "principal_id::text"),
    SealedColumn("core.patients", "contact_encrypted", "principal_id::text"),
    SealedColumn("core.specialists", "full_name_encrypted", "principal_id::text"),
    SealedColumn("core.patient_treatment_plans", "end_note_encrypted", "id::text"),
    SealedColumn("core.patient_session_completions", "notes_encrypted", "id::text"),
    SealedColumn("core.forms", "responses_encrypted", "id::text"),
    SealedColumn("core.idempotency_keys", "response_encrypted", "principal_id::text || '/' || encode(key_hash, 'hex')"),
)
# The number of the key that a value names: format 1 has none and is of the first key (``encryption``).
_VERSION = (
    "CASE WHEN octet_length({c}) < 3 THEN NULL WHEN get_byte({c}, 0) = 1 THEN 1"
    " WHEN get_byte({c}, 0) = 2 THEN get_byte({c}, 1) * 256 + get_byte({c}, 2) END"
)
_OTHERS = "FROM {t} WHERE {c} IS NOT NULL AND (" + _VERSION + ") IS DISTINCT FROM %(version)s"
_COUNT = "SELECT count(*) AS n " + _OTHERS
_TAKE = "SELECT ctid::text AS at, {row} AS row, {c} AS sealed " + _OTHERS + " LIMIT %(batch)s FOR NO KEY UPDATE"
_PUT = "UPDATE {t} SET {c} = %(sealed)s WHERE ctid = %(at)s::tid"


def replace_key(
    tx: Tx, wrapper: KeyWrapper, random_bytes: Callable[[int], bytes], organisation_id: int, author: audit.Author
) -> int | None:
    """Give the organisation a new data key, whatever still waits of an earlier replacement: the present key may have
    leaked too. Its number; None where it has no key. Raises ``KeyRefused``, ``KeyWrapperUnavailable``.
    """
    row = one(tx, "organisation_key_locked", {})
    if row is None:
        return None
    wrapped = wrapper.wrap(random_bytes(KEY_BYTES), wrapping_context(organisation_id))
    the(tx, "retire_organisation_key", {})
    made = the(tx, "replace_organisation_key", {"wrapped_key": wrapped.ciphertext, "key_id": wrapped.key_id})
    audit.record(
        tx, author, "organisation_key.replace", "core.organisation_keys", organisation_id,
        before=row["version"], after=made["version"],
    )  # fmt: skip
    return int(made["version"])


def present_version(tx: Tx) -> int | None:
    """The number of the key that seals now; None where the organisation has none."""
    row = one(tx, "organisation_key", {})
    return None if row is None else int(row["version"])


def remaining(tx: Tx, column: SealedColumn) -> int:
    """How many values of the column are not sealed by the present key."""
    row = tx.execute(_statement(_COUNT, column), {"version": present_version(tx)}).fetchone()
    return 0 if row is None else int(row["n"])


def reseal(tx: Tx, cipher: ColumnCipher, organisation_id: int, column: SealedColumn) -> int:
    """Reseal up to ``BATCH`` values by the present key; how many. Raises ``SealBroken`` for one that does not open, and
    names it.
    """
    # Asked in each batch: held to a number that another replacement has retired meanwhile, it would never end.
    rows = tx.execute(_statement(_TAKE, column), {"version": present_version(tx), "batch": BATCH}).fetchall()
    for row in rows:
        place = Place(organisation_id, column.place, row["row"])
        try:
            text = cipher.unseal(tx, row["sealed"], place)
        except SealBroken as error:
            raise SealBroken(f"{column.place}, row {row['row']}: {error}") from None
        assert text is not None
        tx.execute(_statement(_PUT, column), {"sealed": cipher.seal(tx, text, place), "at": row["at"]})
    return len(rows)


def reseal_batch(
    tenant: Callable[[], AbstractContextManager[Tx]], cipher: ColumnCipher, organisation_id: int, column: SealedColumn
) -> int:
    """``reseal`` in a transaction of its own, anew where it deadlocked. Raises as ``reseal``, and the last
    ``DeadlockDetected`` of ``ATTEMPTS_MAX``.
    """
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            with tenant() as tx:
                return reseal(tx, cipher, organisation_id, column)
        except DeadlockDetected:
            if attempt == ATTEMPTS_MAX:
                raise
    raise AssertionError("unreachable")


def destroy(tx: Tx, organisation_id: int, author: audit.Author, settled: timedelta = SETTLED) -> tuple[int, int]:
    """Destroy the retired keys that nothing names and that were retired ``settled`` ago: how many, and how many stay.

    Every change of a key holds its row; requests do not, which is what ``settled`` is for.
    """
    the(tx, "organisation_key_locked", {})
    retired = every(tx, "retired_keys_locked", {"settled": settled})
    if any(remaining(tx, column) for column in COLUMNS):
        return 0, len(retired)
    ripe = [row["version"] for row in retired if row["is_settled"]]
    for version in ripe:
        run(tx, "destroy_retired_key", {"version": version})
        audit.record(tx, author, "organisation_key.destroy", "core.organisation_keys", organisation_id, version=version)
    return len(ripe), len(retired) - len(ripe)


def _statement(template: str, column: SealedColumn) -> sql.Composed:
    table = sql.Identifier(*column.table.split("."))
    return sql.SQL(template).format(t=table, c=sql.Identifier(column.column), row=sql.SQL(column.row))
