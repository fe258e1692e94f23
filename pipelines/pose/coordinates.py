"""Coordinate systems a recording may come in, and the way from each to world metres. No angles, no filtering.

The ingest service accepts world metres only; recordings are brought there before they are streamed or evaluated.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.pose.landmarks import COLUMN_COUNT, LANDMARK_COUNT, VISIBILITY, Landmark

WORLD_M: Final = "mp_world_m"
NORMALISED_IMAGE: Final = "mp_norm_image"

# The scale of an image is unknown, so it is set by an adult of this stature; angles do not depend on it.
REFERENCE_STATURE_M: Final = 1.70
# Segment lengths as fractions of stature: Drillis and Contini, "Body Segment Parameters", 1966.
SEGMENT_STATURE_FRACTIONS: Final[tuple[tuple[tuple[Landmark, Landmark], float], ...]] = (
    ((Landmark.LEFT_HIP, Landmark.LEFT_KNEE), 0.245),
    ((Landmark.RIGHT_HIP, Landmark.RIGHT_KNEE), 0.245),
    ((Landmark.LEFT_KNEE, Landmark.LEFT_ANKLE), 0.246),
    ((Landmark.RIGHT_KNEE, Landmark.RIGHT_ANKLE), 0.246),
    ((Landmark.LEFT_SHOULDER, Landmark.LEFT_HIP), 0.288),
    ((Landmark.RIGHT_SHOULDER, Landmark.RIGHT_HIP), 0.288),
    ((Landmark.LEFT_SHOULDER, Landmark.LEFT_ELBOW), 0.186),
    ((Landmark.RIGHT_SHOULDER, Landmark.RIGHT_ELBOW), 0.186),
    ((Landmark.LEFT_ELBOW, Landmark.LEFT_WRIST), 0.146),
    ((Landmark.RIGHT_ELBOW, Landmark.RIGHT_WRIST), 0.146),
)
# A segment seen end-on is short in every frame where that happens, so its length is a high percentile over time.
LENGTH_PERCENTILE: Final = 90.0
SHORTEST_SEGMENT: Final = 1e-6


def _metres_a_unit(xyz: NDArray[np.float32]) -> float:
    """Median over segments of nominal length over seen length; 0.0 where nothing has a length. ``xyz``: [N, 33, 3]."""
    ratios: list[float] = []
    for (proximal, distal), fraction in SEGMENT_STATURE_FRACTIONS:
        lengths = np.linalg.norm(xyz[:, proximal] - xyz[:, distal], axis=1)
        length = float(np.percentile(lengths, LENGTH_PERCENTILE))
        if length > SHORTEST_SEGMENT:
            ratios.append(fraction * REFERENCE_STATURE_M / length)
    return float(np.median(ratios)) if ratios else 0.0


def to_world_m(
    landmarks: NDArray[np.floating],
    coord: str,
    frame_w: float | None = None,
    frame_h: float | None = None,
) -> NDArray[np.float32]:
    """Landmarks as MediaPipe world landmarks: metres, origin mid-hip, x right, y down, z away from the camera.

    Args:
        landmarks: [N, 33, 4] x, y, z, visibility in any memory order.
        coord: ``mp_world_m`` (passed on) or ``mp_norm_image``: x over width, y over height, z in units of width. One
            scale is found for the whole recording from the lengths of ten body segments.
        frame_w: image width in pixels; needed for ``mp_norm_image``, where only its ratio to ``frame_h`` matters.
        frame_h: image height in pixels.

    Returns:
        A new C-ordered float32 [N, 33, 4]; visibility is clipped to [0, 1].

    Raises:
        ValueError: another shape, an unknown ``coord``, or no frame size where one is needed.
    """
    if landmarks.ndim != 3 or landmarks.shape[1:] != (LANDMARK_COUNT, COLUMN_COUNT):
        raise ValueError(f"landmarks must be [N, 33, 4], not {list(landmarks.shape)}")
    world = np.array(landmarks, dtype=np.float32, order="C")
    np.clip(world[..., VISIBILITY], 0.0, 1.0, out=world[..., VISIBILITY])
    if coord == WORLD_M:
        return world
    if coord != NORMALISED_IMAGE:
        raise ValueError(f"unknown coordinate system {coord!r}: {WORLD_M} or {NORMALISED_IMAGE}")
    if not frame_w or not frame_h or frame_w < 0 or frame_h < 0:
        raise ValueError(f"{NORMALISED_IMAGE} needs a positive frame_w and frame_h")
    if not len(world):
        return world
    xyz = world[..., :3]
    xyz *= np.array([1.0, frame_h / frame_w, 1.0], dtype=np.float32)  # everything in image widths
    xyz -= (xyz[:, Landmark.LEFT_HIP] + xyz[:, Landmark.RIGHT_HIP])[:, None, :] * np.float32(0.5)
    xyz *= np.float32(_metres_a_unit(xyz))
    return world
