"""One repetition's stored values, put together from what was found, measured and scored. Judges nothing itself.

Belongs here: rounding, confidence, smoothness a repetition. Does not belong here: finding repetitions
(``segmentation``), scores (``scoring``), a session's totals (``summary``).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.pose.model import RepMetrics
from pipelines.pose.motion import Excursions, Motion
from pipelines.pose.phases import held, phases
from pipelines.pose.profile import MovementProfile
from pipelines.pose.scoring import Scores, peak_rom
from pipelines.pose.segmentation import Repetition
from pipelines.pose.signals import GAP_MS, GRID_HZ, Float64s, Timeline
from pipelines.pose.smoothness import sparc

ANGLE_DECIMALS: Final = 1
SCORE_DECIMALS: Final = 1
SHARE_DECIMALS: Final = 4
SPARC_DECIMALS: Final = 3
MILLISECOND_DECIMALS: Final = 1

# Trackers' jitter as it is on a good day; what goes beyond it costs confidence, half of it where it is as large as this
# share of the excursion (root mean square, degrees).
USUAL_NOISE_DEG: Final = 1.0
HALVING_NOISE_SHARE: Final = 0.2


def rep_metrics(
    *,
    found: list[Repetition],
    line: Timeline,
    motion: Motion,
    profile: MovementProfile,
    moved: Excursions,
    scores: Scores,
    smoothness: Float64s,
    why: tuple[str | None, ...],
    times: NDArray[np.int64],
) -> tuple[RepMetrics, ...]:
    """R >= 1 repetitions; ``times`` [K] of the frames, in order (ms)."""
    roms = peak_rom(moved)
    confidence = _seen_share(found, line, times, motion.seen[line.frame_order]) * _clearness(found, motion, moved)
    timed = held(found, line) if profile.hold is not None else phases(motion.counted, found, line)
    outward_first = profile.primary.outward == "concentric"
    metrics: list[RepMetrics] = []
    for i, (rep, phase) in enumerate(zip(found, timed, strict=True)):
        moment = scores.deviation_at[i]
        metrics.append(
            RepMetrics(
                rep_number=i + 1,
                start_ms=phase.start_ms,
                end_ms=phase.end_ms,
                cycle_start_ms=round(float(line.grid_ms[rep.start])),
                cycle_end_ms=round(float(line.grid_ms[rep.end])),
                peak_rom_deg=round(float(roms[i]), ANGLE_DECIMALS),
                form_score=round(float(scores.form[i]), SCORE_DECIMALS),
                range_score=_known(scores.component["range"][i], SCORE_DECIMALS),
                tempo_score=_known(scores.component["tempo"][i], SCORE_DECIMALS),
                smoothness_score=_known(scores.component["smoothness"][i], SCORE_DECIMALS),
                symmetry_score=_known(scores.component["symmetry"][i], SCORE_DECIMALS),
                compensation_score=_known(scores.component["compensation"][i], SCORE_DECIMALS),
                reference_score=_known(scores.component["reference"][i], SCORE_DECIMALS),
                consistency_score=_known(scores.component["consistency"][i], SCORE_DECIMALS),
                reason=why[i],
                concentric_ms=phase.out_ms if outward_first else phase.back_ms,
                hold_ms=phase.hold_ms,
                eccentric_ms=phase.back_ms if outward_first else phase.out_ms,
                smoothness_sparc=_known(smoothness[i], SPARC_DECIMALS),
                deviation_max_deg=None
                if scores.deviation_deg is None
                else round(float(scores.deviation_deg[i]), ANGLE_DECIMALS),
                deviation_name=scores.deviation_name[i],
                deviation_at_ms=None if moment is None else round(float(line.grid_ms[moment])),
                side=moved.side[i],
                confidence=round(float(confidence[i]), SHARE_DECIMALS),
            )
        )
    return tuple(metrics)


def _known(value: float, decimals: int) -> float | None:
    return None if np.isnan(value) else round(float(value), decimals)


def _seen_share(
    found: list[Repetition], line: Timeline, times: NDArray[np.int64], seen: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """[R] the share of the cycle that rests on visible frames, at the session's usual frame interval."""
    starts, ends = (line.grid_ms[[getattr(rep, name) for rep in found]] for name in ("start", "end"))
    steps = np.diff(times)
    steps = steps[steps <= GAP_MS]
    usual_ms = float(steps.mean()) if len(steps) else 1.0
    visible = np.concatenate(([0], np.cumsum(seen)))
    first = np.searchsorted(times, starts, side="left")
    last = np.searchsorted(times, ends, side="right")
    # One frame's grace: where a cycle begins between two frames, it has one less than its length says.
    expected = np.maximum((ends - starts) / usual_ms - 1.0, np.maximum(last - first, 1))
    share: NDArray[np.float64] = np.minimum((visible[last] - visible[first]) / expected, 1.0)
    return share


def _own_side(i: int, motion: Motion, moved: Excursions) -> str:
    """The side a repetition is read from: the one that did it, of two together the one that went further."""
    if moved.side[i] in motion.angle:
        return moved.side[i]
    return max(motion.sides, key=lambda side: float(moved.arc[side][i]))


def _clearness(found: list[Repetition], motion: Motion, moved: Excursions) -> Float64s:
    """[R] 1 where the angle's noise is nothing beside the repetition, 0.5 where it is a fifth of it."""
    energy = {side: np.concatenate(([0.0], np.cumsum(noise * noise))) for side, noise in motion.noise.items()}
    clear = np.empty(len(found))
    for i, rep in enumerate(found):
        side = _own_side(i, motion, moved)
        mean_square = float(energy[side][rep.end + 1] - energy[side][rep.start]) / (rep.end + 1 - rep.start)
        beyond = max(float(np.sqrt(max(mean_square, 0.0))) - USUAL_NOISE_DEG, 0.0)
        clear[i] = 1.0 / (1.0 + (beyond / (HALVING_NOISE_SHARE * max(rep.excursion, 1.0))) ** 2)
    return clear


def smoothness_of(found: list[Repetition], motion: Motion, moved: Excursions) -> Float64s:
    """[R] SPARC of each repetition's angular speed; nan where nothing moved."""
    speed = {
        side: np.abs(np.gradient(angle)) if len(angle) > 1 else np.zeros(1) for side, angle in motion.angle.items()
    }
    return sparc(
        [speed[_own_side(i, motion, moved)][rep.onset : rep.offset + 1] for i, rep in enumerate(found)], GRID_HZ
    )
