"""The values movement analysis gives back. Shapes only: no computation, no I/O.

Angles are degrees, durations milliseconds since the session's start, scores 0..100. What could not be measured is
``None``, never 0.
"""

from __future__ import annotations

import msgspec


class Prescription(msgspec.Struct, frozen=True, kw_only=True):
    """What the plan asked for, frozen when the exercise starts."""

    sets: int | None = None
    reps: int | None = None
    side: str | None = None  # "left", "right", "both"


class RepMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """One repetition. ``concentric_ms + hold_ms + eccentric_ms == end_ms - start_ms``."""

    rep_number: int  # from 1
    start_ms: int
    end_ms: int
    peak_rom_deg: float
    form_score: float
    concentric_ms: int
    hold_ms: int
    eccentric_ms: int
    deviation_max_deg: float | None
    deviation_name: str | None  # a compensation named in the profile
    side: str  # "left", "right", "both"
    confidence: float  # 0..1


class PoseSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One exercise session's movement. ``reps`` ordered by ``rep_number``."""

    reps: tuple[RepMetrics, ...]
    rep_count: int
    average_form_score: float | None
    active_duration_ms: int
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
