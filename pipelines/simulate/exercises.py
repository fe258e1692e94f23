"""How each exercise moves the body, done well or with a fault.

Belongs here: from progress through a repetition (0 at rest, 1 at its end of range) to joint angles. Does not belong
here: timing, noise (``performance.py``), geometry (``body.py``), training exercises (``training.py``), and how an
exercise is judged (``pipelines.pose.profiles``).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipelines.pose.landmarks import SIDES
from pipelines.simulate.body import Angles, Limbs, Pose
from pipelines.simulate.effort import Effort, Exercise
from pipelines.simulate.training import TRAINING

# What can go wrong, at strength 1.
FAULTS: Final[dict[str, str]] = {
    "knee_valgus": "the knees fall inwards, to 30 degrees of valgus",
    "trunk_lean": "the trunk leans 35 degrees further forward",
    "side_lean": "the trunk leans 25 degrees to the side",
    "shallow": "only 55 % of the range is reached",
    "jerky": "each movement is made in four jerks",
    "asymmetry": "the left side reaches only 65 % of the right's range",
    "tremor": "the moving joint trembles by 2 degrees, five times a second",
    "bent_knee": "a knee that should stay straight bends by 45 degrees",
    "bent_elbow": "an elbow that should stay straight bends by 60 degrees",
}


def pose_of(exercise: Exercise, effort: Effort, count: int) -> Pose:
    """The body's angles over ``count`` frames."""
    pose = Pose(count)
    exercise.move(pose, effort)
    working = effort.progress["right"].sum() >= effort.progress["left"].sum()
    pose.trunk_side = pose.trunk_side + (-1 if working else 1) * effort.fault("side_lean", 25.0) * effort.overall
    pose.trunk_flexion = pose.trunk_flexion + effort.fault("trunk_lean", 35.0) * effort.overall
    return pose


def _valgus(limbs: Limbs, effort: Effort, moved: Angles) -> None:
    """The knees go in to 15 degrees inside hip and ankle each, from wherever they should be."""
    share = effort.fault("knee_valgus", 1.0) * moved
    limbs.thigh_out = limbs.thigh_out + share * (-15.0 - limbs.thigh_out)
    limbs.shank_out = limbs.shank_out + share * (15.0 - limbs.shank_out)


def _deep_squat(pose: Pose, effort: Effort) -> None:
    for side in SIDES:
        limbs, moved = pose.limbs[side], effort.progress[side]
        limbs.knee_flexion = limbs.knee_flexion + effort.range_deg * moved
        limbs.thigh_flexion = limbs.thigh_flexion + 0.87 * effort.range_deg * moved
        limbs.thigh_out = limbs.thigh_out + 15.0 * moved  # the knees go out over the toes
        limbs.shank_out = limbs.shank_out - 4.0 * moved
        limbs.arm_plane = pose.constant(80.0)
        limbs.arm_elevation = 20.0 + 70.0 * effort.overall
        _valgus(limbs, effort, moved)
    pose.trunk_flexion = pose.trunk_flexion + 0.22 * effort.range_deg * effort.overall


def _sit_to_stand(pose: Pose, effort: Effort) -> None:
    """Rest is sitting; progress is rising."""
    for side in SIDES:
        limbs, up = pose.limbs[side], effort.progress[side]
        seated = 5.0 + effort.range_deg
        limbs.knee_flexion = seated - effort.range_deg * up
        limbs.thigh_flexion = (seated - 3.0) - (effort.range_deg - 1.0) * up
        limbs.arm_plane = pose.constant(70.0)
        limbs.arm_elevation = 30.0 - 18.0 * up
        limbs.elbow_flexion = 45.0 - 30.0 * up
        _valgus(limbs, effort, np.sin(np.pi * np.clip(up, 0, 1)))
    # The trunk leans forward to lift off the chair and is upright before and after.
    pose.trunk_flexion = 4.0 + 24.0 * np.sin(np.pi * np.clip(effort.overall, 0, 1)) ** 2


def _raise_arm(pose: Pose, effort: Effort, plane_deg: float) -> None:
    for side in SIDES:
        limbs, moved = pose.limbs[side], effort.progress[side]
        limbs.arm_elevation = limbs.arm_elevation + effort.range_deg * moved
        limbs.arm_plane = limbs.arm_plane + (plane_deg - 25.0) * np.clip(5 * moved, 0, 1)
        limbs.elbow_flexion = limbs.elbow_flexion - 6.0 * moved + effort.fault("bent_elbow", 60.0) * moved


def _shoulder_abduction(pose: Pose, effort: Effort) -> None:
    _raise_arm(pose, effort, plane_deg=8.0)


def _shoulder_flexion(pose: Pose, effort: Effort) -> None:
    _raise_arm(pose, effort, plane_deg=85.0)


def _straight_leg_raise(pose: Pose, effort: Effort) -> None:
    """Standing: the leg is lifted forward with a straight knee."""
    for side in SIDES:
        limbs, moved = pose.limbs[side], effort.progress[side]
        bend = 3.0 * moved + effort.fault("bent_knee", 45.0) * moved
        limbs.thigh_flexion = limbs.thigh_flexion + effort.range_deg * moved
        limbs.knee_flexion = limbs.knee_flexion + bend
        limbs.foot_planted = not np.any(moved > 0.01)
    pose.trunk_flexion = pose.trunk_flexion - 4.0 * effort.overall


def _hip_abduction(pose: Pose, effort: Effort) -> None:
    """Standing: the leg is lifted to the side."""
    for side in SIDES:
        limbs, moved = pose.limbs[side], effort.progress[side]
        limbs.thigh_out = limbs.thigh_out + effort.range_deg * moved
        limbs.shank_out = limbs.shank_out + effort.range_deg * moved
        limbs.foot_planted = not np.any(moved > 0.01)


def _seated_knee_extension(pose: Pose, effort: Effort) -> None:
    """Sitting: the shank is lifted until the knee is straight."""
    for side in SIDES:
        limbs, moved = pose.limbs[side], effort.progress[side]
        limbs.thigh_flexion = pose.constant(85.0)
        limbs.knee_flexion = 90.0 - effort.range_deg * moved
        limbs.arm_elevation = pose.constant(30.0)
        limbs.arm_plane = pose.constant(70.0)
        limbs.elbow_flexion = pose.constant(45.0)
        limbs.foot_planted = not np.any(moved > 0.01)


EXERCISES: Final[dict[str, Exercise]] = {
    exercise.name: exercise
    for exercise in (
        Exercise("deep_squat", _deep_squat, range_deg=118.0, side="both"),
        Exercise("sit_to_stand", _sit_to_stand, range_deg=88.0, side="both"),
        Exercise("shoulder_abduction", _shoulder_abduction, range_deg=145.0, side="right"),
        Exercise("straight_leg_raise", _straight_leg_raise, range_deg=75.0, side="right", sides_together=False),
        Exercise("shoulder_flexion", _shoulder_flexion, range_deg=145.0, side="right"),
        Exercise("hip_abduction", _hip_abduction, range_deg=38.0, side="right", sides_together=False),
        Exercise("seated_knee_extension", _seated_knee_extension, range_deg=80.0, side="right", sides_together=False),
        *TRAINING,
    )
}
