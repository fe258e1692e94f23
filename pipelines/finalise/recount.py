"""Sealed sessions computed anew from their blobs, and the figures compared with those that were stored.

Invariant: aggregates are a deterministic function of blob, profile, prescription and algorithm version. A sample of
sessions is computed again; where the stored figures came from another version of the algorithm nothing is compared.

Belongs here: the sample's judgement. Does not belong here: computing (``compute``), the sample's choice (the adapter).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec

from pipelines.finalise import frames
from pipelines.pose.model import Prescription
from pipelines.pose.profile import MovementProfile
from pipelines.pose.summary import summarise
from pipelines.pose.wire import WireLimits
from pipelines.replay.split import split

_LIMITS = WireLimits(decompressed_max_bytes=64 * 1024 * 1024)
_SCORE_TOLERANCE = 0.005  # scores are stored to two decimals


class SampledSession(NamedTuple):
    """A finalised session: what it was computed with, and what was stored. ``reps`` counts the rows of repetitions."""

    session_id: UUID
    blob_key: str
    blob_version_id: str | None
    movement_profile: str | None
    prescription: str
    algorithm_version: str
    rep_count: int
    reps: int
    average_form_score: float | None


class Blobs(Protocol):
    """Raises an ``Exception`` where the blob is not there."""

    def get(self, key: str, version_id: str | None = None) -> bytes: ...


class RecountReport(msgspec.Struct, frozen=True, kw_only=True):
    """One sample. ``differing``: sessions whose figures are not the stored ones, with which (for the log)."""

    sampled: int
    equal: int
    other_version: int
    unreadable: int
    differing: tuple[tuple[UUID, str], ...]


def recount(sessions: Iterable[SampledSession], blobs: Blobs, algorithm_version: str) -> RecountReport:
    """Compute each session again."""
    counts: Counter[str] = Counter()
    differing: list[tuple[UUID, str]] = []
    for session in sessions:
        counts["sampled"] += 1
        if session.algorithm_version != algorithm_version:
            counts["other_version"] += 1
            continue
        try:
            difference = _difference(session, blobs.get(session.blob_key, session.blob_version_id))
        except Exception as error:
            counts["unreadable"] += 1
            differing.append((session.session_id, f"{type(error).__name__}"))
            continue
        if difference is None:
            counts["equal"] += 1
        else:
            differing.append((session.session_id, difference))
    return RecountReport(
        sampled=counts["sampled"],
        equal=counts["equal"],
        other_version=counts["other_version"],
        unreadable=counts["unreadable"],
        differing=tuple(differing),
    )


def _difference(session: SampledSession, blob: bytes) -> str | None:
    decoded = frames.decode(split(blob, _LIMITS.decompressed_max_bytes), _LIMITS)
    profile = session.movement_profile
    found = summarise(
        decoded.landmarks_m,
        decoded.timestamp_ms,
        None if profile is None else msgspec.json.decode(profile, type=MovementProfile | None),
        msgspec.json.decode(session.prescription, type=Prescription),
    )
    count = len(found.reps)
    if not count == session.rep_count == session.reps:
        return f"{count} repetitions in the blob, {session.rep_count} stored, {session.reps} rows"
    stored, computed = session.average_form_score, found.average_form_score
    if (stored is None) != (computed is None):
        return f"average form score {computed}, stored {stored}"
    if stored is not None and computed is not None and not math.isclose(stored, computed, abs_tol=_SCORE_TOLERANCE):
        return f"average form score {computed}, stored {stored}"
    return None
