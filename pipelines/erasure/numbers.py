"""The number under which an erased patient's retained records go on. Pure: randomness is passed in."""

from __future__ import annotations

from collections.abc import Callable

_NUMBERS = 1 << 52  # above any number of a sequence; with those below it, all are exact in JSON


def retained_number(below: Callable[[int], int]) -> int:
    """A random number from 2^52 on. ``below(n)`` is uniform in ``[0, n)``, such as ``secrets.randbelow``."""
    return _NUMBERS + below(_NUMBERS)
