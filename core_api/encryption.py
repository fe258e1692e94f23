"""Column encryption: names, contact data and free text are stored sealed. One data key an organisation, kept wrapped.

Here: sealing and opening values, and finding the organisation's data key. Not here: who guards the master key
(``pipelines.ports.key_wrapper``).

A sealed value is AES-256-GCM (NIST SP 800-38D): ``version (1 byte) | nonce (12) | ciphertext and tag``. Organisation,
column and row are its associated data, so a value moved elsewhere does not open.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core_api.database import Tx, one
from pipelines.ports.key_wrapper import KeyWrapper, WrappedKey

_VERSION = b"\x01"
_NONCE_BYTES = 12
_KEY_BYTES = 32


class SealBroken(ValueError):  # noqa: N818
    """A stored value does not open: altered, moved, or sealed with another key."""


class Place(NamedTuple):
    """Where a sealed value lives. ``row`` is the row's id, or its principal id where that is known before the id."""

    organisation_id: int
    column: str  # as schema.table.column
    row: str

    def associated_data(self) -> bytes:
        return f"restartix/1/{self.organisation_id}/{self.column}/{self.row}".encode()


def seal(data_key: bytes, plaintext: bytes, place: Place, nonce: bytes) -> bytes:
    """The value as it is stored. ``nonce`` is 12 fresh random bytes."""
    return _VERSION + nonce + AESGCM(data_key).encrypt(nonce, plaintext, place.associated_data())


def unseal(data_key: bytes, sealed: bytes, place: Place) -> bytes:
    """The value behind ``sealed``; raises ``SealBroken``."""
    if sealed[:1] != _VERSION or len(sealed) <= 1 + _NONCE_BYTES:
        raise SealBroken("not a sealed value")
    nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    try:
        return AESGCM(data_key).decrypt(nonce, ciphertext, place.associated_data())
    except (InvalidTag, ValueError):
        raise SealBroken("altered, moved, or sealed with another key") from None


class ColumnCipher:
    """Seals and opens column values inside a tenant's transaction. Unwrapped keys are kept for the ``cached_max``
    organisations last used, in memory only.
    """

    def __init__(self, wrapper: KeyWrapper, random_bytes: Callable[[int], bytes], cached_max: int = 256) -> None:
        self._wrapper = wrapper
        self._random_bytes = random_bytes
        self._cached_max = cached_max
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def create_key(self, tx: Tx, organisation_id: int) -> None:
        """Give the organisation its data key, if it has none."""
        wrapped = self._wrapper.wrap(self._random_bytes(_KEY_BYTES), wrapping_context(organisation_id))
        one(
            tx,
            "insert_organisation_key",
            {"organisation_id": organisation_id, "wrapped_key": wrapped.ciphertext, "key_id": wrapped.key_id},
        )

    def seal(self, tx: Tx, text: str, place: Place) -> bytes:
        """Seal text for ``place``. Raises ``LookupError`` for an organisation without a data key."""
        return seal(self._data_key(tx, place.organisation_id), text.encode(), place, self._random_bytes(_NONCE_BYTES))

    def unseal(self, tx: Tx, sealed: bytes | None, place: Place) -> str | None:
        """Open what ``seal`` made; None stays None. Raises ``SealBroken``."""
        if sealed is None:
            return None
        return unseal(self._data_key(tx, place.organisation_id), bytes(sealed), place).decode()

    def _data_key(self, tx: Tx, organisation_id: int) -> bytes:
        with self._lock:
            if organisation_id in self._cache:
                self._cache.move_to_end(organisation_id)
                return self._cache[organisation_id]
        row = one(tx, "organisation_key", {})
        if row is None or row["organisation_id"] != organisation_id:
            raise LookupError(f"organisation {organisation_id} has no data key")
        wrapped = WrappedKey(row["key_id"], bytes(row["wrapped_key"]))
        data_key = self._wrapper.unwrap(wrapped, wrapping_context(organisation_id))
        with self._lock:
            self._cache[organisation_id] = data_key
            while len(self._cache) > self._cached_max:
                self._cache.popitem(last=False)
        return data_key


def wrapping_context(organisation_id: int) -> dict[str, str]:
    """What a wrapped data key is bound to."""
    return {"purpose": "column-encryption", "organisation_id": str(organisation_id)}
