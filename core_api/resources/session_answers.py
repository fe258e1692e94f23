"""What the reads of one exercise session answer: shapes only, each field named as the column it comes from."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from uuid import UUID

from core_api.surface import Answer


class NamedExercise(Answer, frozen=True, kw_only=True):
    id: int
    name: str


class LogFigures(Answer, frozen=True, kw_only=True):
    """The exercise log the session fills."""

    id: int
    prescribed_sets: int | None
    prescribed_reps: int | None
    actual_sets: int | None
    actual_reps: int | None
    actual_reps_source: str | None
    video_watch_percentage: Decimal | None
    pose_accuracy_score: Decimal | None
    skipped: bool


class RecordCounts(Answer, frozen=True, kw_only=True):
    """``accepted_records`` = in the blob + duplicates + dropped for consent; None where it cannot be known any more."""

    accepted_records: int | None
    batches_in_blob: int | None
    batches_duplicate: int | None
    batches_dropped_for_consent: int | None


class Movement(Answer, frozen=True, kw_only=True):
    """The session's movement. ``rep_count`` None: the exercise has no movement that a camera could count."""

    revision: int
    rep_count: int | None
    partial_rep_count: int | None
    held_ms: int | None
    empty_reason: str | None
    average_form_score: Decimal | None
    active_duration_ms: int | None
    rom_mean_deg: Decimal | None
    rom_max_deg: Decimal | None
    rom_sd_deg: Decimal | None
    tempo_mean_ms: Decimal | None
    symmetry_percent: Decimal | None
    smoothness_sparc: Decimal | None
    tracking_quality: Decimal | None
    gap_count: int
    gap_ms: int
    frame_count: int
    duration_ms: int
    end_reason: str
    incomplete: bool
    movement_profile: str
    algorithm_version: str
    applied_at: dt.datetime


class Rep(Answer, frozen=True, kw_only=True):
    """One repetition; times in ms since the session's start."""

    rep_number: int
    start_ms: int
    end_ms: int
    cycle_start_ms: int | None
    cycle_end_ms: int | None
    peak_rom_deg: Decimal
    form_score: Decimal
    range_score: Decimal | None
    tempo_score: Decimal | None
    smoothness_score: Decimal | None
    symmetry_score: Decimal | None
    compensation_score: Decimal | None
    reference_score: Decimal | None
    consistency_score: Decimal | None
    reason: str | None
    concentric_ms: int
    hold_ms: int
    eccentric_ms: int
    smoothness_sparc: Decimal | None
    deviation_max_deg: Decimal | None
    deviation_name: str | None
    deviation_at_ms: int | None
    side: str
    confidence: Decimal


class View(Answer, frozen=True, kw_only=True):
    """One playing of one video: every figure that is stored of it, each ratio's numerator and denominator included, so
    that figures of several views are sums over sums. Definitions: docs/media-metrics.md.
    """

    ordinal: int
    media_id: str
    media_type: str | None
    began_at: dt.datetime
    ended_at: dt.datetime | None
    total_duration_seconds: Decimal | None
    startup_ms: int | None
    ttfb_ms: int | None
    watched_seconds: Decimal | None
    unique_seconds: Decimal | None
    unique_seconds_error: Decimal | None
    watch_percentage: Decimal | None
    completed: bool | None
    milestone_percent: int | None
    stall_count: int | None
    stall_ms: int | None
    played_ms: int | None
    bitrate_bits: Decimal | None
    bitrate_seconds: Decimal | None
    mean_bitrate: Decimal | None
    upswitch_count: int | None
    downswitch_count: int | None
    oscillation_count: int | None
    quality_seconds: dict[str, float]
    dropped_frames: int | None
    total_frames: int | None
    restart_count: int | None
    exit_before_start: bool | None
    error_count: int | None


