"""The algorithm's version: what must be the same for two results to be comparable."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Final

# Raise when a change in this package can change a stored number.
MOVEMENT_VERSION: Final = "7"
NUMERIC_LIBRARIES: Final = ("numpy", "polars", "scipy")


@cache
def algorithm_version() -> str:
    """E.g. ``movement-1+numpy-2.3.0+polars-1.30.0+scipy-1.16.0``: the numeric libraries can change a last decimal."""
    return "+".join((f"movement-{MOVEMENT_VERSION}", *(f"{name}-{version(name)}" for name in NUMERIC_LIBRARIES)))
