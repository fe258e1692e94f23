"""Joint angles from world landmarks, vectorised over frames. No filtering, no events, no scores.

Belongs here: each angle by its name. Does not belong here: points, vectors and axes (``body``).

Every angle is in degrees and is 0 in the anatomical position unless its line below says otherwise, so that a peak reads
as clinicians write it (neutral-zero method; Ryf and Weymann, 1995). Frontal and sagittal planes are the patient's own:
spanned by the vertical and the hip line (Wu et al., ISB recommendation, J Biomech 2002, adapted to landmarks).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from pipelines.pose.body import (
    DEGREES_A_RADIAN,
    SMALLEST_LENGTH_M,
    Body,
    Signal,
    between,
    degrees,
    dot,
    length,
    turned_from,
    unit,
)
from pipelines.pose.landmarks import Landmark, sided


def knee_flexion(body: Body, side: str) -> Signal:
    return between(body.segment("hip", "knee", side), body.segment("knee", "ankle", side))


def hip_flexion(body: Body, side: str) -> Signal:
    """Thigh against the trunk's own side, in three dimensions."""
    return between(body.segment("shoulder", "hip", side), body.segment("hip", "knee", side))


def elbow_flexion(body: Body, side: str) -> Signal:
    return between(body.segment("shoulder", "elbow", side), body.segment("elbow", "wrist", side))


def ankle_dorsiflexion(body: Body, side: str) -> Signal:
    """Shank against the foot; 0 where they stand at a right angle, positive as the shin leans over the foot."""
    shank = body.segment("ankle", "knee", side)
    return np.float32(90.0) - between(shank, body.segment("ankle", "foot_index", side))


def heel_lift(body: Body, side: str) -> Signal:
    """Foot against the level, seen from the side: positive where the heel is above the toes."""
    foot = body.segment("foot_index", "heel", side)
    return degrees(-foot[1], np.sqrt(foot[0] ** 2 + foot[2] ** 2))


def foot_lift(body: Body, side: str) -> Signal:
    """How much higher the ankle of ``side`` is than the other: the angle whose sine that is, over the leg's length."""
    other = "right" if side == "left" else "left"
    leg = length(body.segment("hip", "knee", other)) + length(body.segment("knee", "ankle", other))
    higher = body.joint("ankle", other)[1] - body.joint("ankle", side)[1]
    lift: Signal = np.arcsin(np.clip(higher / np.maximum(leg, SMALLEST_LENGTH_M), -1.0, 1.0)) * DEGREES_A_RADIAN
    return lift


def shoulder_elevation(body: Body, side: str) -> Signal:
    """Upper arm against the trunk, whatever the plane: 0 hanging, 180 overhead."""
    return between(body.segment("shoulder", "elbow", side), -body.trunk)


def shoulder_flexion(body: Body, side: str) -> Signal:
    """Upper arm in the sagittal plane, against the vertical: 0 hanging, 90 ahead, 180 overhead, negative backward."""
    arm = body.segment("shoulder", "elbow", side)
    return turned_from(degrees(dot(arm, body.forward), arm[1]), -90.0)


def arm_forward(body: Body, side: str) -> Signal:
    """Upper arm out of the frontal plane, -90..90: positive in front of it, negative behind. Defined in every pose."""
    arm = body.segment("shoulder", "elbow", side)
    ahead = dot(arm, body.forward)
    return degrees(ahead, np.sqrt(np.maximum(dot(arm, arm) - ahead * ahead, 0.0)))


def shoulder_extension(body: Body, side: str) -> Signal:
    """Upper arm behind the frontal plane."""
    return -arm_forward(body, side)


def shoulder_rotation(body: Body, side: str) -> Signal:
    """Forearm about the upper arm: 90 up (external rotation), 0 level and forward, -90 down (internal rotation).

    A straight elbow leaves the rotation undefined, so below 45 degrees of flexion it fades to 0.
    """
    arm = unit(body.segment("shoulder", "elbow", side))
    forearm = body.segment("elbow", "wrist", side)
    across = forearm - arm * dot(forearm, arm)
    bent = length(across) / np.maximum(length(forearm), SMALLEST_LENGTH_M) / np.float32(0.7)
    rotation = turned_from(degrees(-across[1], dot(across, body.forward)), -135.0)
    return rotation * np.minimum(bent, np.float32(1.0))


