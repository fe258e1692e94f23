"""One exercise session's movement, from landmarks to the values that are stored: the only way into this package's sums.

Pure and deterministic; never raises for finite input of the right shape, however little of it there is. Every float is
rounded, here and in ``rep_metrics``, to declared decimals, so that a stored number is the same wherever it is made.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.pose import empty
from pipelines.pose.body import Body
from pipelines.pose.counting import count
from pipelines.pose.discovery import find_profile
from pipelines.pose.landmarks import COLUMN_COUNT, LANDMARK_COUNT
from pipelines.pose.model import PoseSummary, Prescription, RepMetrics
from pipelines.pose.motion import Excursions, excursions, measure
from pipelines.pose.profile import MovementProfile
from pipelines.pose.reasons import reasons
from pipelines.pose.rep_metrics import (
    ANGLE_DECIMALS,
    MILLISECOND_DECIMALS,
    SCORE_DECIMALS,
    SHARE_DECIMALS,
    SPARC_DECIMALS,
    rep_metrics,
    smoothness_of,
)
from pipelines.pose.scoring import judged_windows, peak_rom, score
from pipelines.pose.signals import gaps, timeline
from pipelines.pose.template import Filtered
from pipelines.pose.version import algorithm_version


def summarise(
    landmarks_m: NDArray[np.floating],
    timestamp_ms: NDArray[np.integer],
    profile: MovementProfile | None,
    prescription: Prescription,
) -> PoseSummary:
    """Repetitions, scores and session figures of one exercise session.

    Args:
        landmarks_m: finite [N, 33, 4] world landmarks: x, y, z in metres, visibility; N may be 0.
        timestamp_ms: [N] since the session's start. Frames are put in order; of equal times the first counts.
        profile: how the exercise is measured; None has a profile found from the motion itself.
        prescription: what the plan asked for; its target range takes the place of the profile's. Where both sides
            move, only the prescribed one counts; where only the other one moves, its repetitions are counted and their
            ``side`` says so.

    Raises:
        ValueError: the arrays have another shape.
    """
    if landmarks_m.shape != (len(timestamp_ms), LANDMARK_COUNT, COLUMN_COUNT):
        raise ValueError(f"landmarks {landmarks_m.shape} do not fit {len(timestamp_ms)} timestamps")
    line = timeline(timestamp_ms)
    if not line.size:
        return _nothing(profile)
    body = Body(landmarks_m)
    used = (profile or find_profile(body, landmarks_m, line)).prescribed(prescription)
    motion = measure(body, landmarks_m, line, used, prescription.side)
    times = timestamp_ms.astype(np.int64, copy=False)[line.frame_order]
    seen = motion.seen[line.frame_order]
    found, reason = count(body, landmarks_m, line, motion, profile=used, prescribed_side=prescription.side)
    reps: tuple[RepMetrics, ...] = ()
    symmetry = None
    if found.repetitions:
        starts, ends = (np.array([getattr(rep, name) for rep in found.repetitions]) for name in ("start", "end"))
        moved = excursions(motion, used.primary, starts, ends, [rep.side for rep in found.repetitions])
        judged = judged_windows(found.repetitions, line)
        # Of what is held nobody asks how smoothly it moved.
        smooth = np.full(len(starts), np.nan) if used.hold else smoothness_of(found.repetitions, motion, moved)
        scores = score(Filtered(body, line), used, judged, moved, smooth)
        reps = rep_metrics(
            found=found.repetitions,
            line=line,
            motion=motion,
            profile=used,
            moved=moved,
            scores=scores,
            smoothness=smooth,
            why=reasons(used, scores, peak_rom(moved), judged.duration_ms),
            times=times,
        )
        symmetry = _symmetry(moved)
    elif reason is None:
        reason = empty.after_counting(
            excursion_deg=float(np.ptp(motion.counted)),
            minimum_deg=used.primary.minimum_excursion_deg,
            duration_ms=float(times[-1] - times[0]),
            shortest_ms=used.hold.shortest_ms if used.hold else used.tempo.shortest_ms,
        )
    gap_count, gap_ms = gaps(times, seen)
    totals = _totals(reps)
    known = used.measurable
    return PoseSummary(
        reps=reps,
        rep_count=len(reps) if known else None,
        partial_rep_count=len(found.partial) if known and used.hold is None else None,
        held_ms=sum(rep.hold_ms for rep in reps) if known and used.hold is not None else None,
        empty_reason=reason,
        average_form_score=_rounded(totals["form_score"], SCORE_DECIMALS),
        active_duration_ms=sum(rep.end_ms - rep.start_ms for rep in reps) if known else None,
        rom_mean_deg=_rounded(totals["rom_mean"], ANGLE_DECIMALS),
        rom_max_deg=_rounded(totals["rom_max"], ANGLE_DECIMALS),
        rom_sd_deg=_rounded(totals["rom_sd"], ANGLE_DECIMALS),
        tempo_mean_ms=_rounded(totals["duration"], MILLISECOND_DECIMALS),
        symmetry_percent=symmetry,
        smoothness_sparc=_rounded(totals["sparc"], SPARC_DECIMALS),
        tracking_quality=round(float(seen.mean()), SHARE_DECIMALS),
        gap_count=gap_count,
        gap_ms=gap_ms,
        frame_count=len(times),
        duration_ms=int(times[-1] - times[0]),
        movement_profile=used.name,
        algorithm_version=algorithm_version(),
    )


_REP_SCHEMA = {
    "peak_rom_deg": pl.Float64,
    "form_score": pl.Float64,
    "smoothness_sparc": pl.Float64,
    "start_ms": pl.Int64,
    "end_ms": pl.Int64,
}


def _totals(reps: tuple[RepMetrics, ...]) -> dict[str, float | None]:
    """What the repetitions come to; None where there are too few to say."""
    table = pl.DataFrame({name: [getattr(rep, name) for rep in reps] for name in _REP_SCHEMA}, schema=_REP_SCHEMA)
    totals = table.select(
        form_score=pl.col("form_score").mean(),
        rom_mean=pl.col("peak_rom_deg").mean(),
        rom_max=pl.col("peak_rom_deg").max(),
        rom_sd=pl.col("peak_rom_deg").std(),
        duration=(pl.col("end_ms") - pl.col("start_ms")).mean(),
        sparc=pl.col("smoothness_sparc").mean(),
    )
    return totals.row(0, named=True)


def _rounded(value: float | None, decimals: int) -> float | None:
    return None if value is None else round(value, decimals)


def _nothing(profile: MovementProfile | None) -> PoseSummary:
    """The summary of a session without a frame: counts are 0, measurements unknown."""
    known = profile is None or profile.measurable
    return PoseSummary(
        reps=(),
        rep_count=0 if known else None,
        partial_rep_count=0 if known and (profile is None or profile.hold is None) else None,
        held_ms=0 if known and profile is not None and profile.hold is not None else None,
        empty_reason="no_frames",
        average_form_score=None,
        active_duration_ms=0 if known else None,
        rom_mean_deg=None,
        rom_max_deg=None,
        rom_sd_deg=None,
        tempo_mean_ms=None,
        symmetry_percent=None,
        smoothness_sparc=None,
        tracking_quality=None,
        gap_count=0,
        gap_ms=0,
        frame_count=0,
        duration_ms=0,
        movement_profile=profile.name if profile else "none",
        algorithm_version=algorithm_version(),
    )


def _symmetry(moved: Excursions) -> float | None:
    """Limb symmetry: the smaller side's mean arc over the larger's, in percent.

    Where the sides work together, over all repetitions; where they alternate, each side over its own; None where only
    one side works.
    """
    if len(moved.arc) < 2:
        return None
    side = np.array(moved.side)
    means = []
    for each in ("left", "right"):
        own = (side == each) | (side == "both")
        if not own.any():
            return None
        means.append(float(moved.arc[each][own].mean()))
    return round(100.0 * min(means) / max(means), SCORE_DECIMALS) if max(means) > 0 else None
