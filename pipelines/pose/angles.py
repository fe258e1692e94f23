"""Joint angles from world landmarks, vectorised over frames. No filtering, no events, no scores.

Every angle is in degrees and is 0 in the anatomical position unless its line below says otherwise, so that a peak reads
as clinicians write it (neutral-zero method; Ryf and Weymann, 1995). Frontal and sagittal planes are the patient's own:
spanned by the vertical and the hip line (Wu et al., ISB recommendation, J Biomech 2002, adapted to landmarks).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.pose.landmarks import Landmark, sided

Vector = NDArray[np.float32]  # [3, N]: components are contiguous, which is what makes the arithmetic below fast
Signal = NDArray[np.float32]  # [N] degrees

# No landmark is this far from the hips; the bound keeps every product below finite.
FARTHEST_M: Final = np.float32(100.0)
SMALLEST_LENGTH_M: Final = np.float32(1e-6)
DEGREES_A_RADIAN: Final = np.float32(180.0 / np.pi)


def _dot(a: Vector, b: Vector) -> Signal:
    product: Signal = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return product


def _cross(a: Vector, b: Vector) -> Vector:
    return np.stack((a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]))


def _length(a: Vector) -> Signal:
    length: Signal = np.sqrt(_dot(a, a))
    return length


def _unit(a: Vector) -> Vector:
    return np.divide(a, np.maximum(_length(a), SMALLEST_LENGTH_M), dtype=np.float32)


def _between(a: Vector, b: Vector) -> Signal:
    """Angle between two vectors, 0..180; 0 where either has no length."""
    lengths = _length(a) * _length(b)
    cosine = _dot(a, b) / np.maximum(lengths, SMALLEST_LENGTH_M * SMALLEST_LENGTH_M)
    angle: Signal = np.arccos(np.clip(cosine, -1.0, 1.0)) * DEGREES_A_RADIAN
    return np.where(lengths > 0, angle, np.float32(0.0))


def _degrees(opposite: Signal, adjacent: Signal) -> Signal:
    angle: Signal = np.arctan2(opposite, adjacent) * DEGREES_A_RADIAN
    return angle


def _turned_from(angle: Signal, lowest: float) -> Signal:
    """The same direction counted from ``lowest`` to ``lowest + 360``: the jump goes where no joint can reach."""
    return np.where(angle < np.float32(lowest), angle + np.float32(360.0), angle)


class Body:
    """The landmarks of N frames, and the axes derived from them, each worked out once and only when asked for.

    Args:
        landmarks_m: float [N, 33, 4], world metres.
    """

    def __init__(self, landmarks_m: NDArray[np.floating]) -> None:
        self._landmarks_m = landmarks_m
        self._points: dict[Landmark, Vector] = {}
        self._axes: dict[str, Vector] = {}

    def point(self, landmark: Landmark) -> Vector:
        """Position of one landmark, float32 [3, N]."""
        if landmark not in self._points:
            point = np.ascontiguousarray(self._landmarks_m[:, landmark, :3].T, dtype=np.float32)
            self._points[landmark] = np.clip(point, -FARTHEST_M, FARTHEST_M, out=point)
        return self._points[landmark]

    def joint(self, joint: str, side: str) -> Vector:
        return self.point(sided(joint, side))

    def middle(self, joint: str) -> Vector:
        """Half-way between left and right ``joint``."""
        return self._axis(
            f"middle {joint}", lambda: (self.joint(joint, "left") + self.joint(joint, "right")) * np.float32(0.5)
        )

    def segment(self, proximal: str, distal: str, side: str) -> Vector:
        return self._axis(f"{side} {proximal} {distal}", lambda: self.joint(distal, side) - self.joint(proximal, side))

    @property
    def trunk(self) -> Vector:
        """From mid-hip to mid-shoulder."""
        return self._axis("trunk", lambda: self.middle("shoulder") - self.middle("hip"))

    @property
    def leftward(self) -> Vector:
        """Unit vector to the patient's left, level: the hip line without its vertical part."""

        def level_hip_line() -> Vector:
            line = self.joint("hip", "left") - self.joint("hip", "right")
            line[1] = 0.0
            return _unit(line)

        return self._axis("leftward", level_hip_line)

    @property
    def forward(self) -> Vector:
        """Unit vector to the patient's front, level."""

        def left_cross_up() -> Vector:
            left = self.leftward
            return np.stack((left[2], np.zeros_like(left[0]), -left[0]))

        return self._axis("forward", left_cross_up)

    def outward(self, side: str) -> Vector:
        """Unit vector away from the midline on ``side``, level."""
        return self.leftward if side == "left" else self._axis("rightward", lambda: -self.leftward)

    def _axis(self, name: str, make: Callable[[], Vector]) -> Vector:
        if name not in self._axes:
            self._axes[name] = make()
        return self._axes[name]


