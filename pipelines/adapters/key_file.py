"""The key-wrapper port over a local file of master keys, for a machine without a key management service.

The file: one master key a line, 32 random bytes in base64; the first is the current one, the others still unwrap. A key
is named by the beginning of its SHA-256, so that reordering the file changes no name. Wrapping is AES-256-GCM (NIST SP
800-38D) with a random 96-bit nonce: ``version (1 byte) | nonce (12) | ciphertext and tag``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipelines.ports.key_wrapper import KeyRefused, KeyWrapperUnavailable, WrappedKey

KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = b"\x01"
_OTHERS_MAY_READ = 0o077


class KeyFile:
    """``KeyWrapper`` over master keys in memory. ``random_bytes`` must be cryptographic (``secrets.token_bytes``)."""

    def __init__(self, master_keys: list[bytes], random_bytes: Callable[[int], bytes]) -> None:
        if not master_keys:
            raise KeyWrapperUnavailable("the key file holds no key")
        for key in master_keys:
            if len(key) != KEY_BYTES:
                raise KeyWrapperUnavailable(f"a master key of {len(key)} bytes, not {KEY_BYTES}")
        self._keys = {_key_id(key): AESGCM(key) for key in master_keys}
        self._current = _key_id(master_keys[0])
        self._random_bytes = random_bytes

    @classmethod
    def read(cls, path: Path, random_bytes: Callable[[int], bytes]) -> KeyFile:
        """Raises ``KeyWrapperUnavailable`` where the file is missing, malformed, or readable by others."""
        try:
            if path.stat().st_mode & _OTHERS_MAY_READ:
                raise KeyWrapperUnavailable(f"{path} may be read by others; its mode must be 0600")
            lines = path.read_text("ascii").split()
            return cls([base64.b64decode(line, validate=True) for line in lines], random_bytes)
        except (OSError, UnicodeDecodeError, binascii.Error) as error:
            raise KeyWrapperUnavailable(f"{path} cannot be read as a key file: {error}") from error

    def wrap(self, data_key: bytes, context: Mapping[str, str]) -> WrappedKey:
        """See the port."""
        if len(data_key) != KEY_BYTES:
            raise ValueError(f"a data key of {len(data_key)} bytes, not {KEY_BYTES}")
        nonce = self._random_bytes(_NONCE_BYTES)
        sealed = self._keys[self._current].encrypt(nonce, data_key, _associated(context))
        return WrappedKey(self._current, _VERSION + nonce + sealed)

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> bytes:
        """See the port."""
        master_key = self._keys.get(wrapped.key_id)
        if master_key is None:
            raise KeyRefused(f"there is no master key {wrapped.key_id}")
        nonce, sealed = wrapped.ciphertext[1 : 1 + _NONCE_BYTES], wrapped.ciphertext[1 + _NONCE_BYTES :]
        if wrapped.ciphertext[:1] != _VERSION or len(nonce) < _NONCE_BYTES:
            raise KeyRefused("not a wrapped key")
        try:
            return master_key.decrypt(nonce, sealed, _associated(context))
        except (InvalidTag, ValueError):
            raise KeyRefused("the wrapped key was altered or belongs to another context") from None


def _key_id(master_key: bytes) -> str:
    return "file:" + hashlib.sha256(master_key).hexdigest()[:16]


def _associated(context: Mapping[str, str]) -> bytes:
    return json.dumps(dict(context), sort_keys=True, separators=(",", ":")).encode()
