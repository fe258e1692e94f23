"""A body in N frames: its points, the vectors between them and its axes, each worked out once and only when asked for.

Belongs here: what is measured from; vectors over frames. Does not belong here: any angle by name (``angles``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.pose.landmarks import VISIBILITY, Landmark, sided

Vector = NDArray[np.float32]  # [3, N]: components are contiguous, which is what makes the arithmetic below fast
Signal = NDArray[np.float32]  # [N] lengths, degrees, or 0..1

# No landmark is this far from the hips; the bound keeps every product below finite.
FARTHEST_M: Final = np.float32(100.0)
SMALLEST_LENGTH_M: Final = np.float32(1e-6)
DEGREES_A_RADIAN: Final = np.float32(180.0 / np.pi)


def dot(a: Vector, b: Vector) -> Signal:
    product: Signal = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return product


def cross(a: Vector, b: Vector) -> Vector:
    return np.stack((a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]))


def length(a: Vector) -> Signal:
    length: Signal = np.sqrt(dot(a, a))
    return length


def unit(a: Vector) -> Vector:
    return np.divide(a, np.maximum(length(a), SMALLEST_LENGTH_M), dtype=np.float32)


def between(a: Vector, b: Vector) -> Signal:
    """Angle between two vectors, 0..180; 0 where either has no length."""
    lengths = length(a) * length(b)
    cosine = dot(a, b) / np.maximum(lengths, SMALLEST_LENGTH_M * SMALLEST_LENGTH_M)
    angle: Signal = np.arccos(np.clip(cosine, -1.0, 1.0)) * DEGREES_A_RADIAN
    return np.where(lengths > 0, angle, np.float32(0.0))


def degrees(opposite: Signal, adjacent: Signal) -> Signal:
    angle: Signal = np.arctan2(opposite, adjacent) * DEGREES_A_RADIAN
    return angle


def turned_from(angle: Signal, lowest: float) -> Signal:
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
        self._visibility: dict[Landmark, Signal] = {}
        self._axes: dict[str, Vector] = {}

    def point(self, landmark: Landmark) -> Vector:
        """Position of one landmark, float32 [3, N]."""
        if landmark not in self._points:
            point = np.ascontiguousarray(self._landmarks_m[:, landmark, :3].T, dtype=np.float32)
            self._points[landmark] = np.clip(point, -FARTHEST_M, FARTHEST_M, out=point)
        return self._points[landmark]

    def visibility(self, landmark: Landmark) -> Signal:
        """How well one landmark was seen, float32 [N], 0..1."""
        if landmark not in self._visibility:
            self._visibility[landmark] = np.ascontiguousarray(self._landmarks_m[:, landmark, VISIBILITY], np.float32)
        return self._visibility[landmark]

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
            return unit(line)

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
