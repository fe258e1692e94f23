"""Sets a profile's range and compensations from labelled recordings, and says what that is worth on unseen subjects.

The form of the score is fixed in ``pipelines.pose.scoring``; what is found here are its figures. What is allowed is
what three in four correct repetitions stay within; weights come from a logistic regression in which a fault can only
cost score, never earn it, and in which few faults are kept. Each figure can be read, doubted and edited in the profile.
"""

from __future__ import annotations

import tomllib
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from pipelines.evaluate.dataset import CORRECT, Sequence
from pipelines.evaluate.metrics import auc
from pipelines.pose.angles import Body
from pipelines.pose.motion import counting_rule, excursions, measure
from pipelines.pose.profile import Compensation, MovementProfile
from pipelines.pose.scoring import WORST, Windows, excesses, fault_penalty, movements, peak_rom, unfitted_penalty
from pipelines.pose.segmentation import repetitions
from pipelines.pose.signals import timeline

Float64s = NDArray[np.float64]
Kept = tuple[Compensation, ...]

ALLOWED_PERCENTILE: Final = 75.0
SEVERE_PERCENTILE: Final = 90.0  # of the incorrect repetitions
SMALLEST_ALLOWED_DEG: Final = 3.0  # a tracker's own wobble
SEVERE_BOUNDS_DEG: Final = (5.0, 45.0)  # nothing finer can be told from landmarks; more is a lost landmark
SPARSITY: Final = 0.045
SMALLEST_WEIGHT: Final = 0.05

LEG_ANGLES: Final = frozenset({"knee_flexion", "hip_flexion", "thigh_elevation"})
ARM_ANGLES: Final = frozenset({"elbow_flexion", "shoulder_elevation", "arm_forward", "forearm_elevation"})

# Name, angle, side, direction. The names follow the published faults of the movements (Vakanski et al., Data 2018).
_CANDIDATES: Final = (
    ("trunk_forward_lean", "trunk_flexion", "working", "over"),
    ("trunk_backward_lean", "trunk_flexion", "working", "under"),
    ("trunk_side_lean", "trunk_side_lean", "working", "either"),
    ("trunk_rotation", "trunk_rotation", "working", "either"),
    ("head_forward", "head_flexion", "working", "over"),
    ("head_backward", "head_flexion", "working", "under"),
    ("head_side_tilt", "head_side_lean", "working", "either"),
    ("pelvis_tilt", "pelvis_obliquity", "working", "either"),
    ("shoulder_tilt", "shoulder_obliquity", "working", "either"),
    ("knee_valgus", "knee_valgus", "each", "over"),
    ("knee_varus", "knee_valgus", "each", "under"),
    ("knee_bend", "knee_flexion", "working", "over"),
    ("other_knee_bend", "knee_flexion", "other", "over"),
    ("other_hip_bend", "hip_flexion", "other", "over"),
    ("leg_swings_out", "hip_abduction", "working", "over"),
    ("leg_crosses_over", "hip_abduction", "working", "under"),
    ("shallow_knee", "knee_flexion", "working", "short"),
    ("shallow_hip", "thigh_elevation", "working", "short"),
    ("elbow_bend", "elbow_flexion", "working", "over"),
    ("elbow_moves", "elbow_flexion", "working", "either"),
    ("other_arm_moves", "shoulder_elevation", "other", "either"),
    ("arm_drops", "shoulder_elevation", "working", "under"),
    ("arm_rises", "shoulder_elevation", "working", "over"),
    ("arm_leaves_plane", "arm_forward", "working", "either"),
    ("forearm_drops", "forearm_elevation", "each", "under"),
)
CANDIDATES: Final = tuple(
    msgspec.convert(
        {"name": name, "angle": angle, "side": side, "direction": direction, "allowed_deg": 0.0, "severe_deg": 1.0},
        Compensation,
    )
    for name, angle, side, direction in _CANDIDATES
)