def forearm_elevation(body: Body, side: str) -> Signal:
    """Forearm against the level: 90 pointing up, -90 hanging."""
    forearm = body.segment("elbow", "wrist", side)
    return degrees(-forearm[1], np.sqrt(forearm[0] ** 2 + forearm[2] ** 2))


def thigh_elevation(body: Body, side: str) -> Signal:
    """Thigh against the vertical: 0 standing, 90 level."""
    thigh = body.segment("hip", "knee", side)
    return degrees(np.sqrt(thigh[0] ** 2 + thigh[2] ** 2), thigh[1])


def leg_elevation(body: Body, side: str) -> Signal:
    """Whole leg, hip to ankle, against the trunk: 0 in line with it."""
    return between(body.segment("hip", "ankle", side), -body.trunk)


def hip_abduction(body: Body, side: str) -> Signal:
    """Thigh in the frontal plane: positive away from the midline."""
    thigh = body.segment("hip", "knee", side)
    return degrees(dot(thigh, body.outward(side)), np.sqrt(thigh[1] ** 2 + dot(thigh, body.forward) ** 2))


def knee_valgus(body: Body, side: str) -> Signal:
    """Knee inside the line from hip to ankle, seen from the front: positive inward (valgus), negative outward."""
    out = body.outward(side)
    thigh, shank = body.segment("hip", "knee", side), body.segment("knee", "ankle", side)
    lean_thigh = degrees(dot(thigh, out), length(thigh))
    lean_shank = degrees(dot(shank, out), length(shank))
    return lean_shank - lean_thigh


def trunk_lean(body: Body, side: str) -> Signal:
    """Trunk against the vertical, whatever the direction."""
    del side
    trunk = body.trunk
    return degrees(np.sqrt(trunk[0] ** 2 + trunk[2] ** 2), -trunk[1])


def trunk_flexion(body: Body, side: str) -> Signal:
    """Trunk in the sagittal plane: positive forward."""
    del side
    return degrees(dot(body.trunk, body.forward), -body.trunk[1])


def trunk_side_lean(body: Body, side: str) -> Signal:
    """Trunk in the frontal plane: positive towards ``side``."""
    return degrees(dot(body.trunk, body.outward(side)), -body.trunk[1])


def trunk_rotation(body: Body, side: str) -> Signal:
    """Shoulder line against hip line, seen from above: positive where ``side``'s shoulder comes forward."""
    line = body.joint("shoulder", side) - body.joint("shoulder", "right" if side == "left" else "left")
    return degrees(dot(line, body.forward), dot(line, body.outward(side)))


def pelvis_obliquity(body: Body, side: str) -> Signal:
    """Hip line against the level: positive where ``side``'s hip is higher."""
    line = body.joint("hip", side) - body.joint("hip", "right" if side == "left" else "left")
    return degrees(-line[1], np.sqrt(line[0] ** 2 + line[2] ** 2))


def shoulder_obliquity(body: Body, side: str) -> Signal:
    """Shoulder line against the level: positive where ``side``'s shoulder is higher (a shrug or a lean)."""
    line = body.joint("shoulder", side) - body.joint("shoulder", "right" if side == "left" else "left")
    return degrees(-line[1], np.sqrt(line[0] ** 2 + line[2] ** 2))


def shoulder_hike(body: Body, side: str) -> Signal:
    """From shoulder to ear, against the trunk: about 25 at ease, more as the shoulder comes up to the ear."""
    return between(body.segment("shoulder", "ear", side), body.trunk)


