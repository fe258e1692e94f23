"""Starting an exercise: its log, its session on a home node with profile and prescription frozen, and its token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from core_api import access, audit, personal_references
from core_api.actions import consent
from core_api.database import Row, Tx, one, the
from core_api.errors import Problem, not_found
from core_api.identity import Actor
from core_api.tokens import LIFETIME, SessionClaims, SigningKey
from pipelines.pose.model import Prescription

ENTITY = "telemetry.sessions"
RESUMABLE = timedelta(hours=3)  # a frame's timestamp must stay below this (the wire format's bound)


class Started(NamedTuple):
    """What the portal needs to stream. ``created`` is False where an open session goes on."""

    answer: Row
    created: bool


@dataclass(frozen=True, slots=True)
class SessionMaker:
    """What starting needs beyond the transaction."""

    signing_key: SigningKey
    token_issuer: str
    profile_json: Callable[[str], str | None]  # a movement profile by name as JSON; None for an unknown name
    new_session_id: Callable[[], UUID]


def start_exercise(
    tx: Tx,
    actor: Actor,
    author: audit.Author,
    maker: SessionMaker,
    *,
    treatment_session_id: int,
    exercise_id: int,
    started_at: datetime,
    now: datetime,
) -> Started:
    """The exercise's open session, or a new one. Raises ``Problem`` 404, 409, or 503 while no node is ready."""
    sitting = access.treatment_session(tx, actor, treatment_session_id, lock=True)
    if sitting["status"] != "in_progress":
        raise Problem(409, "session_not_in_progress", f"the treatment session is {sitting['status']}")
    access.not_being_erased(tx, sitting["patient_id"])
    chosen = {"treatment_plan_id": sitting["treatment_plan_id"], "exercise_id": exercise_id}
    exercise = one(tx, "prescribed_exercise", chosen)
    if exercise is None:
        raise not_found("exercise")
    scope = {"treatment_session_id": treatment_session_id, "exercise_id": exercise_id}
    session = one(tx, "resumable_session", {**scope, "resumable_since": now - RESUMABLE})
    created = session is None
    if session is None:
        session = _create(tx, sitting, exercise, maker, started_at=started_at, now=now)
    audit.record(
        tx,
        author,
        "exercise.start" if created else "exercise.resume",
        ENTITY,
        session["session_id"],
        session_id=session["session_id"],
        treatment_session_id=treatment_session_id,
        patient_exercise_log_id=session["patient_exercise_log_id"],
    )
    return Started(_answer(tx, sitting, exercise, session, maker, now=now), created)


def _create(tx: Tx, sitting: Row, exercise: Row, maker: SessionMaker, *, started_at: datetime, now: datetime) -> Row:
    node = one(tx, "least_loaded_node", {})
    if node is None:
        raise Problem(503, "no_ingest_node", "no ingest node is ready", headers={"Retry-After": "5"})
    # To the millisecond, as the token says it: everything computed later is keyed by this very value.
    started_at = started_at.replace(microsecond=started_at.microsecond // 1000 * 1000)
    sets, reps = exercise["prescribed_sets"], exercise["prescribed_reps"]
    log = the(
        tx,
        "insert_exercise_log",
        {
            "organisation_id": sitting["organisation_id"],
            "treatment_session_id": sitting["id"],
            "exercise_id": exercise["exercise_id"],
            "started_at": started_at,
            "prescribed_sets": sets,
            "prescribed_reps": reps,
            "sort_order": exercise["sort_order"],
            "now": now,
        },
    )
    granted = consent.granted(tx, sitting["patient_id"])
    shipped = maker.profile_json(exercise["movement_profile"])
    # Without consent to movement nothing will be scored, so nothing biometric is copied into the session either.
    measured = (
        personal_references.frozen(tx, sitting["patient_id"], exercise["exercise_id"], shipped)
        if "biometric" in granted
        else personal_references.Frozen(shipped, None)
    )
    session: Row = {
        "session_id": maker.new_session_id(),
        "node_id": node["node_id"],
        "started_at": started_at,
        "token_expires_at": now + LIFETIME,
        "patient_exercise_log_id": log["id"],
    }
    the(
        tx,
        "insert_session",
        {
            **session,
            "organisation_id": sitting["organisation_id"],
            "patient_id": sitting["patient_id"],
            "exercise_id": exercise["exercise_id"],
            "movement_profile": measured.profile_json,
            "personal_reference_id": measured.reference_id,
            "prescription": msgspec.json.encode(_prescription(exercise)).decode(),
            "now": now,
        },
    )
    return {**session, "created_at": now, "ingest_url": node["ingest_url"]}


def _prescription(exercise: Row) -> Prescription:
    low_deg, high_deg = exercise["target_low_deg"], exercise["target_high_deg"]
    return Prescription(
        sets=exercise["prescribed_sets"],
        reps=exercise["prescribed_reps"],
        side=exercise["side"],
        target_low_deg=None if low_deg is None else float(low_deg),
        target_high_deg=None if high_deg is None else float(high_deg),
        hold_ms=exercise["hold_ms"],
    )


def _answer(tx: Tx, sitting: Row, exercise: Row, session: Row, maker: SessionMaker, *, now: datetime) -> Row:
    claims = SessionClaims(
        principal_id=sitting["principal_id"],
        session_id=session["session_id"],
        organisation_id=sitting["organisation_id"],
        exercise_log_id=session["patient_exercise_log_id"],
        exercise_id=exercise["exercise_id"],
        node_id=session["node_id"],
        started_at=session["started_at"],
        issued_at=session["created_at"],
        expires_at=session["token_expires_at"],
    )
    granted = consent.granted(tx, sitting["patient_id"])
    # What an assigned plan prescribes never changes, so this is what was frozen, also where the session goes on.
    asked = _prescription(exercise)
    return {
        "session_id": session["session_id"],
        "token": maker.signing_key.mint(claims, maker.token_issuer),
        "token_expires_at": session["token_expires_at"],
        "ingest_url": session["ingest_url"],
        # Real time since the session was made, also where its start is back-dated.
        "elapsed_ms": max(round((now - session["created_at"]).total_seconds() * 1000), 0),
        "capture": {"pose": "biometric" in granted, "media": "analytics" in granted},
        "started_at": session["started_at"],
        "exercise_log_id": session["patient_exercise_log_id"],
        "exercise": {
            "id": exercise["exercise_id"],
            "name": exercise["name"],
            "media_id": exercise["media_id"],
            "prescribed_sets": asked.sets,
            "prescribed_reps": asked.reps,
            "side": asked.side,
            "target_low_deg": asked.target_low_deg,
            "target_high_deg": asked.target_high_deg,
            "hold_ms": asked.hold_ms,
        },
    }
