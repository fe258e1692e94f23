"""The values movement analysis gives back. Shapes only: no computation, no I/O.

Angles are degrees, durations milliseconds since the session's start, scores 0..100. What could not be measured is
``None``, never 0. A field with a default was added later: results stored before it read as ``None`` there.
"""

from __future__ import annotations

import msgspec


class Prescription(msgspec.Struct, frozen=True, kw_only=True):
    """What the plan asked for, frozen when the exercise starts. What it leaves open is the profile's to say."""

    sets: int | None = None
    reps: int | None = None
    side: str | None = None  # "left", "right", "both"
    target_low_deg: float | None = None  # range of motion asked for, in place of the profile's
    target_high_deg: float | None = None
    hold_ms: int | None = None  # how long each hold is to last, for an exercise that is held


class RepMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """One repetition; of an exercise that is held, one hold.

    ``start_ms .. end_ms`` is the movement itself, and ``concentric_ms + hold_ms + eccentric_ms == end_ms - start_ms``.
    ``cycle_start_ms .. cycle_end_ms`` takes in the rest beside it, up to the middle between two repetitions: cycles
    never overlap, and are what a rater who cuts a recording into repetitions marks.

    The components are scores of their own, 0..100, and each is None where nothing was to be judged by it;
    ``form_score`` is 100 where all of them are, and never rises as one of them falls.
    """

    rep_number: int  # from 1
    start_ms: int
    end_ms: int
    cycle_start_ms: int | None = None
    cycle_end_ms: int | None = None
    peak_rom_deg: float
    form_score: float
    range_score: float | None = None
    tempo_score: float | None = None
    smoothness_score: float | None = None
    symmetry_score: float | None = None
    compensation_score: float | None = None
    reference_score: float | None = None  # agreement with the reference's template
    consistency_score: float | None = None
    reason: str | None = None  # one sentence: what cost the most; None where nothing did
    concentric_ms: int
    hold_ms: int
    eccentric_ms: int
    smoothness_sparc: float | None = None
    deviation_max_deg: float | None
    deviation_name: str | None  # a compensation named in the profile
    deviation_at_ms: int | None = None  # when it was greatest
    side: str  # "left", "right", "both"
    confidence: float  # 0..1


class PoseSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One exercise session's movement. ``reps`` ordered by ``rep_number``.

    ``rep_count`` and what follows from it are None where the exercise has no movement a camera can see.
    """

    reps: tuple[RepMetrics, ...]
    rep_count: int | None
    partial_rep_count: int | None = None  # too small, broken off, hasty or too long to count
    held_ms: int | None = None  # time in holds, all together; None unless the exercise is held
    empty_reason: str | None = None  # one of ``empty.Reason``; None where there is a repetition
    average_form_score: float | None
    active_duration_ms: int | None
    rom_mean_deg: float | None
    rom_max_deg: float | None
    rom_sd_deg: float | None
    tempo_mean_ms: float | None  # mean duration of a repetition
    symmetry_percent: float | None  # 100 = both sides alike; None where one side moves
    smoothness_sparc: float | None  # Balasubramanian et al. 2015; dimensionless, nearer 0 is smoother
    tracking_quality: float | None  # share of frames, 0..1, whose needed landmarks are visible
    gap_count: int
    gap_ms: int
    frame_count: int
    duration_ms: int
    movement_profile: str
    algorithm_version: str
