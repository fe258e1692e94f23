"""What must not change a count, on movements of several kinds: time, sides, place, batches, frame rate, delivery."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.pose.landmarks import Landmark
from pipelines.pose.model import PoseSummary, Prescription
from pipelines.pose.profile import load
from pipelines.pose.summary import summarise
from pipelines.simulate.performance import Performance, perform

REPS = 6
EXERCISES = ("deep_squat", "sit_to_stand", "shoulder_abduction", "hip_abduction", "push_up", "jumping_jack")
Frames = tuple[NDArray[np.float32], NDArray[np.int64]]

SWAPPED = [Landmark[each.name.replace("LEFT", "~").replace("RIGHT", "LEFT").replace("~", "RIGHT")] for each in Landmark]


@cache
def performed(exercise: str, fps: int = 30) -> Frames:
    tempo_s = 1.6 if exercise == "jumping_jack" else 3.0
    recording = perform(Performance(exercise=exercise, reps=REPS, tempo_s=tempo_s, seed=5, fps=fps))
    return recording.landmarks, recording.timestamp_ms.astype(np.int64)


def counted(exercise: str, frames: Frames) -> PoseSummary:
    return summarise(*frames, load(exercise), Prescription())


@pytest.mark.parametrize("exercise", EXERCISES)
def test_all_of_them_are_counted(exercise: str) -> None:
    assert counted(exercise, performed(exercise)).rep_count == REPS


@pytest.mark.parametrize("exercise", EXERCISES)
@given(scale=st.floats(0.75, 2.5))
@settings(max_examples=8, deadline=None)
def test_the_same_movement_slower_or_faster_is_as_many_repetitions(exercise: str, scale: float) -> None:
    body, times = performed(exercise)
    scaled = counted(exercise, (body, np.round(times * scale).astype(np.int64)))
    assert scaled.rep_count == REPS
    usual = counted(exercise, (body, times))
    assert scaled.tempo_mean_ms is not None and usual.tempo_mean_ms is not None
    assert scaled.tempo_mean_ms == pytest.approx(scale * usual.tempo_mean_ms, rel=0.12)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_mirrored_patient_does_as_many_with_the_other_side(exercise: str) -> None:
    body, times = performed(exercise)
    mirrored = body[:, SWAPPED]
    mirrored[..., 0] *= -1.0
    straight, turned = counted(exercise, (body, times)), counted(exercise, (mirrored, times))
    other = {"left": "right", "right": "left", "both": "both"}
    assert turned.rep_count == straight.rep_count
    assert [rep.side for rep in turned.reps] == [other[rep.side] for rep in straight.reps]
    assert [rep.peak_rom_deg for rep in turned.reps] == pytest.approx(
        [rep.peak_rom_deg for rep in straight.reps], abs=0.2
    )
    assert [rep.form_score for rep in turned.reps] == pytest.approx([rep.form_score for rep in straight.reps], abs=1.0)


@pytest.mark.parametrize("exercise", EXERCISES)
@given(move_m=st.tuples(*[st.floats(-5.0, 5.0)] * 3), later_ms=st.integers(0, 3_600_000))
@settings(max_examples=8, deadline=None)
def test_another_place_or_time_changes_nothing(
    exercise: str, move_m: tuple[float, float, float], later_ms: int
) -> None:
    body, times = performed(exercise)
    moved = body.copy()
    moved[..., :3] += np.array(move_m, dtype=np.float32)
    here, there = counted(exercise, (body, times)), counted(exercise, (moved, times + later_ms))
    assert there.rep_count == here.rep_count
    assert [rep.start_ms - later_ms for rep in there.reps] == [rep.start_ms for rep in here.reps]
    assert [rep.peak_rom_deg for rep in there.reps] == pytest.approx([rep.peak_rom_deg for rep in here.reps], abs=0.2)


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("fps", [10, 15, 24, 30, 50, 60])
def test_the_camera_s_rate_changes_no_count(exercise: str, fps: int) -> None:
    assert counted(exercise, performed(exercise, fps=fps)).rep_count == REPS


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_batches_late_twice_and_out_of_order_change_nothing(data: st.DataObject) -> None:
    body, times = performed("deep_squat")
    cuts = sorted(data.draw(st.sets(st.integers(1, len(times) - 1), max_size=30)))
    batches = np.split(np.arange(len(times)), cuts)
    again = data.draw(st.lists(st.integers(0, len(batches) - 1), max_size=8))
    sent = data.draw(st.permutations([*range(len(batches)), *again]))
    order = np.concatenate([batches[i] for i in sent])
    assert counted("deep_squat", (body[order], times[order])) == counted("deep_squat", (body, times))


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.3))
@settings(max_examples=15, deadline=None)
def test_frames_lost_here_and_there_cost_no_repetition(seed: int, share: float) -> None:
    body, times = performed("deep_squat")
    kept = np.random.default_rng(seed).random(len(times)) >= share
    kept[0] = kept[-1] = True
    assert counted("deep_squat", (body[kept], times[kept])).rep_count == REPS


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_more_noise_does_not_raise_mean_confidence(exercise: str, seed: int) -> None:
    body, times = performed(exercise)
    noise = np.random.default_rng(seed).normal(0.0, 1.0, (*body.shape[:2], 3)).astype(np.float32)
    means: list[float] = []
    for noise_m in (0.0, 0.01, 0.03, 0.06):
        noisy = body.copy()
        noisy[..., :3] += np.float32(noise_m) * noise
        reps = counted(exercise, (noisy, times)).reps
        means.append(float(np.mean([rep.confidence for rep in reps])) if reps else 0.0)
    assert all(after <= before for before, after in itertools.pairwise(means)), means
    assert means[-1] < means[0]
