"""A kinematic body: joint angles over time -> the 33 BlazePose world landmarks.

Belongs here: segment lengths and forward kinematics. Does not belong here: which angles an exercise takes
(``exercises.py``), when, and what a camera adds (``performance.py``).

Segment lengths are fractions of stature (Drillis and Contini, "Body Segment Parameters", 1966); face, hand and foot
points are placed by eye. Angles follow ``pipelines.pose.angles``: degrees, 0 in the anatomical position.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipelines.pose.landmarks import LANDMARK_COUNT, SIDES, Landmark, sided

Angles: TypeAlias = NDArray[np.float64]  # [N] degrees
Points: TypeAlias = NDArray[np.float64]  # [N, 3] to the patient's left, up, forward

TRUNK: Final = 0.288
UPPER_ARM: Final = 0.186
FOREARM: Final = 0.146
THIGH: Final = 0.245
SHANK: Final = 0.246
HALF_SHOULDERS: Final = 0.104
HALF_HIPS: Final = 0.058
ANKLE_HEIGHT: Final = 0.039

_LEFT: Final = np.array([1.0, 0.0, 0.0])
_UP: Final = np.array([0.0, 1.0, 0.0])
_FORWARD: Final = np.array([0.0, 0.0, 1.0])

# Landmark of the head: (to its own side, up, forward) from mid-shoulder, in statures.
_HEAD: Final[dict[Landmark, tuple[float, float, float]]] = {
    Landmark.NOSE: (0.0, 0.130, 0.060),
    Landmark.LEFT_EYE_INNER: (0.010, 0.150, 0.052),
    Landmark.LEFT_EYE: (0.018, 0.151, 0.050),
    Landmark.LEFT_EYE_OUTER: (0.026, 0.150, 0.046),
    Landmark.LEFT_EAR: (0.042, 0.140, 0.005),
    Landmark.MOUTH_LEFT: (0.014, 0.110, 0.050),
}
# Landmark of the hand: (along the forearm, across it) from the wrist, in statures.
_HAND: Final[dict[str, tuple[float, float]]] = {
    "pinky": (0.048, -0.016),
    "index": (0.054, 0.012),
    "thumb": (0.028, 0.022),
}


@dataclass(slots=True)
class Limbs:
    """One side's angles over time."""

    thigh_flexion: Angles  # against the vertical, forward
    knee_flexion: Angles
    arm_elevation: Angles  # against the trunk
    thigh_out: Angles  # in the frontal plane, away from the midline
    shank_out: Angles
    arm_plane: Angles  # 0 to the side, 90 ahead
    elbow_flexion: Angles
    toes_down: Angles  # against the level foot of a standing body
    foot_planted: bool = True  # flat on the floor, else at a right angle to the shank


@dataclass(slots=True)
class Pose:
    """A body's angles over N frames, standing still with hanging arms unless changed."""

    count: int
    trunk_flexion: Angles = field(init=False)
    trunk_side: Angles = field(init=False)  # towards the left
    pitch: Angles = field(init=False)  # the whole body about its left-right axis: 0 upright, 90 prone, -90 supine
    limbs: dict[str, Limbs] = field(init=False)

    def __post_init__(self) -> None:
        self.trunk_flexion = self.constant(2.0)
        self.trunk_side = self.constant(0.0)
        self.pitch = self.constant(0.0)
        self.limbs = {
            side: Limbs(
                thigh_flexion=self.constant(2.0),
                knee_flexion=self.constant(4.0),
                arm_elevation=self.constant(9.0),
                thigh_out=self.constant(7.0),
                shank_out=self.constant(2.0),
                arm_plane=self.constant(25.0),
                elbow_flexion=self.constant(12.0),
                toes_down=self.constant(0.0),
            )
            for side in SIDES
        }

    def constant(self, degrees: float) -> Angles:
        return np.full(self.count, degrees)


def landmarks(pose: Pose, stature_m: float, facing_deg: float) -> NDArray[np.float64]:
    """World landmarks [N, 33, 3] in metres: x to image right, y down, z away from the camera, origin mid-hip.

    ``facing_deg``: how far the body is turned from the camera, 0 looking into it, positive to the image's right.
    """
    points = np.zeros((pose.count, LANDMARK_COUNT, 3))
    left, up, forward = _trunk_axes(pose)
    neck = TRUNK * up
    _place_head(points, neck, up)
    for side in SIDES:
        out = 1.0 if side == "left" else -1.0
        _place_arm(points, side, pose.limbs[side], neck, (out * left, up, forward))
        _place_leg(points, side, pose.limbs[side], out * _LEFT)
    if pose.pitch.any():
        cosine, sine = _cos(pose.pitch), _sin(pose.pitch)
        points[..., 1], points[..., 2] = (
            cosine * points[..., 1] - sine * points[..., 2],
            sine * points[..., 1] + cosine * points[..., 2],
        )
    turn = np.deg2rad(facing_deg)
    x = points[..., 0] * np.cos(turn) + points[..., 2] * np.sin(turn)
    z = points[..., 0] * np.sin(turn) - points[..., 2] * np.cos(turn)
    return np.stack((x, -points[..., 1], z), axis=-1) * stature_m


