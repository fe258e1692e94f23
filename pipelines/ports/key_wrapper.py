"""The key-wrapper port: who guards the data keys of column encryption.

Belongs here: the promise and its errors. Implementations: ``pipelines.adapters.key_file`` (a local file of master
keys); a key management service offers the same two operations.

Promises
    *Confidentiality*: what ``wrap`` gives back reveals nothing about the key without the master key it names.
    *Binding*: ``context`` is authenticated: unwrapping under any other context fails.
    *Longevity*: a key wrapped by a master key that is no longer the current one still unwraps while that one is kept.
    *Determinism*: none. Wrapping twice gives two values, both of which unwrap to the same key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class KeyRefused(ValueError):  # noqa: N818
    """A wrapped key that does not unwrap: altered, of another context, or of a master key this wrapper has not got."""


class KeyWrapperUnavailable(RuntimeError):  # noqa: N818
    """The wrapper cannot be reached or read now; nothing is known about the key."""


class WrappedKey(NamedTuple):
    """A data key as it is stored. ``key_id`` names the master key, and is no secret."""

    key_id: str
    ciphertext: bytes


class KeyWrapper(Protocol):
    """Wraps and unwraps 32-byte data keys."""

    def wrap(self, data_key: bytes, context: Mapping[str, str]) -> WrappedKey:
        """Raises ``KeyWrapperUnavailable``; ``ValueError`` for a key of another length."""
        ...

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> bytes:
        """Raises ``KeyRefused`` or ``KeyWrapperUnavailable``."""
        ...
