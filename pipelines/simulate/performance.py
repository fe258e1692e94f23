"""A patient performing an exercise before a camera: repetitions in time, and what a pose estimator makes of them.

Belongs here: timing, variation from repetition to repetition, noise, lost frames, visibility. Does not belong here:
which joints an exercise moves (``exercises.py``), files (``recording.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from pipelines.pose.landmarks import COLUMN_COUNT, LANDMARK_COUNT, SIDES, VISIBILITY, Z
from pipelines.simulate import body
from pipelines.simulate.effort import Effort, Exercise
from pipelines.simulate.exercises import EXERCISES, FAULTS, pose_of
from pipelines.simulate.recording import Recording

MAX_DURATION_S: Final = 3 * 3600 - 1
MAX_REPS: Final = 1_000

# Shares of a repetition: out, hold, back; the rest of it is at rest.
_OUT, _HOLD, _BACK = 0.42, 0.10, 0.40
_INTO_HOLD_S = 1.0  # into a position that is held, and out of it; three times that between two of them
# A repetition is never quite like the last (standard deviations, as fractions).
_RANGE_VARIATION: Final = 0.02
_TEMPO_VARIATION: Final = 0.05
_NOISE_MEMORY: Final = 0.6  # an estimator's error in one frame carries over into the next
_BIAS: Final = 0.5  # each landmark is always a little off to the same side, as a share of the noise
_DEPTH_NOISE: Final = 1.5  # depth is guessed, so it is worse


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """What is to be performed. Everything random follows from ``seed``."""

    exercise: str
    reps: int = 10
    tempo_s: float = 4.0  # seconds a repetition
    range_deg: float | None = None  # None: as the exercise is done well
    side: str | None = None  # "left", "right", "both"; None: as usual
    noise_m: float = 0.003  # standard deviation of a landmark's position
    faults: Mapping[str, float] = field(default_factory=dict)  # name -> strength, 1 as described in FAULTS
    idle_before_s: float = 2.0
    idle_after_s: float = 2.0
    dropouts: int = 0  # how often the camera loses the body
    dropout_s: float = 0.7
    visibility: float = 0.95
    fps: int = 30
    stature_m: float = 1.70
    facing_deg: float = 20.0
    seed: int = 0

    def check(self) -> Exercise:
        """The exercise meant. Raises ``ValueError`` naming what cannot be performed."""
        if self.exercise not in EXERCISES:
            raise ValueError(f"unknown exercise {self.exercise!r}: one of {', '.join(EXERCISES)}")
        unknown = set(self.faults) - set(FAULTS)
        if unknown:
            raise ValueError(f"unknown fault {sorted(unknown)[0]!r}: one of {', '.join(FAULTS)}")
        if self.side not in (None, "left", "right", "both"):
            raise ValueError(f"side {self.side!r}: left, right or both")
        bounds = (
            ("reps", self.reps, 0, MAX_REPS),
            ("tempo_s", self.tempo_s, 0.5, 60),
            ("range_deg", self.range_deg or 90, 1, 180),
            ("noise_m", self.noise_m, 0, 0.2),
            ("idle_before_s", self.idle_before_s, 0, 600),
            ("idle_after_s", self.idle_after_s, 0, 600),
            ("dropouts", self.dropouts, 0, 100),
            ("dropout_s", self.dropout_s, 0, 60),
            ("visibility", self.visibility, 0, 1),
            ("fps", self.fps, 1, 120),
            ("stature_m", self.stature_m, 0.5, 2.5),
        )
        for name, value, low, high in bounds:
            if not low <= value <= high:
                raise ValueError(f"{name} must be {low} to {high}, not {value}")
        if self.reps * self.tempo_s * 1.3 + self.idle_before_s + self.idle_after_s > MAX_DURATION_S:
            raise ValueError("longer than the three hours a session may last")
        return EXERCISES[self.exercise]


@dataclass(frozen=True, slots=True)
class _Rep:
    start_s: float
    length_s: float
    reach: float  # of the wanted range
    sides: tuple[str, ...]


def perform(performance: Performance) -> Recording:
    """The landmarks of a performance, with the truth about its repetitions. Raises ``ValueError``, see ``check``."""
    exercise = performance.check()
    rng = np.random.default_rng(performance.seed)
    reps, end_s = _plan(performance, exercise, rng)
    frame_count = max(2, round((end_s + performance.idle_after_s) * performance.fps))
    times_s = np.arange(frame_count) / performance.fps
    effort = Effort(
        progress={side: _progress(side, reps, times_s, performance, rng) for side in SIDES},
        range_deg=performance.range_deg or exercise.range_deg,
        faults=performance.faults,
    )
    pose = pose_of(exercise, effort, frame_count)
    _sway(pose, times_s, rng)
    truth = body.landmarks(pose, performance.stature_m, performance.facing_deg)
    landmarks = _seen(truth, performance, rng)
    timestamps = _clock(times_s, rng)
    kept = _kept(times_s, performance, rng)
    bounds_ms = np.array([[rep.start_s, rep.start_s + rep.length_s] for rep in reps]).reshape(-1, 2) * 1000
    return Recording(
        name=performance.exercise,
        landmarks=np.ascontiguousarray(landmarks[kept]),
        timestamp_ms=timestamps[kept],
        true_reps=len(reps),
        rep_bounds_ms=np.round(bounds_ms).astype(np.int64),
    )


def _plan(performance: Performance, exercise: Exercise, rng: np.random.Generator) -> tuple[list[_Rep], float]:
    side = performance.side or exercise.side
    reach = 1.0 - 0.45 * performance.faults.get("shallow", 0.0)
    now_s = performance.idle_before_s
    reps = []
    for number in range(performance.reps):
        sides: tuple[str, ...] = SIDES if side == "both" else (side,)
        if side == "both" and not exercise.sides_together:
            sides = (SIDES[number % 2],)
        length_s = performance.tempo_s * float(np.clip(rng.normal(1, _TEMPO_VARIATION), 0.85, 1.15))
        varied = reach * float(np.clip(rng.normal(1, _RANGE_VARIATION), 0.94, 1.06))
        reps.append(_Rep(now_s, length_s * sum(_shares(exercise, performance.tempo_s)), varied, sides))
        now_s += length_s
    return reps, now_s


def _shares(exercise: Exercise, tempo_s: float) -> tuple[float, float, float]:
    """The way out, the hold and the way back, as shares of a repetition; the rest of it is rest."""
    if not exercise.held:
        return _OUT, _HOLD, _BACK
    way = min(_INTO_HOLD_S / tempo_s, 0.2)
    return way, 1.0 - 3.0 * way, way


def _ease(share: NDArray[np.float64], jerks: float) -> NDArray[np.float64]:
    """Minimum-jerk course from 0 to 1 (Flash and Hogan, J Neurosci 1985), made of stops and starts by ``jerks``."""
    share = np.clip(share, 0, 1)
    eased = share**3 * (10 - 15 * share + 6 * share**2)
    warped: NDArray[np.float64] = eased - min(jerks, 1.0) * np.sin(2 * np.pi * 4 * eased) / (2 * np.pi * 4)
    return warped


def _progress(
    side: str, reps: list[_Rep], times_s: NDArray[np.float64], performance: Performance, rng: np.random.Generator
) -> NDArray[np.float64]:
    progress = np.zeros(len(times_s))
    jerks = performance.faults.get("jerky", 0.0)
    out_share, hold_share, back_share = _shares(EXERCISES[performance.exercise], performance.tempo_s)
    whole = out_share + hold_share + back_share
    for rep in reps:
        if side not in rep.sides:
            continue
        # Only this repetition's frames: the whole course for each would cost frames times repetitions.
        low, high = np.searchsorted(times_s, (rep.start_s, rep.start_s + rep.length_s))
        share = (times_s[low:high] - rep.start_s) / rep.length_s * whole
        out = _ease(share / out_share, jerks)
        back = _ease((share - out_share - hold_share) / back_share, jerks)
        progress[low:high] = rep.reach * (out - back)
    if side == "left":
        progress *= 1 - 0.35 * performance.faults.get("asymmetry", 0.0)
    tremor = performance.faults.get("tremor", 0.0)
    if tremor and any(side in rep.sides for rep in reps):
        range_deg = performance.range_deg or EXERCISES[performance.exercise].range_deg
        wave = np.sin(2 * np.pi * 5.0 * times_s + rng.uniform(0, 2 * np.pi))
        progress += tremor * 2.0 / range_deg * wave * (progress > 0.05)
    return progress


def _sway(pose: body.Pose, times_s: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Nobody stands perfectly still."""

    def wave(size_deg: float, rate_hz: float) -> NDArray[np.float64]:
        moving: NDArray[np.float64] = size_deg * np.sin(2 * np.pi * rate_hz * times_s + rng.uniform(0, 2 * np.pi))
        return moving

    pose.trunk_flexion = pose.trunk_flexion + wave(0.8, 0.23)
    pose.trunk_side = pose.trunk_side + wave(0.6, 0.17)
    for side in SIDES:
        limbs = pose.limbs[side]
        limbs.arm_elevation = limbs.arm_elevation + wave(1.0, 0.3)
        limbs.elbow_flexion = limbs.elbow_flexion + wave(1.5, 0.2)
        limbs.knee_flexion = limbs.knee_flexion + wave(0.6, 0.25)