def knee_flexion(body: Body, side: str) -> Signal:
    return _between(body.segment("hip", "knee", side), body.segment("knee", "ankle", side))


def hip_flexion(body: Body, side: str) -> Signal:
    """Thigh against the trunk's own side, in three dimensions."""
    return _between(body.segment("shoulder", "hip", side), body.segment("hip", "knee", side))


def elbow_flexion(body: Body, side: str) -> Signal:
    return _between(body.segment("shoulder", "elbow", side), body.segment("elbow", "wrist", side))


def ankle_dorsiflexion(body: Body, side: str) -> Signal:
    """Shank against the foot; 0 where they stand at a right angle, positive as the shin leans over the foot."""
    shank = body.segment("ankle", "knee", side)
    return np.float32(90.0) - _between(shank, body.segment("ankle", "foot_index", side))


def heel_lift(body: Body, side: str) -> Signal:
    """Foot against the level, seen from the side: positive where the heel is above the toes."""
    foot = body.segment("foot_index", "heel", side)
    return _degrees(-foot[1], np.sqrt(foot[0] ** 2 + foot[2] ** 2))


def foot_lift(body: Body, side: str) -> Signal:
    """How much higher the ankle of ``side`` is than the other: the angle whose sine that is, over the leg's length."""
    other = "right" if side == "left" else "left"
    leg = _length(body.segment("hip", "knee", other)) + _length(body.segment("knee", "ankle", other))
    higher = body.joint("ankle", other)[1] - body.joint("ankle", side)[1]
    lift: Signal = np.arcsin(np.clip(higher / np.maximum(leg, SMALLEST_LENGTH_M), -1.0, 1.0)) * DEGREES_A_RADIAN
    return lift


def shoulder_elevation(body: Body, side: str) -> Signal:
    """Upper arm against the trunk, whatever the plane: 0 hanging, 180 overhead."""
    return _between(body.segment("shoulder", "elbow", side), -body.trunk)


def shoulder_flexion(body: Body, side: str) -> Signal:
    """Upper arm in the sagittal plane, against the vertical: 0 hanging, 90 ahead, 180 overhead, negative backward."""
    arm = body.segment("shoulder", "elbow", side)
    return _turned_from(_degrees(_dot(arm, body.forward), arm[1]), -90.0)


def arm_forward(body: Body, side: str) -> Signal:
    """Upper arm out of the frontal plane, -90..90: positive in front of it, negative behind. Defined in every pose."""
    arm = body.segment("shoulder", "elbow", side)
    ahead = _dot(arm, body.forward)
    return _degrees(ahead, np.sqrt(np.maximum(_dot(arm, arm) - ahead * ahead, 0.0)))


def shoulder_extension(body: Body, side: str) -> Signal:
    """Upper arm behind the frontal plane."""
    return -arm_forward(body, side)


def shoulder_rotation(body: Body, side: str) -> Signal:
    """Forearm about the upper arm: 90 up (external rotation), 0 level and forward, -90 down (internal rotation).

    A straight elbow leaves the rotation undefined, so below 45 degrees of flexion it fades to 0.
    """
    arm = _unit(body.segment("shoulder", "elbow", side))
    forearm = body.segment("elbow", "wrist", side)
    across = forearm - arm * _dot(forearm, arm)
    bent = _length(across) / np.maximum(_length(forearm), SMALLEST_LENGTH_M) / np.float32(0.7)
    rotation = _turned_from(_degrees(-across[1], _dot(across, body.forward)), -135.0)
    return rotation * np.minimum(bent, np.float32(1.0))


