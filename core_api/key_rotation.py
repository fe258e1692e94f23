"""Rotating the master key: every organisation's data key is wrapped anew by the current master key.

The data keys stay, so no sealed value changes and no process has to be stopped: an unwrapped key that is held in memory
is the same key. Afterwards the old master key is needed for back-ups only.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from core_api import audit
from core_api.database import Row, Tx, every, one, the
from core_api.encryption import wrapping_context
from pipelines.ports.key_wrapper import KeyWrapper, WrappedKey


class Rotated(NamedTuple):
    """Which master key an organisation's data key was wrapped by, and is now. Equal where it was the current one."""

    organisation_id: int
    before: str
    after: str
    retired: int  # how many retired data keys were wrapped anew


def rotate(tx: Tx, wrapper: KeyWrapper, organisation_id: int, author: audit.Author) -> Rotated | None:
    """Wrap the organisation's data key anew, in the transaction of its tenant; None where it has none.

    Its retired data keys too. Done again, it changes nothing. Raises ``KeyRefused``, ``KeyWrapperUnavailable``,
    ``ValueError``: nothing was changed then.
    """
    row = one(tx, "organisation_key_locked", {})
    if row is None:
        return None
    context = wrapping_context(organisation_id)
    old = WrappedKey(row["key_id"], bytes(row["wrapped_key"]))
    data_key = wrapper.unwrap(old, context)
    new = wrapper.wrap(data_key, context)
    retired = sum(
        _rewrap_retired(tx, wrapper, organisation_id, row, author)
        for row in every(tx, "retired_keys_locked", {"settled": timedelta()})
    )
    if new.key_id == old.key_id:
        return Rotated(organisation_id, old.key_id, old.key_id, retired)
    _verify(wrapper, new, data_key, organisation_id)
    the(tx, "rewrap_organisation_key", {"wrapped_key": new.ciphertext, "key_id": new.key_id})
    audit.record(
        tx, author, "organisation_key.rotate", "core.organisation_keys", organisation_id,
        before=old.key_id, after=new.key_id,
    )  # fmt: skip
    return Rotated(organisation_id, old.key_id, new.key_id, retired)


def _rewrap_retired(tx: Tx, wrapper: KeyWrapper, organisation_id: int, row: Row, author: audit.Author) -> bool:
    """Wrap a retired data key anew, if another master key wraps it; whether that was so."""
    context = wrapping_context(organisation_id)
    old = WrappedKey(row["key_id"], bytes(row["wrapped_key"]))
    data_key = wrapper.unwrap(old, context)
    new = wrapper.wrap(data_key, context)
    if new.key_id == old.key_id:
        return False
    _verify(wrapper, new, data_key, organisation_id)
    values = {"version": row["version"], "wrapped_key": new.ciphertext, "key_id": new.key_id}
    the(tx, "rewrap_retired_key", values)
    audit.record(
        tx, author, "organisation_key.rotate_retired", "core.retired_keys", organisation_id,
        version=row["version"], before=old.key_id, after=new.key_id,
    )  # fmt: skip
    return True


def _verify(wrapper: KeyWrapper, wrapped: WrappedKey, data_key: bytes, organisation_id: int) -> None:
    """Raises ``ValueError`` where the wrapping does not open to the key: it is not stored then."""
    if wrapper.unwrap(wrapped, wrapping_context(organisation_id)) != data_key:
        raise ValueError("the new wrapping does not open to the same key")