class Labelled(msgspec.Struct, frozen=True, kw_only=True):
    """R repetitions of one exercise; in ``amount`` more is worse, and its last row is the range of motion."""

    amount: Float64s  # [F, R]
    unfitted: Float64s  # [R] the penalty of tempo, consistency and the faults written by hand
    correct: NDArray[np.bool_]  # [R]
    subject: NDArray[np.str_]  # [R]
    dataset: NDArray[np.str_]  # [R]


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """One figure a fault [F]; ``allowed`` is signed like ``amount``."""

    allowed: Float64s
    severe: Float64s
    weight: Float64s

    def penalty(self, amount: Float64s) -> Float64s:
        """[R] as the score takes it."""
        excess = np.clip((amount - self.allowed[:, None]) / self.severe[:, None], 0.0, WORST)
        penalty: Float64s = self.weight @ excess
        return penalty


def candidates(profile: MovementProfile, kept: Kept = ()) -> tuple[Compensation, ...]:
    """What may be held against a repetition beside the faults in ``kept``, which are written by hand.

    Not the exercise's own angle; not the arms in a leg exercise, which most people swing for balance; and nothing of
    "the other side" where both work.
    """
    written = {each.angle for each in kept}
    own = {profile.primary.angle, profile.primary.counted_angle}
    free = ARM_ANGLES if profile.primary.angle in LEG_ANGLES else frozenset()
    bilateral = profile.primary.sides == "bilateral"
    return tuple(
        each
        for each in CANDIDATES
        if each.angle not in free | written and (not bilateral if each.side == "other" else each.angle not in own)
    )


def observe(sequences: list[Sequence], profile: MovementProfile, kept: Kept = ()) -> Labelled:
    """Measures every candidate in every repetition of labelled recordings of one exercise."""
    amounts: list[Float64s] = []
    unfitted: list[Float64s] = []
    correct: list[bool] = []
    subject: list[str] = []
    dataset: list[str] = []
    named = candidates(profile, kept)
    sign = np.array([[-1.0 if each.direction == "short" else 1.0] for each in named])
    for sequence in sequences:
        line = timeline(sequence.timestamp_ms)
        body = Body(sequence.landmarks_m)
        motion = measure(body, sequence.landmarks_m, line, profile)
        found = repetitions(motion.counted, counting_rule(profile))
        if not found or sequence.entry.label is None:
            continue
        starts, peaks, ends = (np.array([getattr(rep, name) for rep in found]) for name in ("start", "peak", "end"))
        windows = Windows(starts=starts, peaks=peaks, ends=ends, duration_ms=line.grid_ms[ends] - line.grid_ms[starts])
        moved = excursions(motion, profile.primary, starts, ends)
        amount = sign * movements(body, line, named, windows, moved.side)
        rom = peak_rom(moved)
        amounts.append(np.vstack((amount, -rom)))
        by_hand = fault_penalty(kept, excesses(kept, movements(body, line, kept, windows, moved.side))) if kept else 0.0
        unfitted.append(unfitted_penalty(rom, windows, profile) + by_hand)
        correct += [sequence.entry.label == CORRECT] * len(found)
        subject += [sequence.entry.subject] * len(found)
        dataset += [sequence.entry.dataset] * len(found)
    return Labelled(
        amount=np.concatenate(amounts, axis=1) if amounts else np.empty((len(named) + 1, 0)),
        unfitted=np.concatenate(unfitted) if unfitted else np.empty(0),
        correct=np.array(correct, dtype=np.bool_),
        subject=np.array(subject),
        dataset=np.array(dataset),
    )


