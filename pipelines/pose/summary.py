"""One exercise session's movement, from landmarks to the values that are stored: the only way into this package's sums.

Pure and deterministic; never raises for finite input of the right shape, however little of it there is. Every float is
rounded here, to the decimals declared below, so that a stored number is the same wherever it is worked out again.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.pose.angles import Body
from pipelines.pose.discovery import find_profile
from pipelines.pose.landmarks import COLUMN_COUNT, LANDMARK_COUNT
from pipelines.pose.model import PoseSummary, Prescription, RepMetrics
from pipelines.pose.motion import Excursions, Motion, counting_rule, excursions, measure
from pipelines.pose.phases import phases
from pipelines.pose.profile import MovementProfile, Primary
from pipelines.pose.scoring import Scores, Windows, peak_rom, score
from pipelines.pose.segmentation import Repetition, repetitions
from pipelines.pose.signals import GAP_MS, GRID_HZ, Timeline, gaps, timeline
from pipelines.pose.smoothness import sparc
from pipelines.pose.unseen import observed
from pipelines.pose.version import algorithm_version

ANGLE_DECIMALS: Final = 1
SCORE_DECIMALS: Final = 1
SHARE_DECIMALS: Final = 4
SPARC_DECIMALS: Final = 3
MILLISECOND_DECIMALS: Final = 1


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
        prescription: what the plan asked for. Where both sides move, only the prescribed one counts; where only the
            other one moves, its repetitions are counted and their ``side`` says so.

    Raises:
        ValueError: the arrays have another shape.
    """
    if landmarks_m.shape != (len(timestamp_ms), LANDMARK_COUNT, COLUMN_COUNT):
        raise ValueError(f"landmarks {landmarks_m.shape} do not fit {len(timestamp_ms)} timestamps")
    line = timeline(timestamp_ms)
    if not line.size:
        return _nothing(profile.name if profile else "none")
    body = Body(landmarks_m)
    used = profile or find_profile(body, landmarks_m, line)
    motion = measure(body, landmarks_m, line, used, prescription.side)
    times = timestamp_ms.astype(np.int64, copy=False)[line.frame_order]
    found = observed(repetitions(motion.counted, counting_rule(used)), line, times)
    seen = motion.seen[line.frame_order]
    gap_count, gap_ms = gaps(times, seen)
    reps: tuple[RepMetrics, ...] = ()
    smoothness = symmetry = None
    if found:
        windows = _windows(found, line)
        moved = excursions(motion, used.primary, windows.starts, windows.ends)
        scores = score(body, line, used, windows, moved)
        reps = _rep_metrics(
            found=found,
            line=line,
            motion=motion,
            primary=used.primary,
            moved=moved,
            scores=scores,
            confidence=_confidence(windows, line, times, seen),
        )
        smoothness = _smoothness(motion, windows)
        symmetry = _symmetry(moved)
    roms = np.array([rep.peak_rom_deg for rep in reps])
    durations = [rep.end_ms - rep.start_ms for rep in reps]
    return PoseSummary(
        reps=reps,
        rep_count=len(reps),
        average_form_score=round(float(np.mean([rep.form_score for rep in reps])), SCORE_DECIMALS) if reps else None,
        active_duration_ms=sum(durations),
        rom_mean_deg=round(float(roms.mean()), ANGLE_DECIMALS) if reps else None,
        rom_max_deg=round(float(roms.max()), ANGLE_DECIMALS) if reps else None,
        rom_sd_deg=round(float(roms.std(ddof=1)), ANGLE_DECIMALS) if len(reps) > 1 else None,
        tempo_mean_ms=round(sum(durations) / len(reps), MILLISECOND_DECIMALS) if reps else None,
        symmetry_percent=symmetry,
        smoothness_sparc=smoothness,
        tracking_quality=round(float(seen.mean()), SHARE_DECIMALS),
        gap_count=gap_count,
        gap_ms=gap_ms,
        frame_count=len(times),
        duration_ms=int(times[-1] - times[0]),
        movement_profile=used.name,
        algorithm_version=algorithm_version(),
    )


def _nothing(profile_name: str) -> PoseSummary:
    """The summary of a session without a frame: counts are 0, measurements unknown."""
    return PoseSummary(
        reps=(),
        rep_count=0,
        average_form_score=None,
        active_duration_ms=0,
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
        movement_profile=profile_name,
        algorithm_version=algorithm_version(),
    )


def _windows(found: list[Repetition], line: Timeline) -> Windows:
    starts, peaks, ends = (np.array([getattr(rep, name) for rep in found]) for name in ("start", "peak", "end"))
    return Windows(starts=starts, peaks=peaks, ends=ends, duration_ms=line.grid_ms[ends] - line.grid_ms[starts])


def _confidence(
    windows: Windows, line: Timeline, times: NDArray[np.int64], seen: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """[R] the share of the repetition that rests on visible frames, at the session's usual frame interval."""
    steps = np.diff(times)
    steps = steps[steps <= GAP_MS]
    usual_ms = float(steps.mean()) if len(steps) else 1.0
    visible = np.concatenate(([0], np.cumsum(seen)))
    first = np.searchsorted(times, line.grid_ms[windows.starts], side="left")
    last = np.searchsorted(times, line.grid_ms[windows.ends], side="right")
    expected = np.maximum(windows.duration_ms / usual_ms, np.maximum(last - first, 1))
    share: NDArray[np.float64] = np.minimum((visible[last] - visible[first]) / expected, 1.0)
    return share


def _rep_metrics(
    *,
    found: list[Repetition],
    line: Timeline,
    motion: Motion,
    primary: Primary,
    moved: Excursions,
    scores: Scores,
    confidence: NDArray[np.float64],
) -> tuple[RepMetrics, ...]:
    roms = peak_rom(moved)
    metrics: list[RepMetrics] = []
    for i, phase in enumerate(phases(motion.counted, found, line)):
        outward_first = primary.outward == "concentric"
        metrics.append(
            RepMetrics(
                rep_number=i + 1,
                start_ms=phase.start_ms,
                end_ms=phase.end_ms,
                cycle_start_ms=phase.start_ms,
                cycle_end_ms=phase.end_ms,
                peak_rom_deg=round(float(roms[i]), ANGLE_DECIMALS),
                form_score=round(float(scores.form[i]), SCORE_DECIMALS),
                concentric_ms=phase.out_ms if outward_first else phase.back_ms,
                hold_ms=phase.hold_ms,
                eccentric_ms=phase.back_ms if outward_first else phase.out_ms,
                deviation_max_deg=None
                if scores.deviation_deg is None
                else round(float(scores.deviation_deg[i]), ANGLE_DECIMALS),
                deviation_name=scores.deviation_name[i],
                side=moved.side[i],
                confidence=round(float(confidence[i]), SHARE_DECIMALS),
            )
        )
    return tuple(metrics)


def _smoothness(motion: Motion, windows: Windows) -> float | None:
    """Mean SPARC of the repetitions' angular speed, on the side that moves most."""
    side = max(motion.sides, key=lambda each: float(np.ptp(motion.angle[each])))
    speed = np.abs(np.gradient(motion.angle[side])) if len(motion.angle[side]) > 1 else np.zeros(1)
    values = sparc([speed[a : b + 1] for a, b in zip(windows.starts, windows.ends, strict=True)], GRID_HZ)
    return None if np.isnan(values).all() else round(float(np.nanmean(values)), SPARC_DECIMALS)


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
