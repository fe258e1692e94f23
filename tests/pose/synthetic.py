"""Bodies for the tests: a seated or standing stick figure whose joints follow a given angle. Not a simulator."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.pose.landmarks import Landmark, sided

FPS = 30.0
THIGH_M, SHANK_M, TRUNK_M, ARM_M = 0.42, 0.42, 0.49, 0.30


def timestamps(count: int, fps: float = FPS) -> NDArray[np.int64]:
    return np.round(np.arange(count) * 1000.0 / fps).astype(np.int64)


def standing(count: int) -> NDArray[np.float32]:
    """[count, 33, 4]: upright, arms hanging, facing the camera, everything visible."""
    body = np.zeros((count, 33, 4), dtype=np.float32)
    body[..., 3] = 1.0
    for sign, side in ((1.0, "left"), (-1.0, "right")):
        for joint, x, y in (
            ("shoulder", 0.18, -TRUNK_M),
            ("elbow", 0.18, -TRUNK_M + ARM_M),
            ("wrist", 0.18, -TRUNK_M + 2 * ARM_M - 0.05),
            ("hip", 0.10, 0.0),
            ("knee", 0.10, THIGH_M),
            ("ankle", 0.10, THIGH_M + SHANK_M),
            ("heel", 0.10, THIGH_M + SHANK_M),
            ("foot_index", 0.10, THIGH_M + SHANK_M),
        ):
            body[:, sided(joint, side), :2] = (x * sign, y)
        body[:, sided("foot_index", side), 2] = -0.15
    body[:, Landmark.NOSE, 1] = -TRUNK_M - 0.2
    body[:, Landmark.NOSE, 2] = -0.08
    return body


def squatting(knee_flexion_deg: NDArray[np.float64]) -> NDArray[np.float32]:
    """A body whose knees (and half as much its ankles) bend by the given angle, hips kept at the origin."""
    body = standing(len(knee_flexion_deg))
    knee, lean = np.radians(knee_flexion_deg), np.radians(knee_flexion_deg) * 0.6
    for side in ("left", "right"):
        body[:, sided("knee", side), 1] = THIGH_M * np.cos(lean)
        body[:, sided("knee", side), 2] = -THIGH_M * np.sin(lean)
        for joint in ("ankle", "heel", "foot_index"):
            forward = 0.15 if joint == "foot_index" else 0.0
            body[:, sided(joint, side), 1] = THIGH_M * np.cos(lean) + SHANK_M * np.cos(knee - lean)
            body[:, sided(joint, side), 2] = -THIGH_M * np.sin(lean) + SHANK_M * np.sin(knee - lean) - forward
    return body


def abducting(elevation_deg: NDArray[np.float64], side: str = "right") -> NDArray[np.float32]:
    """A body that lifts one straight arm to the side by the given angle."""
    body = standing(len(elevation_deg))
    angle, sign = np.radians(elevation_deg), (1.0 if side == "left" else -1.0)
    shoulder = body[:, sided("shoulder", side), :3]
    for joint, reach in (("elbow", ARM_M), ("wrist", 2 * ARM_M - 0.05)):
        body[:, sided(joint, side), 0] = shoulder[:, 0] + sign * reach * np.sin(angle)
        body[:, sided(joint, side), 1] = shoulder[:, 1] + reach * np.cos(angle)
    return body


def leaning(body: NDArray[np.float32], lean_deg: NDArray[np.float64]) -> NDArray[np.float32]:
    """Everything above the hips tilted forward (towards the camera)."""
    tilted = body.copy()
    above = [
        Landmark.NOSE,
        *(sided(joint, side) for joint in ("shoulder", "elbow", "wrist") for side in ("left", "right")),
    ]
    angle = np.radians(lean_deg)
    for landmark in above:
        y, z = body[:, landmark, 1], body[:, landmark, 2]
        tilted[:, landmark, 1] = y * np.cos(angle) - z * np.sin(angle)
        tilted[:, landmark, 2] = y * np.sin(angle) + z * np.cos(angle)
    return tilted


def repetitions_deg(
    count: int, *, peak_deg: float = 100.0, period_s: float = 3.0, idle_s: float = 2.0, fps: float = FPS
) -> NDArray[np.float64]:
    """An angle that rests, goes ``count`` times to its peak and back (raised cosine), and rests again."""
    one = 0.5 * (1.0 - np.cos(np.linspace(0.0, 2.0 * np.pi, round(period_s * fps), endpoint=False)))
    idle = np.zeros(round(idle_s * fps))
    return peak_deg * np.concatenate((idle, np.tile(one, count), idle))