def head_side_lean(body: Body, side: str) -> Signal:
    """Nose over mid-shoulder, out of the sagittal plane: positive towards ``side``, however low the head hangs."""
    neck = body.point(Landmark.NOSE) - body.middle("shoulder")
    return degrees(dot(neck, body.outward(side)), np.sqrt(neck[1] ** 2 + dot(neck, body.forward) ** 2))


def head_flexion(body: Body, side: str) -> Signal:
    """Nose over mid-shoulder, in the sagittal plane: positive forward. Upright is not 0: the nose is in front."""
    del side
    neck = body.point(Landmark.NOSE) - body.middle("shoulder")
    return degrees(dot(neck, body.forward), -neck[1])


class Angle(NamedTuple):
    """One angle that can be asked for by name."""

    measure: Callable[[Body, str], Signal]
    joints: tuple[str, ...]  # of the side asked for; the hips and shoulders are both needed where a plane is
    planar: bool = False  # measured against the hip line, so both hips are needed
    sided: bool = True
    paired: bool = False  # one side against the other, so the joints of both are needed


_TRUNK: Final = ("shoulder", "hip")
_ARM: Final = ("shoulder", "elbow")
_LEG: Final = ("hip", "knee")

ANGLES: Final[dict[str, Angle]] = {
    "knee_flexion": Angle(knee_flexion, ("hip", "knee", "ankle")),
    "hip_flexion": Angle(hip_flexion, ("shoulder", "hip", "knee")),
    "elbow_flexion": Angle(elbow_flexion, ("shoulder", "elbow", "wrist")),
    "ankle_dorsiflexion": Angle(ankle_dorsiflexion, ("knee", "ankle", "foot_index")),
    "heel_lift": Angle(heel_lift, ("heel", "foot_index")),
    "foot_lift": Angle(foot_lift, ("ankle",), paired=True),
    "shoulder_elevation": Angle(shoulder_elevation, ("hip", *_ARM), planar=True),
    "shoulder_flexion": Angle(shoulder_flexion, _ARM, planar=True),
    "shoulder_extension": Angle(shoulder_extension, _ARM, planar=True),
    "arm_forward": Angle(arm_forward, _ARM, planar=True),
    "shoulder_rotation": Angle(shoulder_rotation, ("shoulder", "elbow", "wrist"), planar=True),
    "forearm_elevation": Angle(forearm_elevation, ("elbow", "wrist")),
    "thigh_elevation": Angle(thigh_elevation, _LEG),
    "leg_elevation": Angle(leg_elevation, ("shoulder", "hip", "ankle"), planar=True),
    "hip_abduction": Angle(hip_abduction, _LEG, planar=True),
    "knee_valgus": Angle(knee_valgus, ("hip", "knee", "ankle"), planar=True),
    "trunk_lean": Angle(trunk_lean, _TRUNK, planar=True, sided=False),
    "trunk_flexion": Angle(trunk_flexion, _TRUNK, planar=True, sided=False),
    "trunk_side_lean": Angle(trunk_side_lean, _TRUNK, planar=True),
    "trunk_rotation": Angle(trunk_rotation, _TRUNK, planar=True),
    "pelvis_obliquity": Angle(pelvis_obliquity, ("hip",), planar=True),
    "shoulder_obliquity": Angle(shoulder_obliquity, ("shoulder",)),
    "shoulder_hike": Angle(shoulder_hike, ("ear", "shoulder", "hip"), planar=True),
    "head_side_lean": Angle(head_side_lean, _TRUNK, planar=True),
    "head_flexion": Angle(head_flexion, _TRUNK, planar=True, sided=False),
}


def needed_landmarks(angle: str, side: str) -> frozenset[Landmark]:
    """The landmarks that must be seen for ``angle`` on ``side`` to be trusted.

    Raises:
        KeyError: there is no such angle.
    """
    spec = ANGLES[angle]
    sides = (side,) if spec.sided and not spec.paired else ("left", "right")
    needed = {sided(joint, each) for joint in spec.joints for each in sides}
    if spec.planar:
        needed |= {Landmark.LEFT_HIP, Landmark.RIGHT_HIP}
    return frozenset(needed)
