from __future__ import annotations

import numpy as np
import pytest

from pipelines.pose.coordinates import NORMALISED_IMAGE, WORLD_M, to_world_m
from pipelines.pose.landmarks import NAMES, Landmark, sided


def standing_m() -> np.ndarray:
    """One frame of an upright body of 1.70 m, [1, 33, 4], world metres."""
    body = np.zeros((1, 33, 4), dtype=np.float32)
    body[..., 3] = 1.0
    for sign, side in ((1, "left"), (-1, "right")):
        heights = {"hip": 0.0, "knee": 0.4165, "ankle": 0.8347, "shoulder": -0.4896, "elbow": -0.1734, "wrist": 0.0748}
        for joint, y in heights.items():
            body[0, sided(joint, side), :2] = (0.15 * sign, y)
    return body


def test_the_33_names_are_in_blazepose_order() -> None:
    assert len(NAMES) == 33
    assert (NAMES[0], NAMES[11], NAMES[24], NAMES[32]) == ("nose", "left_shoulder", "right_hip", "right_foot_index")


def test_world_metres_pass_unchanged_and_fortran_order_is_made_contiguous() -> None:
    body = np.asfortranarray(np.repeat(standing_m(), 5, axis=0))
    world = to_world_m(body, WORLD_M)
    assert world.flags.c_contiguous
    assert world.dtype == np.float32
    np.testing.assert_array_equal(world, body)


@pytest.mark.parametrize(("frame_w", "frame_h"), [(640, 480), (1080, 1920)])
def test_a_normalised_image_returns_to_the_metres_it_came_from(frame_w: int, frame_h: int) -> None:
    body = np.repeat(standing_m(), 4, axis=0)
    pixels_a_metre = 230.0
    image = body.copy()
    image[..., 0] = 0.4 + body[..., 0] * pixels_a_metre / frame_w
    image[..., 1] = 0.6 + body[..., 1] * pixels_a_metre / frame_h
    image[..., 2] = body[..., 2] * pixels_a_metre / frame_w
    world = to_world_m(image, NORMALISED_IMAGE, frame_w, frame_h)
    seen = [sided(joint, side) for joint in ("hip", "knee", "ankle", "shoulder", "elbow") for side in ("left", "right")]
    np.testing.assert_allclose(world[:, seen], body[:, seen], atol=0.02)
    hips = world[:, [Landmark.LEFT_HIP, Landmark.RIGHT_HIP], :3]
    np.testing.assert_allclose(hips.mean(axis=1), 0.0, atol=1e-6)


def test_nothing_with_a_length_stays_finite() -> None:
    assert np.isfinite(to_world_m(np.zeros((3, 33, 4)), NORMALISED_IMAGE, 640, 480)).all()
    assert to_world_m(np.zeros((0, 33, 4)), NORMALISED_IMAGE, 640, 480).shape == (0, 33, 4)


@pytest.mark.parametrize(
    ("shape", "coord", "frame_w"),
    [((2, 17, 4), WORLD_M, 640), ((2, 33, 4), "feet", 640), ((2, 33, 4), NORMALISED_IMAGE, None)],
)
def test_what_cannot_be_converted_is_refused(shape: tuple[int, ...], coord: str, frame_w: int | None) -> None:
    with pytest.raises(ValueError, match=r"33, 4|coordinate system|frame_w"):
        to_world_m(np.zeros(shape), coord, frame_w, 480)
