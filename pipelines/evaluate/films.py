"""Simulated films of training exercises, of which there are hardly any recordings: what the variants start from.

Belongs here: who does what, how fast and how far, before which camera. Does not belong here: the body itself
(``pipelines.simulate``), what goes wrong before a camera (``variants``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from pipelines.evaluate.dataset import Entry, Sequence
from pipelines.pose.coordinates import WORLD_M
from pipelines.simulate.performance import Performance, perform

DATASET: Final = "Simulated films"
# What films show -> what the simulator calls it, and the seconds of a brisk and of a slow repetition.
FILMED: Final[dict[str, tuple[str, float, float]]] = {
    "squat": ("deep_squat", 1.5, 4.0),
    "push_up": ("push_up", 1.0, 3.0),
    "pull_up": ("pull_up", 1.5, 4.0),
    "sit_up": ("sit_up", 1.2, 4.0),
    "lateral_raise": ("lateral_raise", 1.5, 3.5),
    "front_raise": ("front_raise", 1.5, 3.5),
    "jumping_jack": ("jumping_jack", 0.8, 1.6),
    "bench_press": ("bench_press", 1.2, 3.5),
}
REPETITIONS: Final = (3, 15)
RANGE_SHARE: Final = (0.7, 1.1)  # of the movement done well
NOISE_M: Final = 0.004


def film(exercise: str, number: int, seed: int) -> Sequence:
    """The ``number``-th film of ``exercise``: its own person, tempo, range and place of the camera.

    Raises:
        KeyError: no film is made of it.
    """
    simulated, brisk_s, slow_s = FILMED[exercise]
    random = np.random.default_rng([seed, number, *exercise.encode()])
    usual = Performance(exercise=simulated)
    wanted = usual.check().range_deg * random.uniform(*RANGE_SHARE)
    recording = perform(
        Performance(
            exercise=simulated,
            reps=int(random.integers(REPETITIONS[0], REPETITIONS[1] + 1)),
            tempo_s=float(np.exp(random.uniform(np.log(brisk_s), np.log(slow_s)))),
            range_deg=float(wanted),
            noise_m=NOISE_M,
            idle_before_s=float(random.uniform(0.0, 3.0)),
            idle_after_s=float(random.uniform(0.0, 3.0)),
            facing_deg=float(random.uniform(-90.0, 90.0)),
            stature_m=float(random.uniform(1.5, 1.95)),
            seed=int(random.integers(2**31)),
        )
    )
    assert recording.rep_bounds_ms is not None
    name = f"{exercise}_{number}"
    return Sequence(
        entry=Entry(
            sequence_id=name,
            path=Path(f"{name}.npz"),
            dataset=DATASET,
            subject=str(number),
            exercise=exercise,
            true_reps=recording.true_reps,
            label=None,
            coord=WORLD_M,
            frame_w=None,
            frame_h=None,
        ),
        landmarks_m=recording.landmarks,
        timestamp_ms=recording.timestamp_ms.astype(np.int64),
        rep_start_ms=recording.rep_bounds_ms[:, 0],
        rep_end_ms=recording.rep_bounds_ms[:, 1],
    )
