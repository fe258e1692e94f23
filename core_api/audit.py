"""The audit log: one row for each authenticated mutation and each minted replay URL, in the transaction it records.

Details are references, states and counts; never a name, a token, free text or a clinical value.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from psycopg.types.json import Jsonb

from core_api.database import Tx, the


@dataclass(frozen=True, slots=True)
class Author:
    """Who does what is recorded. ``principal_id`` is None for the product's own provisioning."""

    principal_id: UUID | None
    role: str
    request_id: str


def record(
    tx: Tx,
    author: Author,
    action: str,
    entity: str,
    entity_id: object,
    *,
    session_id: UUID | None = None,
    purpose: str | None = None,
    **details: object,
) -> None:
    """Write one row for the transaction's organisation. ``entity`` is the table as schema.table."""
    the(
        tx,
        "insert_audit",
        {
            "actor_principal_id": author.principal_id,
            "actor_role": author.role,
            "action": action,
            "entity": entity,
            "entity_id": str(entity_id),
            "session_id": session_id,
            "purpose": purpose,
            "details": Jsonb({"request_id": author.request_id, **details}),
        },
    )