def _sin(degrees: Angles) -> Points:
    return np.sin(np.deg2rad(degrees))[:, None]


def _cos(degrees: Angles) -> Points:
    return np.cos(np.deg2rad(degrees))[:, None]


def _unit(vectors: Points) -> Points:
    unit: Points = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _without(vectors: Points, axis: Points) -> Points:
    """The unit direction of what is left of ``vectors`` without their part along the unit ``axis``."""
    return _unit(vectors - np.sum(vectors * axis, axis=1, keepdims=True) * axis)


def _trunk_axes(pose: Pose) -> tuple[Points, Points, Points]:
    flexion, side = pose.trunk_flexion, pose.trunk_side
    up = _sin(side) * _LEFT + _cos(side) * (_cos(flexion) * _UP + _sin(flexion) * _FORWARD)
    left = _without(np.broadcast_to(_LEFT, up.shape), up)
    return left, up, np.cross(left, up)


def _place_head(points: NDArray[np.float64], neck: Points, trunk_up: Points) -> None:
    up = _unit(trunk_up + _UP)  # the head stays half-way upright
    left = _without(np.broadcast_to(_LEFT, up.shape), up)
    forward = np.cross(left, up)
    for landmark, (across, above, ahead) in _HEAD.items():
        points[:, landmark] = neck + across * left + above * up + ahead * forward
        if "LEFT" in landmark.name:
            other = Landmark[landmark.name.replace("LEFT", "RIGHT")]
            points[:, other] = neck - across * left + above * up + ahead * forward


def _place_arm(
    points: NDArray[np.float64], side: str, limbs: Limbs, neck: Points, axes: tuple[Points, Points, Points]
) -> None:
    out, up, forward = axes
    elevation, plane = limbs.arm_elevation, limbs.arm_plane
    arm = -_cos(elevation) * up + _sin(elevation) * (_cos(plane) * out + _sin(plane) * forward)
    # The elbow bends forwards where the arm hangs or is out to the side, upwards where it is ahead.
    bend = _cos(elevation) * forward + _sin(elevation) * (_sin(plane) * up + _cos(plane) * forward)
    bend = _without(bend, arm)
    forearm = _cos(limbs.elbow_flexion) * arm + _sin(limbs.elbow_flexion) * bend
    shoulder = neck + HALF_SHOULDERS * out
    elbow = shoulder + UPPER_ARM * arm
    wrist = elbow + FOREARM * forearm
    points[:, sided("shoulder", side)] = shoulder
    points[:, sided("elbow", side)] = elbow
    points[:, sided("wrist", side)] = wrist
    across = _without(bend + 0.2 * out, forearm)
    for name, (along, aside) in _HAND.items():
        points[:, sided(name, side)] = wrist + along * forearm + aside * across


def _place_leg(points: NDArray[np.float64], side: str, limbs: Limbs, out: NDArray[np.float64]) -> None:
    flexion, lean_back = limbs.thigh_flexion, limbs.knee_flexion - limbs.thigh_flexion
    thigh = _cos(limbs.thigh_out) * (_sin(flexion) * _FORWARD - _cos(flexion) * _UP) + _sin(limbs.thigh_out) * out
    shank = _cos(limbs.shank_out) * (-_sin(lean_back) * _FORWARD - _cos(lean_back) * _UP) + _sin(limbs.shank_out) * out
    hip = np.broadcast_to(HALF_HIPS * out, thigh.shape)
    knee = hip + THIGH * thigh
    ankle = knee + SHANK * shank
    toes = np.broadcast_to(_unit((_FORWARD + 0.15 * out)[None, :]), thigh.shape)
    down = np.broadcast_to(-_UP, thigh.shape)
    if not limbs.foot_planted:
        toes, down = _without(toes, shank), shank
    if limbs.toes_down.any():
        pitched = _cos(limbs.toes_down), _sin(limbs.toes_down)
        toes, down = pitched[0] * toes + pitched[1] * down, pitched[0] * down - pitched[1] * toes
    points[:, sided("hip", side)] = hip
    points[:, sided("knee", side)] = knee
    points[:, sided("ankle", side)] = ankle
    points[:, sided("heel", side)] = ankle + ANKLE_HEIGHT * down - 0.030 * toes
    points[:, sided("foot_index", side)] = ankle + ANKLE_HEIGHT * down + 0.105 * toes