def forearm_elevation(body: Body, side: str) -> Signal:
    """Forearm against the level: 90 pointing up, -90 hanging."""
    forearm = body.segment("elbow", "wrist", side)
    return _degrees(-forearm[1], np.sqrt(forearm[0] ** 2 + forearm[2] ** 2))


def thigh_elevation(body: Body, side: str) -> Signal:
    """Thigh against the vertical: 0 standing, 90 level."""
    thigh = body.segment("hip", "knee", side)
    return _degrees(np.sqrt(thigh[0] ** 2 + thigh[2] ** 2), thigh[1])


def leg_elevation(body: Body, side: str) -> Signal:
    """Whole leg, hip to ankle, against the trunk: 0 in line with it."""
    return _between(body.segment("hip", "ankle", side), -body.trunk)


def hip_abduction(body: Body, side: str) -> Signal:
    """Thigh in the frontal plane: positive away from the midline."""
    thigh = body.segment("hip", "knee", side)
    return _degrees(_dot(thigh, body.outward(side)), np.sqrt(thigh[1] ** 2 + _dot(thigh, body.forward) ** 2))


def knee_valgus(body: Body, side: str) -> Signal:
    """Knee inside the line from hip to ankle, seen from the front: positive inward (valgus), negative outward."""
    out = body.outward(side)
    thigh, shank = body.segment("hip", "knee", side), body.segment("knee", "ankle", side)
    lean_thigh = _degrees(_dot(thigh, out), _length(thigh))
    lean_shank = _degrees(_dot(shank, out), _length(shank))
    return lean_shank - lean_thigh


def trunk_lean(body: Body, side: str) -> Signal:
    """Trunk against the vertical, whatever the direction."""
    del side
    trunk = body.trunk
    return _degrees(np.sqrt(trunk[0] ** 2 + trunk[2] ** 2), -trunk[1])


def trunk_flexion(body: Body, side: str) -> Signal:
    """Trunk in the sagittal plane: positive forward."""
    del side
    return _degrees(_dot(body.trunk, body.forward), -body.trunk[1])


def trunk_side_lean(body: Body, side: str) -> Signal:
    """Trunk in the frontal plane: positive towards ``side``."""
    return _degrees(_dot(body.trunk, body.outward(side)), -body.trunk[1])


def trunk_rotation(body: Body, side: str) -> Signal:
    """Shoulder line against hip line, seen from above: positive where ``side``'s shoulder comes forward."""
    line = body.joint("shoulder", side) - body.joint("shoulder", "right" if side == "left" else "left")
    return _degrees(_dot(line, body.forward), _dot(line, body.outward(side)))


def pelvis_obliquity(body: Body, side: str) -> Signal:
    """Hip line against the level: positive where ``side``'s hip is higher."""
    line = body.joint("hip", side) - body.joint("hip", "right" if side == "left" else "left")
    return _degrees(-line[1], np.sqrt(line[0] ** 2 + line[2] ** 2))


def shoulder_obliquity(body: Body, side: str) -> Signal:
    """Shoulder line against the level: positive where ``side``'s shoulder is higher (a shrug or a lean)."""
    line = body.joint("shoulder", side) - body.joint("shoulder", "right" if side == "left" else "left")
    return _degrees(-line[1], np.sqrt(line[0] ** 2 + line[2] ** 2))


def shoulder_hike(body: Body, side: str) -> Signal:
    """From shoulder to ear, against the trunk: about 25 at ease, more as the shoulder comes up to the ear."""
    return _between(body.segment("shoulder", "ear", side), body.trunk)


def head_side_lean(body: Body, side: str) -> Signal:
    """Nose over mid-shoulder, out of the sagittal plane: positive towards ``side``, however low the head hangs."""
    neck = body.point(Landmark.NOSE) - body.middle("shoulder")
    return _degrees(_dot(neck, body.outward(side)), np.sqrt(neck[1] ** 2 + _dot(neck, body.forward) ** 2))


def head_flexion(body: Body, side: str) -> Signal:
    """Nose over mid-shoulder, in the sagittal plane: positive forward. Upright is not 0: the nose is in front."""
    del side
    neck = body.point(Landmark.NOSE) - body.middle("shoulder")
    return _degrees(_dot(neck, body.forward), -neck[1])


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
