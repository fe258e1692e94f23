"""What labelled recordings of one exercise show, repetition by repetition: the figures a reference is learnt from.

Belongs here: which angles may be held against a repetition, and measuring them. Does not belong here: learning
(``fitting``), judging what was learnt (``left_out``).
"""

from __future__ import annotations

from collections.abc import Sequence as Ordered
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.evaluate.dataset import CORRECT, Sequence
from pipelines.pose.body import Body
from pipelines.pose.motion import counting_rule, excursions, measure
from pipelines.pose.profile import Compensation, MovementProfile
from pipelines.pose.rep_metrics import smoothness_of
from pipelines.pose.scoring import asymmetry_percent, judged_windows, movements, peak_rom
from pipelines.pose.segmentation import repetitions
from pipelines.pose.signals import timeline
from pipelines.pose.template import Filtered, channels_of, curves

Float64s = NDArray[np.float64]

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
    """R repetitions of one exercise."""

    amount: Float64s  # [F, R] more is worse; the last row is the range of motion, negated
    curve: tuple[Float64s, ...]  # [S, R, P] one a channel in ``channels_of``
    sparc: Float64s  # [R]
    asymmetry_percent: Float64s  # [R]
    correct: NDArray[np.bool_]  # [R]
    subject: NDArray[np.str_]  # [R]
    dataset: NDArray[np.str_]  # [R]
    recording: NDArray[np.str_]  # [R]

    def of(self, kept: NDArray[np.bool_]) -> Labelled:
        """The repetitions [R] that are ``kept``."""
        return Labelled(
            amount=self.amount[:, kept],
            curve=tuple(curve[:, kept] for curve in self.curve),
            sparc=self.sparc[kept],
            asymmetry_percent=self.asymmetry_percent[kept],
            correct=self.correct[kept],
            subject=self.subject[kept],
            dataset=self.dataset[kept],
            recording=self.recording[kept],
        )

    @property
    def enough(self) -> bool:
        """Whether anything can be learnt: correct and incorrect repetitions, of at least two subjects."""
        return bool(len(set(self.subject)) > 1 and self.correct.any() and not self.correct.all())


def candidates(profile: MovementProfile) -> tuple[Compensation, ...]:
    """What may be held against a repetition beside the faults that the profile names by hand.

    Not the exercise's own angle; not the arms in a leg exercise, which most people swing for balance; nothing of "the
    other side" where both work.
    """
    written = {each.angle for each in profile.compensations}
    own = {profile.primary.angle, profile.primary.counted_angle}
    free = ARM_ANGLES if profile.primary.angle in LEG_ANGLES else frozenset()
    bilateral = profile.primary.sides == "bilateral"
    return tuple(
        each
        for each in CANDIDATES
        if each.angle not in free | written and (not bilateral if each.side == "other" else each.angle not in own)
    )


def _one(sequence: Sequence, profile: MovementProfile) -> Labelled | None:
    if sequence.entry.label is None:
        return None
    line = timeline(sequence.timestamp_ms)
    body = Body(sequence.landmarks_m)
    motion = measure(body, sequence.landmarks_m, line, profile)
    found = repetitions(motion.counted, counting_rule(profile))
    if not found:
        return None
    judged = judged_windows(found, line)
    moved = excursions(motion, profile.primary, judged.starts, judged.ends)
    worked = np.array(moved.side)
    signals = Filtered(body, line)
    named = candidates(profile)
    sign = np.array([[-1.0 if each.direction == "short" else 1.0] for each in named])
    return Labelled(
        amount=np.vstack((sign * movements(signals, named, judged, worked), -peak_rom(moved))),
        curve=tuple(curves(signals, channel, judged.starts, judged.ends, worked) for channel in channels_of(profile)),
        sparc=smoothness_of(found, motion, moved),
        asymmetry_percent=asymmetry_percent(moved, profile),
        correct=np.full(len(found), sequence.entry.label == CORRECT),
        subject=np.full(len(found), sequence.entry.subject),
        dataset=np.full(len(found), sequence.entry.dataset),
        recording=np.full(len(found), sequence.entry.sequence_id),
    )


def observe(sequences: Ordered[Sequence], profile: MovementProfile) -> Labelled | None:
    """Measures every candidate in every repetition of labelled recordings; None where there is no repetition.

    ``profile`` is the one written by hand, without anything fitted.
    """
    seen = [each for each in (_one(sequence, profile) for sequence in sequences) if each is not None]
    if not seen:
        return None
    return Labelled(
        amount=np.concatenate([each.amount for each in seen], axis=1),
        curve=tuple(np.concatenate(of_channel, axis=1) for of_channel in zip(*(e.curve for e in seen), strict=True)),
        **{
            name: np.concatenate([getattr(each, name) for each in seen])
            for name in ("sparc", "asymmetry_percent", "correct", "subject", "dataset", "recording")
        },
    )