class Stall(Answer, frozen=True, kw_only=True):
    """One rebuffering; ``duration_ms`` None: nothing tells how long. ``end_seen`` None: an old row."""

    view_ordinal: int
    stall_number: int
    began_at: dt.datetime
    position_seconds: Decimal | None
    duration_ms: int | None
    end_seen: bool | None


class UsedReference(Answer, frozen=True, kw_only=True):
    """The patient's own reference that the session is scored against: what it was learnt from, and when."""

    session_id: UUID
    revision: int
    rep_count: int
    learnt_at: dt.datetime


class SessionDetail(Answer, frozen=True, kw_only=True):
    """One exercise session. ``revision`` is the newest result, ``applied_revision`` the one these figures are of.

    ``personal_reference`` None: form is scored against the exercise's own profile and reference.
    """

    session_id: UUID
    treatment_session_id: int
    patient_id: int
    exercise: NamedExercise
    state: str
    started_at: dt.datetime
    last_received_at: dt.datetime | None
    ended_at: dt.datetime | None
    end_reason: str | None
    incomplete: bool
    revision: int
    applied_revision: int
    finalised_at: dt.datetime | None
    applied_at: dt.datetime | None
    algorithm_version: str | None
    retention: str
    personal_reference: UsedReference | None
    log: LogFigures
    counts: RecordCounts
    pose: Movement | None
    reps: list[Rep]
    views: list[View]
    stalls: list[Stall]


class Member(Answer, frozen=True, kw_only=True):
    """One gzip member of the blob: frames of ``[start_ms, end_ms]``."""

    ordinal: int
    start_ms: int
    end_ms: int
    byte_offset: int
    byte_length: int


class RepBytes(Answer, frozen=True, kw_only=True):
    """A repetition's movement, ``start_ms`` to ``end_ms``, and the whole members that hold its cycle, the rest around
    the movement with it; None where none does.
    """

    rep_number: int
    start_ms: int
    end_ms: int
    byte_offset: int | None
    byte_length: int | None


class ByteStretch(Answer, frozen=True, kw_only=True):
    """What was asked for by ``rep`` (its cycle) or ``from_ms``/``to_ms``: whole members, fetched with the header
    ``Range``.
    """

    rep_number: int | None
    start_ms: int
    end_ms: int
    byte_offset: int
    byte_length: int
    http_range: str


class Replay(Answer, frozen=True, kw_only=True):
    """Where the landmark stream is read until ``expires_at``: one version of the blob, and what lies where in it."""

    session_id: UUID
    revision: int
    incomplete: bool
    url: str
    expires_at: dt.datetime
    version_id: str | None
    bytes: int | None
    stretch: ByteStretch | None
    members: list[Member]
    reps: list[RepBytes]


class ClinicalFlag(Answer, frozen=True, kw_only=True):
    """Whether the replay is kept as a clinical record, and until when; ``kept_until`` None: nothing is sealed."""

    session_id: UUID
    revision: int
    incomplete: bool
    is_clinical: bool
    has_replay: bool
    kept_until: dt.datetime | None


class ReferenceMark(Answer, frozen=True, kw_only=True):
    """Whether the session is its patient's reference for its exercise, and what was learnt from it: of which result,
    for which movement profile, from how many repetitions; None where nothing is.
    """

    session_id: UUID
    revision: int
    incomplete: bool
    patient_id: int
    exercise_id: int
    is_reference: bool
    marked_at: dt.datetime | None
    learnt_revision: int | None
    movement_profile: str | None
    rep_count: int | None


class ReferenceSession(Answer, frozen=True, kw_only=True):
    """A patient's reference for one exercise."""

    exercise_id: int
    exercise_name: str
    session_id: UUID
    started_at: dt.datetime
    incomplete: bool
    revision: int
    has_replay: bool
    marked_at: dt.datetime
    marked_by: UUID


class ReferenceSessions(Answer, frozen=True, kw_only=True):
    """All of a patient's references; one an exercise."""

    patient_id: int
    items: list[ReferenceSession]
