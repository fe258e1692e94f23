"""A patient's own reference for an exercise: learnt from the sealed replay of a session, kept, and frozen with later
sessions.

Here: reading the blob, learning, the rows, and what is frozen. Not here: who marks a session (``reference_sessions``),
and how movement is measured (``pipelines.pose``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
import structlog

from core_api import movement_profiles
from core_api.database import Row, Tx, one, run, the
from core_api.errors import Problem
from core_api.heavy_work import HeavyWork
from core_api.replay_retention import without_replay
from pipelines.finalise import frames
from pipelines.ports.blob_store import BlobNotFound, BlobStore, BlobStoreUnavailable
from pipelines.pose import profile
from pipelines.pose.model import Prescription
from pipelines.pose.personal import FEWEST_REPETITIONS, PersonalReference, TooFewRepetitionsError, reference_from
from pipelines.pose.profile import MovementProfile
from pipelines.pose.wire import WireLimits
from pipelines.replay.split import split

log = structlog.get_logger(__name__)

# An hour at 30 frames a second. What is longer is no supervised session, and would cost a worker its memory.
FRAMES_MAX = 108_000
BLOB_MAX_BYTES = 64 * 1024 * 1024
_LIMITS = WireLimits(decompressed_max_bytes=64 * 1024 * 1024)  # ingest has let through far less


@dataclass(frozen=True, slots=True)
class Source:
    """What a reference is learnt from: one version of a session's blob, and how the session was to be measured."""

    session_id: UUID
    revision: int
    blob_key: str
    blob_version_id: str | None
    profile: MovementProfile  # the exercise's, as it is shipped
    prescription: Prescription


class Learnt(NamedTuple):
    """A reference and where it came from."""

    source: Source
    reference: PersonalReference


class Frozen(NamedTuple):
    """A session's movement profile as JSON, and the reference in it; each None where there is none."""

    profile_json: str | None
    reference_id: int | None


def source_of(tx: Tx, session: Row) -> Source:
    """What the session's reference would be learnt from, nothing of it read yet.

    Raises ``Problem``: 404 ``replay_not_found``; 409 ``replay_not_ready``, ``session_not_usable``; 410 ``replay_gone``;
    422 ``exercise_not_comparable``, ``too_few_repetitions``, ``session_too_long``.
    """
    if session["state"] in ("open", "ended") or session["applied_revision"] < session["revision"]:
        detail = "the session's result is not there yet"
        raise Problem(409, "replay_not_ready", detail, headers={"Retry-After": "5"})
    movement = one(tx, "session_pose", {"session_id": session["session_id"], "started_at": session["started_at"]})
    if session["state"] != "finalised" or session["incomplete"] or movement is None:
        raise Problem(409, "session_not_usable", "a reference is a finished, complete session with movement")
    if session["blob_key"] is None:
        raise without_replay(session)
    measured, prescription = _frozen(tx, session["session_id"])
    if (movement["rep_count"] or 0) < FEWEST_REPETITIONS:
        raise _too_few()
    if movement["frame_count"] > FRAMES_MAX or (session["blob_bytes"] or 0) > BLOB_MAX_BYTES:
        raise Problem(422, "session_too_long", f"a reference has at most {FRAMES_MAX} frames")
    return Source(
        session_id=session["session_id"],
        revision=session["revision"],
        blob_key=session["blob_key"],
        blob_version_id=session["blob_version_id"],
        profile=measured,
        prescription=prescription,
    )


def _frozen(tx: Tx, session_id: UUID) -> tuple[MovementProfile, Prescription]:
    """The shipped profile of the exercise the session was measured as, and what was prescribed."""
    row = the(tx, "frozen_profile", {"session_id": session_id})
    try:
        measured = None if row["movement_profile"] is None else profile.load(row["movement_profile"])
    except profile.UnknownProfileError:
        measured = None
    if measured is None or not measured.measurable or measured.hold is not None:
        detail = "only an exercise with a movement profile and repetitions has a course to compare"
        raise Problem(422, "exercise_not_comparable", detail)
    return measured, msgspec.json.decode(row["prescription"], type=Prescription)


def learn(blobs: BlobStore, heavy_work: HeavyWork, source: Source) -> Learnt:
    """Read the blob and learn from it, outside any transaction.

    Raises ``Problem``: 410 ``replay_gone``, 422 ``too_few_repetitions``, 503 ``busy_computing`` or
    ``replay_store_unavailable``; ``DamagedBatchError`` or ``ValueError`` for a blob that is not what was sealed.
    """
    try:
        blob = blobs.get(source.blob_key, source.blob_version_id)
    except BlobNotFound:
        raise _gone() from None
    except BlobStoreUnavailable:
        detail = "the replay cannot be read now"
        raise Problem(503, "replay_store_unavailable", detail, headers={"Retry-After": "5"}) from None
    try:
        return Learnt(source, heavy_work.run(lambda: reference_of_blob(blob, source.profile, source.prescription)))
    except TooFewRepetitionsError:
        raise _too_few() from None


def reference_of_blob(blob: bytes, measured: MovementProfile, prescription: Prescription) -> PersonalReference:
    """Bytes in, value out. Raises ``TooFewRepetitionsError``, ``DamagedBatchError``, ``ValueError``."""
    decoded = frames.decode(split(blob, _LIMITS.decompressed_max_bytes), _LIMITS)
    return reference_from(decoded.landmarks_m, decoded.timestamp_ms, measured, prescription)


def keep(tx: Tx, session: Row, learnt: Learnt, now: datetime) -> int:
    """Make it the current one of its patient and exercise; what was current becomes history. Gives its id."""
    end(tx, session["patient_id"], session["exercise_id"], now)
    values = {
        "organisation_id": session["organisation_id"],
        "patient_id": session["patient_id"],
        "exercise_id": session["exercise_id"],
        "session_id": session["session_id"],
        "revision": learnt.source.revision,
        "blob_version_id": learnt.source.blob_version_id,
        "movement_profile": learnt.reference.profile,
        "rep_count": learnt.reference.rep_count,
        "reference": msgspec.json.encode(learnt.reference).decode(),
        "now": now,
    }
    return int(the(tx, "insert_personal_reference", values)["id"])


def end(tx: Tx, patient_id: int, exercise_id: int, now: datetime) -> None:
    """From now on the exercise is scored for this patient as for everybody."""
    run(tx, "end_personal_reference", {"patient_id": patient_id, "exercise_id": exercise_id, "now": now})


def frozen(tx: Tx, patient_id: int, exercise_id: int, shipped: str | None) -> Frozen:
    """What a session that starts now is measured with: ``shipped``, in the patient's own form where there is one.

    A reference that no longer goes with the exercise's profile is left out, and that is logged: the exercise goes on.
    """
    current = one(tx, "current_personal_reference", {"patient_id": patient_id, "exercise_id": exercise_id})
    if current is None:
        return Frozen(shipped, None)
    try:
        if shipped is None:
            raise movement_profiles.UnfitReferenceError("the exercise has no movement profile any more")
        return Frozen(movement_profiles.personal_json(shipped, current["reference"]), current["id"])
    except movement_profiles.UnfitReferenceError:
        log.warning("personal_reference_unfit", personal_reference_id=current["id"], exercise_id=exercise_id)
        return Frozen(shipped, None)


def _gone() -> Problem:
    return Problem(410, "replay_gone", "the session's replay has expired or was deleted; choose a younger session")


def _too_few() -> Problem:
    return Problem(422, "too_few_repetitions", f"a reference needs {FEWEST_REPETITIONS} counted repetitions at least")