def _seen(truth: NDArray[np.float64], performance: Performance, rng: np.random.Generator) -> NDArray[np.float32]:
    """What the estimator reports, float32 [N, 33, 4]: correlated noise, a fixed error a landmark, and visibility."""
    seen = np.empty((len(truth), LANDMARK_COUNT, COLUMN_COUNT), dtype=np.float32)
    noise = rng.standard_normal(truth.shape, dtype=np.float32) * np.float32(performance.noise_m)
    noise[1:] *= np.float32(np.sqrt(1 - _NOISE_MEMORY**2))
    noise = lfilter([1.0], [1.0, -_NOISE_MEMORY], noise, axis=0).astype(np.float32)
    bias_m = np.float32(_BIAS * performance.noise_m)
    noise += rng.standard_normal((1, LANDMARK_COUNT, 3), dtype=np.float32) * bias_m
    noise[..., Z] *= np.float32(_DEPTH_NOISE)
    seen[..., :3] = truth + noise
    hips = (seen[:, 23, :3] + seen[:, 24, :3]) / 2
    seen[..., :3] -= hips[:, None, :]  # the estimator's own origin
    flicker = rng.standard_normal(seen.shape[:2], dtype=np.float32) * np.float32(0.02)
    seen[..., VISIBILITY] = np.clip(np.float32(performance.visibility) + flicker, 0, 1)
    return seen


def _clock(times_s: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint32]:
    """Frame times in whole milliseconds, a few off the beat, never two at once."""
    spacing_ms = 1000 * (times_s[1] - times_s[0])
    off = rng.uniform(-0.1, 0.1, len(times_s)) * spacing_ms
    times = np.round(times_s * 1000 + off).clip(0).astype(np.int64)
    order = np.arange(len(times))
    return (np.maximum.accumulate(times - order) + order).astype(np.uint32)


def _kept(times_s: NDArray[np.float64], performance: Performance, rng: np.random.Generator) -> NDArray[np.bool_]:
    kept = np.ones(len(times_s), dtype=bool)
    for _ in range(performance.dropouts):
        begin_s = rng.uniform(times_s[0] + 1, max(times_s[0] + 1, times_s[-1] - performance.dropout_s - 1))
        kept &= (times_s < begin_s) | (times_s > begin_s + performance.dropout_s)
    return kept
