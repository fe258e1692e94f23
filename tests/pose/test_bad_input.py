"""Recordings of nothing, of nobody, of trackers gone wild: an empty result that says why, and never an exception."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.pose.empty import SENTENCES
from pipelines.pose.landmarks import Landmark
from pipelines.pose.model import PoseSummary, Prescription
from pipelines.pose.profile import load, names
from pipelines.pose.summary import summarise
from tests.pose.synthetic import repetitions_deg, squatting, standing, timestamps

Body = NDArray[np.float32]
EVERY = [None, *names()]


def of(body: Body, name: str | None = "deep_squat") -> PoseSummary:
    return summarise(body, timestamps(len(body)), load(name) if name else None, Prescription())


def empty(result: PoseSummary, name: str | None, *reasons: str) -> None:
    unmeasurable = name is not None and not load(name).measurable
    assert result.reps == ()
    assert result.rep_count == (None if unmeasurable else 0)
    assert result.average_form_score is None
    assert result.rom_mean_deg is None
    assert result.smoothness_sparc is None
    assert result.empty_reason in ({"not_measurable", "no_frames"} if unmeasurable else set(reasons))
    assert result.empty_reason in SENTENCES


@pytest.mark.parametrize("name", EVERY)
def test_no_frames(name: str | None) -> None:
    empty(of(np.zeros((0, 33, 4), np.float32), name), name, "no_frames")


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("frames", [1, 2, 4])
def test_hardly_a_frame(name: str | None, frames: int) -> None:
    empty(of(standing(frames), name), name, "too_short")


@pytest.mark.parametrize("name", EVERY)
def test_everything_out_of_sight(name: str | None) -> None:
    body = squatting(repetitions_deg(5))
    body[..., 3] = 0.0
    result = of(body, name)
    empty(result, name, "not_visible")
    assert result.tracking_quality == 0.0


@pytest.mark.parametrize("name", EVERY)
def test_a_frozen_body(name: str | None) -> None:
    empty(of(np.repeat(standing(1), 900, axis=0), name), name, "no_movement")


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("value", [0.0, 1e30, -3e38])
def test_every_landmark_in_one_place(name: str | None, value: float) -> None:
    body = np.full((600, 33, 4), value, np.float32)
    body[..., 3] = 1.0
    empty(of(body, name), name, "no_body")


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("seed", [1, 2])
def test_landmarks_that_teleport_in_every_frame(name: str | None, seed: int) -> None:
    body = squatting(repetitions_deg(5))
    body[..., :3] = np.random.default_rng(seed).uniform(-1.0, 1.0, (*body.shape[:2], 3))
    empty(of(body, name), name, "erratic_tracking", "no_movement", "no_repetition")


@pytest.mark.parametrize("seed", range(4))
def test_a_landmark_that_teleports_now_and_then_costs_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    body = squatting(repetitions_deg(6))
    usual = of(body)
    for first in random.choice(len(body) - 12, 12, replace=False):
        away = random.uniform(-1.5, 1.5, 3).astype(np.float32)
        landmark = random.choice([Landmark.LEFT_KNEE, Landmark.RIGHT_KNEE, Landmark.LEFT_ANKLE, Landmark.RIGHT_HIP])
        body[first : first + random.integers(1, 4), landmark, :3] += away
    result = of(body)
    assert result.rep_count == usual.rep_count == 6
    assert result.rom_max_deg == pytest.approx(usual.rom_max_deg, abs=8.0)
    assert result.tracking_quality is not None and result.tracking_quality < 1.0


def test_a_patient_who_leaves_the_picture_is_counted_before_and_after() -> None:
    body = squatting(repetitions_deg(8, idle_s=1.0))
    body[300:450, :, 3] = 0.0  # 5 s of guesses, in which two repetitions were done
    result = of(body)
    assert result.gap_count == 1
    assert result.gap_ms == pytest.approx(5_000, abs=70)
    assert result.rep_count is not None and 5 <= result.rep_count <= 6
    assert all(rep.end_ms <= 10_500 or rep.start_ms >= 14_500 for rep in result.reps)
