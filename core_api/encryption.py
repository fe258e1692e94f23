"""Column encryption: names, contact data and free text are stored sealed. One data key an organisation, kept wrapped.

Here: sealing and opening values, and finding the organisation's data key. Not here: who guards the master key
(``pipelines.ports.key_wrapper``).

A sealed value is AES-256-GCM (NIST SP 800-38D): ``format (1 byte) | nonce (12) | ciphertext and tag``. Organisation,
column and row are its associated data, so a value moved elsewhere does not open. Format 1 is of the organisation's
first data key; format 2 has the number of a later one (2 bytes, big-endian) after its first byte.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core_api.database import Row, Tx, one
from pipelines.ports.key_wrapper import KeyWrapper, WrappedKey

KEY_BYTES = 32
_FIRST_KEY, _NUMBERED_KEY = b"\x01", b"\x02"
_NONCE_BYTES = 12


class SealBroken(ValueError):  # noqa: N818
    """A stored value does not open: altered, moved, or sealed with another key."""


class Place(NamedTuple):
    """Where a sealed value lives. ``row`` is the row's id, or its principal id where that is known before the id."""

    organisation_id: int
    column: str  # as schema.table.column
    row: str

    def associated_data(self) -> bytes:
        return f"restartix/1/{self.organisation_id}/{self.column}/{self.row}".encode()


def seal(data_key: bytes, plaintext: bytes, place: Place, nonce: bytes, version: int = 1) -> bytes:
    """The value as it is stored. ``nonce`` is 12 fresh random bytes; ``version`` the data key's number, 1 to 65535."""
    header = _FIRST_KEY if version == 1 else _NUMBERED_KEY + version.to_bytes(2, "big")
    return header + nonce + AESGCM(data_key).encrypt(nonce, plaintext, _associated(header, place))


def key_version(sealed: bytes) -> int:
    """The number of the data key that ``sealed`` names. Raises ``SealBroken``."""
    if sealed[:1] == _FIRST_KEY:
        return 1
    if sealed[:1] == _NUMBERED_KEY and len(sealed) >= 3 and (number := int.from_bytes(sealed[1:3], "big")) > 1:
        return number
    raise SealBroken("not a sealed value")


def unseal(data_key: bytes, sealed: bytes, place: Place) -> bytes:
    """The value behind ``sealed``; raises ``SealBroken``."""
    begin = 1 if key_version(sealed) == 1 else 3
    header, nonce, ciphertext = sealed[:begin], sealed[begin : begin + _NONCE_BYTES], sealed[begin + _NONCE_BYTES :]
    try:
        return AESGCM(data_key).decrypt(nonce, ciphertext, _associated(header, place))
    except (InvalidTag, ValueError):
        raise SealBroken("altered, moved, or sealed with another key") from None


def _associated(header: bytes, place: Place) -> bytes:
    return place.associated_data() if header == _FIRST_KEY else header + place.associated_data()


class ColumnCipher:
    """Seals and opens column values inside a tenant's transaction. The ``cached_max`` unwrapped keys last used are
    kept, in memory only.
    """

    def __init__(self, wrapper: KeyWrapper, random_bytes: Callable[[int], bytes], cached_max: int = 256) -> None:
        self._wrapper = wrapper
        self._random_bytes = random_bytes
        self._cached_max = cached_max
        self._cache: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def create_key(self, tx: Tx, organisation_id: int) -> None:
        """Give the organisation its data key, if it has none."""
        wrapped = self._wrapper.wrap(self._random_bytes(KEY_BYTES), wrapping_context(organisation_id))
        one(
            tx,
            "insert_organisation_key",
            {"organisation_id": organisation_id, "wrapped_key": wrapped.ciphertext, "key_id": wrapped.key_id},
        )

    def seal(self, tx: Tx, text: str, place: Place) -> bytes:
        """Seal text for ``place``. Raises ``LookupError`` for an organisation without a data key."""
        # Which key is the present one is asked each time: another process may have replaced it.
        row = self._present(tx, place.organisation_id)
        data_key = self._unwrapped(place.organisation_id, row["version"], row)
        return seal(data_key, text.encode(), place, self._random_bytes(_NONCE_BYTES), row["version"])

    def unseal(self, tx: Tx, sealed: bytes | None, place: Place) -> str | None:
        """Open what ``seal`` made; None stays None. Raises ``SealBroken``."""
        if sealed is None:
            return None
        version = key_version(bytes(sealed))
        return unseal(self._data_key(tx, place.organisation_id, version), bytes(sealed), place).decode()

    def _data_key(self, tx: Tx, organisation_id: int, version: int = 1) -> bytes:
        """The key of this number, present or retired. Raises ``SealBroken`` for one that is destroyed."""
        with self._lock:
            cached = self._cache.get((organisation_id, version))
        if cached is not None:
            return cached
        row: Row | None = self._present(tx, organisation_id)
        if row is not None and row["version"] != version:
            row = one(tx, "retired_key", {"version": version})
        if row is None:
            raise SealBroken("sealed with a data key that is destroyed")
        return self._unwrapped(organisation_id, version, row)

    def _present(self, tx: Tx, organisation_id: int) -> Row:
        row = one(tx, "organisation_key", {})
        if row is None or row["organisation_id"] != organisation_id:
            raise LookupError(f"organisation {organisation_id} has no data key")
        return row

    def _unwrapped(self, organisation_id: int, version: int, row: Row) -> bytes:
        """The row's key, from memory where it was used before."""
        name = (organisation_id, version)
        with self._lock:
            if name in self._cache:
                self._cache.move_to_end(name)
                return self._cache[name]
        wrapped = WrappedKey(row["key_id"], bytes(row["wrapped_key"]))
        data_key = self._wrapper.unwrap(wrapped, wrapping_context(organisation_id))
        with self._lock:
            self._cache[name] = data_key
            while len(self._cache) > self._cached_max:
                self._cache.popitem(last=False)
        return data_key


def wrapping_context(organisation_id: int) -> dict[str, str]:
    """What a wrapped data key is bound to."""
    return {"purpose": "column-encryption", "organisation_id": str(organisation_id)}
