"""The finaliser's clinic and node, with a patient of some history, a subscriber, and an erasure over them."""

from __future__ import annotations

from tests.finalise.conftest import (
    blobs,
    bodies,
    clinic,
    copies,
    finalise,
    finaliser,
    node,
    pool,
    squats,
    store,
)

__all__ = ["blobs", "bodies", "clinic", "copies", "finalise", "finaliser", "node", "pool", "squats", "store"]
