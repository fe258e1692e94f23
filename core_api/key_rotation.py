"""Rotating the master key: every organisation's data key is wrapped anew by the current master key.

The data keys stay, so no sealed value changes and no process has to be stopped: an unwrapped key that is held in memory
is the same key. Afterwards the old master key is needed for back-ups only.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from core_api import audit
from core_api.database import Tx, every, one, the
from core_api.encryption import wrapping_context
from pipelines.ports.key_wrapper import KeyWrapper, WrappedKey


class Rotated(NamedTuple):
    """Which master key an organisation's data key was wrapped by, and is now. Equal where nothing was to be done."""

    organisation_id: int
    before: str
    after: str


def rotate(tx: Tx, wrapper: KeyWrapper, organisation_id: int, author: audit.Author) -> Rotated | None:
    """Wrap the organisation's data key anew, in the transaction of its tenant; None where it has none.

    Done again, it changes nothing. Raises ``KeyRefused``, ``KeyWrapperUnavailable``: nothing was changed then.
    """
    row = one(tx, "organisation_key_locked", {})
    if row is None:
        return None
    context = wrapping_context(organisation_id)
    old = WrappedKey(row["key_id"], bytes(row["wrapped_key"]))
    data_key = wrapper.unwrap(old, context)
    new = wrapper.wrap(data_key, context)
    for retired in every(tx, "retired_keys_locked", {"settled": timedelta()}):
        opened = wrapper.unwrap(WrappedKey(retired["key_id"], bytes(retired["wrapped_key"])), context)
        again = wrapper.wrap(opened, context)
        if again.key_id != retired["key_id"]:
            values = {"version": retired["version"], "wrapped_key": again.ciphertext, "key_id": again.key_id}
            the(tx, "rewrap_retired_key", values)
    if new.key_id == old.key_id:
        return Rotated(organisation_id, old.key_id, old.key_id)
    if wrapper.unwrap(new, context) != data_key:
        raise ValueError("the new wrapping does not open to the same key")
    the(tx, "rewrap_organisation_key", {"wrapped_key": new.ciphertext, "key_id": new.key_id})
    audit.record(
        tx, author, "organisation_key.rotate", "core.organisation_keys", organisation_id,
        before=old.key_id, after=new.key_id,
    )  # fmt: skip
    return Rotated(organisation_id, old.key_id, new.key_id)
