"""The 33 BlazePose landmarks: names, indices, and which of them belong to which side.

Nothing is computed here. Source: Bazarevsky et al., "BlazePose: On-device Real-time Body Pose Tracking", 2020, and the
MediaPipe Pose Landmarker model card. Axes of the *world* landmarks: metres, origin between the hips, x to the image's
right, y down, z away from the camera.
"""

from __future__ import annotations

from enum import IntEnum

LANDMARK_COUNT = 33
COLUMN_COUNT = 4
X, Y, Z, VISIBILITY = range(COLUMN_COUNT)


class Landmark(IntEnum):
    """Index of each landmark in a frame. Left and right are the patient's own."""

    NOSE = 0
    LEFT_EYE_INNER = 1
    LEFT_EYE = 2
    LEFT_EYE_OUTER = 3
    RIGHT_EYE_INNER = 4
    RIGHT_EYE = 5
    RIGHT_EYE_OUTER = 6
    LEFT_EAR = 7
    RIGHT_EAR = 8
    MOUTH_LEFT = 9
    MOUTH_RIGHT = 10
    LEFT_SHOULDER = 11
    RIGHT_SHOULDER = 12
    LEFT_ELBOW = 13
    RIGHT_ELBOW = 14
    LEFT_WRIST = 15
    RIGHT_WRIST = 16
    LEFT_PINKY = 17
    RIGHT_PINKY = 18
    LEFT_INDEX = 19
    RIGHT_INDEX = 20
    LEFT_THUMB = 21
    RIGHT_THUMB = 22
    LEFT_HIP = 23
    RIGHT_HIP = 24
    LEFT_KNEE = 25
    RIGHT_KNEE = 26
    LEFT_ANKLE = 27
    RIGHT_ANKLE = 28
    LEFT_HEEL = 29
    RIGHT_HEEL = 30
    LEFT_FOOT_INDEX = 31
    RIGHT_FOOT_INDEX = 32


NAMES: tuple[str, ...] = tuple(landmark.name.lower() for landmark in Landmark)
SIDES: tuple[str, str] = ("left", "right")


def sided(joint: str, side: str) -> Landmark:
    """The landmark of ``joint`` ("hip", "foot_index", ...) on ``side`` ("left" or "right").

    Raises:
        KeyError: there is no such landmark.
    """
    return Landmark[f"{side}_{joint}".upper()]
