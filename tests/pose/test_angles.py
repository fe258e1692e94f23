from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.pose.angles import ANGLES, needed_landmarks
from pipelines.pose.body import Body
from pipelines.pose.landmarks import Landmark, sided
from tests.pose.synthetic import abducting, squatting, standing

DEGREE = 0.05


def measured(body: np.ndarray, angle: str, side: str = "right") -> np.ndarray:
    return ANGLES[angle].measure(Body(body), side)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    "angle",
    [
        "knee_flexion",
        "elbow_flexion",
        "shoulder_elevation",
        "shoulder_flexion",
        "arm_forward",
        "thigh_elevation",
        "hip_abduction",
        "knee_valgus",
        "trunk_lean",
        "trunk_flexion",
        "trunk_side_lean",
        "trunk_rotation",
        "pelvis_obliquity",
        "shoulder_obliquity",
    ],
)
def test_the_anatomical_position_is_zero(angle: str, side: str) -> None:
    # The figure's shoulders are wider than its hips, so its arms hang plumb while trunk and thigh meet at an angle.
    np.testing.assert_allclose(measured(standing(2), angle, side), 0.0, atol=DEGREE)


@pytest.mark.parametrize("flexion", [10.0, 45.0, 90.0, 130.0])
def test_knee_and_thigh_follow_a_squat(flexion: float) -> None:
    body = squatting(np.array([flexion]))
    np.testing.assert_allclose(measured(body, "knee_flexion"), flexion, atol=DEGREE)
    np.testing.assert_allclose(measured(body, "thigh_elevation"), 0.6 * flexion, atol=DEGREE)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("elevation", [0.0, 30.0, 90.0, 170.0])
def test_the_arm_goes_up_on_its_own_side_only(elevation: float, side: str) -> None:
    body = abducting(np.array([elevation]), side)
    np.testing.assert_allclose(measured(body, "shoulder_elevation", side), elevation, atol=DEGREE)
    np.testing.assert_allclose(measured(body, "arm_forward", side), 0.0, atol=DEGREE)
    other = "left" if side == "right" else "right"
    np.testing.assert_allclose(measured(body, "shoulder_elevation", other), 0.0, atol=DEGREE)


@pytest.mark.parametrize("forward", [-50.0, 0.0, 60.0, 120.0, 175.0, 190.0])
def test_shoulder_flexion_has_no_jump_where_an_arm_can_be(forward: float) -> None:
    body = standing(1)
    shoulder = body[:, Landmark.RIGHT_SHOULDER, :3]
    angle = np.radians(forward)
    body[:, Landmark.RIGHT_ELBOW, :3] = shoulder + 0.3 * np.array([0.0, np.cos(angle), -np.sin(angle)])
    np.testing.assert_allclose(measured(body, "shoulder_flexion"), forward, atol=DEGREE)
    if abs(forward) <= 90.0:
        np.testing.assert_allclose(measured(body, "shoulder_extension"), -forward, atol=DEGREE)


@pytest.mark.parametrize("rotation", [-60.0, 0.0, 45.0, 90.0, 110.0])
def test_shoulder_rotation_with_the_arm_out_and_the_elbow_bent(rotation: float) -> None:
    body = abducting(np.array([90.0]))
    elbow = body[:, Landmark.RIGHT_ELBOW, :3]
    angle = np.radians(rotation)
    body[:, Landmark.RIGHT_WRIST, :3] = elbow + 0.25 * np.array([0.0, -np.sin(angle), -np.cos(angle)])
    np.testing.assert_allclose(measured(body, "shoulder_rotation"), rotation, atol=0.5)


def test_signs_of_trunk_pelvis_and_knee_faults() -> None:
    body = standing(1)
    for joint in ("shoulder", "elbow", "wrist"):
        for side in ("left", "right"):
            body[:, sided(joint, side), 0] -= 0.1  # to the patient's right
            body[:, sided(joint, side), 2] -= 0.1  # towards the camera
    assert measured(body, "trunk_side_lean", "right")[0] > 5
    assert measured(body, "trunk_side_lean", "left")[0] < -5
    assert measured(body, "trunk_flexion")[0] > 5
    body = standing(1)
    body[:, Landmark.RIGHT_HIP, 1] -= 0.03
    assert measured(body, "pelvis_obliquity", "right")[0] > 5
    body = standing(1)
    body[:, Landmark.RIGHT_KNEE, 0] += 0.05  # towards the midline
    assert measured(body, "knee_valgus", "right")[0] > 5
    np.testing.assert_allclose(measured(body, "knee_valgus", "left"), 0.0, atol=DEGREE)


@given(st.floats(0.0, 2.0 * np.pi), st.floats(5.0, 150.0))
@settings(deadline=None)
def test_angles_between_segments_do_not_depend_on_where_the_patient_faces(turn: float, flexion: float) -> None:
    body = squatting(np.array([flexion]))
    turned = body.copy()
    turned[..., 0] = np.cos(turn) * body[..., 0] + np.sin(turn) * body[..., 2]
    turned[..., 2] = -np.sin(turn) * body[..., 0] + np.cos(turn) * body[..., 2]
    for angle in ANGLES:
        np.testing.assert_allclose(measured(turned, angle), measured(body, angle), atol=0.3, err_msg=angle)


def test_what_an_angle_needs_to_be_seen() -> None:
    assert needed_landmarks("knee_flexion", "left") == {Landmark.LEFT_HIP, Landmark.LEFT_KNEE, Landmark.LEFT_ANKLE}
    assert Landmark.RIGHT_HIP in needed_landmarks("shoulder_elevation", "left")
    assert Landmark.RIGHT_SHOULDER in needed_landmarks("trunk_flexion", "left")