def fit(amount: Float64s, correct: NDArray[np.bool_]) -> Fitted:
    """Figures from repetitions [F, R] of which some are correct and some are not.

    The scale is such that the repetition the model is undecided about scores 50.
    """
    allowed = np.percentile(amount[:, correct], ALLOWED_PERCENTILE, axis=1)
    wrong = np.percentile(amount[:, ~correct], SEVERE_PERCENTILE, axis=1)
    allowed = np.where((allowed >= 0.0) & (allowed < SMALLEST_ALLOWED_DEG), SMALLEST_ALLOWED_DEG, allowed)
    severe = np.clip(wrong - allowed, *SEVERE_BOUNDS_DEG)
    excess = np.clip((amount - allowed[:, None]) / severe[:, None], 0.0, WORST)
    sign = np.where(correct, -1.0, 1.0)
    faults = len(amount)

    def loss(parameters: Float64s) -> tuple[float, Float64s]:
        weight, offset = parameters[:faults], parameters[faults]
        margin = sign * (offset - weight @ excess)
        slope = sign / (1.0 + np.exp(-margin))
        value = np.logaddexp(0.0, margin).mean() + SPARSITY * (weight.sum() + weight @ weight)
        gradient = -(excess * slope).mean(axis=1) + SPARSITY * (1.0 + 2.0 * weight)
        return float(value), np.append(gradient, slope.mean())

    bounds = [(0.0, None)] * faults + [(0.05, None)]
    start = np.append(np.zeros(faults), 1.0)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    weight = np.asarray(found[:faults]) * (np.log(2.0) / found[faults])
    return Fitted(allowed=allowed, severe=severe, weight=np.where(weight < SMALLEST_WEIGHT, 0.0, weight))


def leave_one_subject_out(labelled: Labelled, *, whole_score: bool) -> dict[str, float | None]:
    """AUC by data set of repetitions scored by figures from the other subjects only.

    Either of the whole form score, or of range and compensations alone.
    """
    penalty = labelled.unfitted.copy() if whole_score else np.zeros(len(labelled.correct))
    for subject in np.unique(labelled.subject):
        held_out = labelled.subject == subject
        fitted = fit(labelled.amount[:, ~held_out], labelled.correct[~held_out])
        penalty[held_out] += fitted.penalty(labelled.amount[:, held_out])
    result: dict[str, float | None] = {}
    for dataset in np.unique(labelled.dataset):
        own = labelled.dataset == dataset
        result[str(dataset)] = auc(-penalty[own & labelled.correct], -penalty[own & ~labelled.correct])
    return result


MARKER: Final = "# Set by `restartix calibrate`; edit freely, a new calibration replaces what follows."


def as_toml(profile: MovementProfile, fitted: Fitted, kept: Kept = ()) -> str:
    """The ``[target]`` and ``[[compensations]]`` of a profile file, heaviest first."""
    lines = [
        MARKER,
        "",
        "[target]",
        f"low_deg = {-fitted.allowed[-1]:.1f}",
        f"tolerance_deg = {fitted.severe[-1]:.1f}",
        f"weight = {fitted.weight[-1]:.2f}",
    ]
    named = candidates(profile, kept)
    for i in np.argsort(-fitted.weight[:-1], kind="stable"):
        if fitted.weight[i] <= 0.0:
            continue
        each = named[i]
        lines += [
            "",
            "[[compensations]]",
            f'name = "{each.name}"',
            f'angle = "{each.angle}"',
            f'side = "{each.side}"',
            f'direction = "{each.direction}"',
            f"allowed_deg = {abs(fitted.allowed[i]):.1f}",
            f"severe_deg = {fitted.severe[i]:.1f}",
            f"weight = {fitted.weight[i]:.2f}",
        ]
    return "\n".join(lines) + "\n"


def _head(text: str) -> str:
    """What a calibration leaves alone: all before the marker, or before the first figure where there is none yet."""
    if MARKER in text:
        return text[: text.index(MARKER)]
    figures = [text.index(start) for start in ("[target]", "[[compensations]]") if start in text]
    return text[: min(figures, default=len(text))]


def written_by_hand(text: str) -> Kept:
    """The compensations of a profile file that stand above the marker: published limits that no recording may move."""
    return msgspec.convert(tomllib.loads(_head(text)).get("compensations", []), Kept)


def recalibrated(text: str, profile: MovementProfile, fitted: Fitted) -> str:
    """A profile file's text with what follows the marker replaced; the rest of the file stays as it was written."""
    return _head(text).rstrip() + "\n\n" + as_toml(profile, fitted, written_by_hand(text))
