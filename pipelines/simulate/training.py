"""Training exercises: on the floor, at the bar, standing; and positions that are held.

Belongs here: from progress through a repetition to joint angles, for what people do in gyms and in films from anywhere.
Does not belong here: clinical movements (``exercises.py``). Angles at rest and at the end of range are set by eye.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipelines.pose.landmarks import SIDES
from pipelines.simulate.body import Pose
from pipelines.simulate.effort import Effort, Exercise

SUPINE_DEG: Final = -88.0
PRONE_DEG: Final = 78.0  # over the hands, the feet on the floor


def _push_up(pose: Pose, effort: Effort) -> None:
    pose.pitch = pose.constant(PRONE_DEG)
    for side in SIDES:
        limbs, down = pose.limbs[side], effort.progress[side]
        limbs.foot_planted = False
        limbs.elbow_flexion = 10.0 + effort.range_deg * down
        limbs.arm_elevation = 80.0 - 40.0 * down
        limbs.arm_plane = 85.0 - 55.0 * down


def _pull_up(pose: Pose, effort: Effort) -> None:
    for side in SIDES:
        limbs, up = pose.limbs[side], effort.progress[side]
        limbs.foot_planted = False
        limbs.elbow_flexion = 10.0 + effort.range_deg * up
        limbs.arm_elevation = 170.0 - 0.95 * effort.range_deg * up
        limbs.arm_plane = pose.constant(20.0)
    pose.trunk_flexion = pose.trunk_flexion - 8.0 * effort.overall


def _lie_with_bent_knees(pose: Pose) -> None:
    pose.pitch = pose.constant(SUPINE_DEG)
    for side in SIDES:
        limbs = pose.limbs[side]
        limbs.foot_planted = False
        limbs.thigh_flexion = pose.constant(50.0)
        limbs.knee_flexion = pose.constant(95.0)


def _sit_up(pose: Pose, effort: Effort) -> None:
    _lie_with_bent_knees(pose)
    pose.trunk_flexion = pose.trunk_flexion + effort.range_deg * effort.overall
    for side in SIDES:
        pose.limbs[side].arm_elevation = pose.constant(60.0)
        pose.limbs[side].arm_plane = pose.constant(80.0)
        pose.limbs[side].elbow_flexion = pose.constant(110.0)


def _bridge(pose: Pose, effort: Effort) -> None:
    _lie_with_bent_knees(pose)
    for side in SIDES:
        pose.limbs[side].thigh_flexion = 80.0 - effort.range_deg * effort.progress[side]
    pose.pitch = pose.constant(SUPINE_DEG) - 0.5 * effort.range_deg * effort.overall


def _heel_slide(pose: Pose, effort: Effort) -> None:
    pose.pitch = pose.constant(SUPINE_DEG)
    for side in SIDES:
        limbs, moved = pose.limbs[side], effort.progress[side]
        limbs.foot_planted = False
        limbs.knee_flexion = 5.0 + effort.range_deg * moved
        limbs.thigh_flexion = 2.0 + 0.5 * effort.range_deg * moved


def _bench_press(pose: Pose, effort: Effort) -> None:
    pose.pitch = pose.constant(SUPINE_DEG)
    for side in SIDES:
        limbs, down = pose.limbs[side], effort.progress[side]
        limbs.foot_planted = False
        limbs.thigh_flexion, limbs.knee_flexion = pose.constant(20.0), pose.constant(80.0)
        limbs.elbow_flexion = 10.0 + effort.range_deg * down
        limbs.arm_elevation = 90.0 - 30.0 * down
        limbs.arm_plane = 80.0 - 70.0 * down


def _biceps_curl(pose: Pose, effort: Effort) -> None:
    for side in SIDES:
        limbs, moved = pose.limbs[side], effort.progress[side]
        limbs.elbow_flexion = limbs.elbow_flexion + effort.range_deg * moved
        limbs.arm_elevation = limbs.arm_elevation + 8.0 * moved


def _raise(pose: Pose, effort: Effort, plane_deg: float) -> None:
    for side in SIDES:
        limbs, moved = pose.limbs[side], effort.progress[side]
        limbs.arm_elevation = limbs.arm_elevation + effort.range_deg * moved
        limbs.arm_plane = limbs.arm_plane + (plane_deg - 25.0) * np.clip(5 * moved, 0, 1)
        limbs.elbow_flexion = limbs.elbow_flexion + effort.fault("bent_elbow", 60.0) * moved


def _lateral_raise(pose: Pose, effort: Effort) -> None:
    _raise(pose, effort, plane_deg=8.0)


def _front_raise(pose: Pose, effort: Effort) -> None:
    _raise(pose, effort, plane_deg=85.0)


def _jumping_jack(pose: Pose, effort: Effort) -> None:
    for side in SIDES:
        limbs, moved = pose.limbs[side], effort.progress[side]
        limbs.arm_elevation = limbs.arm_elevation + effort.range_deg * moved
        limbs.arm_plane = pose.constant(5.0)
        limbs.thigh_out = limbs.thigh_out + 16.0 * moved
        limbs.shank_out = limbs.shank_out + 18.0 * moved
        limbs.knee_flexion = limbs.knee_flexion + 12.0 * np.sin(np.pi * np.clip(moved, 0, 1))


def _calf_raise(pose: Pose, effort: Effort) -> None:
    for side in SIDES:
        pose.limbs[side].toes_down = effort.range_deg * effort.progress[side]


def _plank(pose: Pose, effort: Effort) -> None:
    """Rest is kneeling on all fours; progress is straightening into the plank."""
    into = effort.overall
    pose.pitch = pose.constant(PRONE_DEG)
    for side in SIDES:
        limbs = pose.limbs[side]
        limbs.foot_planted = False
        limbs.arm_elevation, limbs.arm_plane = pose.constant(80.0), pose.constant(85.0)
        limbs.thigh_flexion = 2.0 + effort.range_deg * (1.0 - into)
        limbs.knee_flexion = 4.0 + effort.range_deg * (1.0 - into)


def _wall_sit(pose: Pose, effort: Effort) -> None:
    for side in SIDES:
        limbs, down = pose.limbs[side], effort.progress[side]
        limbs.knee_flexion = limbs.knee_flexion + effort.range_deg * down
        limbs.thigh_flexion = limbs.thigh_flexion + effort.range_deg * down


def _single_leg_stance(pose: Pose, effort: Effort) -> None:
    """A side's progress is the other side's foot leaving the floor."""
    for side in SIDES:
        other = "left" if side == "right" else "right"
        limbs, lifted = pose.limbs[other], effort.progress[side]
        limbs.thigh_flexion = limbs.thigh_flexion + 0.5 * effort.range_deg * lifted
        limbs.knee_flexion = limbs.knee_flexion + effort.range_deg * lifted


TRAINING: Final = (
    Exercise("push_up", _push_up, range_deg=90.0, side="both"),
    Exercise("pull_up", _pull_up, range_deg=115.0, side="both"),
    Exercise("sit_up", _sit_up, range_deg=75.0, side="both"),
    Exercise("bridge", _bridge, range_deg=45.0, side="both"),
    Exercise("heel_slide", _heel_slide, range_deg=100.0, side="right", sides_together=False),
    Exercise("bench_press", _bench_press, range_deg=85.0, side="both"),
    Exercise("biceps_curl", _biceps_curl, range_deg=115.0, side="both"),
    Exercise("lateral_raise", _lateral_raise, range_deg=80.0, side="both"),
    Exercise("front_raise", _front_raise, range_deg=80.0, side="both"),
    Exercise("jumping_jack", _jumping_jack, range_deg=145.0, side="both"),
    Exercise("calf_raise", _calf_raise, range_deg=32.0, side="both"),
    Exercise("plank", _plank, range_deg=85.0, side="both", held=True),
    Exercise("wall_sit", _wall_sit, range_deg=85.0, side="both", held=True),
    Exercise("single_leg_stance", _single_leg_stance, range_deg=70.0, side="right", sides_together=False, held=True),
)
