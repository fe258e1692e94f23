"""Recordings as if the patient had done something else around the same repetitions, or done them otherwise: seeded.

Belongs here: tempo, range, where the film begins and ends, gestures. Does not belong here: the camera and the tracker
(``seen_otherwise``), walking (``strolling``), the list of variants (``variants``).
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from pipelines.evaluate.dataset import Sequence
from pipelines.evaluate.seen_otherwise import Frames, Random, kept, noise, with_body
from pipelines.evaluate.strolling import FRAME_MS
from pipelines.pose.landmarks import SIDES, sided

# How far hands, elbows and knees wander while somebody talks, and how long a gesture lasts.
GESTURES_M: Final = {"wrist": 0.08, "elbow": 0.04, "knee": 0.03, "ankle": 0.03}
GESTURE_MEMORY: Final = 0.95


def _at_new_times(sequence: Sequence, new_ms: NDArray[np.float64]) -> Sequence:
    """Every frame at its new, strictly increasing time; marks go with them."""

    def moved(marks: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
        if marks is None:
            return None
        return np.round(np.interp(marks, sequence.timestamp_ms, new_ms)).astype(np.int64)

    return msgspec.structs.replace(
        sequence,
        timestamp_ms=np.round(new_ms).astype(np.int64),
        rep_start_ms=moved(sequence.rep_start_ms),
        rep_end_ms=moved(sequence.rep_end_ms),
    )


def _stretched(sequence: Sequence, by: NDArray[np.float64]) -> Sequence:
    """Each step between frames takes ``by`` [N - 1] times as long."""
    steps = np.diff(sequence.timestamp_ms) * by
    return _at_new_times(sequence, np.concatenate(([0.0], np.cumsum(np.maximum(steps, 1.0)))))


def twice_as_slow(sequence: Sequence, random: Random) -> Sequence:
    """Everything takes twice as long."""
    del random
    return _stretched(sequence, np.full(len(sequence.timestamp_ms) - 1, 2.0))


def twice_as_fast(sequence: Sequence, random: Random) -> Sequence:
    """Everything takes half as long."""
    del random
    return _stretched(sequence, np.full(len(sequence.timestamp_ms) - 1, 0.5))


def changing_tempo(sequence: Sequence, random: Random) -> Sequence:
    """The tempo drifts between 0.6 and 1.7 times what it was."""
    share = np.linspace(0.0, 1.0, len(sequence.timestamp_ms) - 1)
    wave = np.sin(2.0 * np.pi * (random.uniform(0.5, 1.5) * share + random.uniform()))
    return _stretched(sequence, np.exp(wave * np.log(1.7)))


def _scaled(sequence: Sequence, scales: NDArray[np.float64]) -> Sequence:
    """Each marked repetition ``scales`` [R] times as large: its frames moved towards the pose it begins in."""
    body = sequence.landmarks_m.copy()
    assert sequence.rep_start_ms is not None
    assert sequence.rep_end_ms is not None
    for start, end, scale in zip(sequence.rep_start_ms, sequence.rep_end_ms, scales, strict=True):
        first, past = np.searchsorted(sequence.timestamp_ms, (start, end + 1))
        if past - first < 2:
            continue
        # Between the poses at both ends, so that nothing jumps there.
        share = np.linspace(0.0, 1.0, past - first, dtype=np.float32)[:, None, None]
        rest = body[first] * (1.0 - share) + body[past - 1] * share
        body[first:past, :, :3] = (rest + np.float32(scale) * (body[first:past] - rest))[..., :3]
    return with_body(sequence, body)


def tiring(sequence: Sequence, random: Random) -> Sequence:
    """Repetitions shrink from the first to the last, to six tenths."""
    count = 0 if sequence.rep_start_ms is None else len(sequence.rep_start_ms)
    return _scaled(sequence, np.linspace(1.0, random.uniform(0.55, 0.65), count))


def uneven(sequence: Sequence, random: Random) -> Sequence:
    """Repetitions reach anything from six tenths to all of their way."""
    count = 0 if sequence.rep_start_ms is None else len(sequence.rep_start_ms)
    return _scaled(sequence, random.uniform(0.6, 1.0, count))


def cut_off(sequence: Sequence, random: Random) -> Sequence:
    """The film begins in the last third of a repetition and ends in the first third of another; neither counts."""
    starts, ends = sequence.rep_start_ms, sequence.rep_end_ms
    if starts is None or ends is None or len(starts) < 4:
        return sequence
    first = ends[0] - random.uniform(0.1, 0.3) * (ends[0] - starts[0])
    last = starts[-1] + random.uniform(0.1, 0.3) * (ends[-1] - starts[-1])
    inside = (sequence.timestamp_ms >= first) & (sequence.timestamp_ms <= last)
    return msgspec.structs.replace(
        kept(sequence, inside),
        entry=msgspec.structs.replace(sequence.entry, true_reps=len(starts) - 2),
        rep_start_ms=starts[1:-1],
        rep_end_ms=ends[1:-1],
    )


def gesturing(sequence: Sequence, random: Random) -> Sequence:
    """Before the first repetition the patient talks with hands and feet for three to eight seconds."""
    frames = round(random.uniform(3.0, 8.0) * 1000 / FRAME_MS)
    talking = np.repeat(sequence.landmarks_m[:1], frames, axis=0)
    fading = np.sin(np.linspace(0.0, np.pi, frames)).astype(np.float32) ** 0.5
    for joint, spread_m in GESTURES_M.items():
        moved = noise((frames, 2, 3), spread_m, GESTURE_MEMORY, random) * fading[:, None, None]
        moved = _smooth(moved)
        for number, side in enumerate(SIDES):
            talking[:, sided(joint, side), :3] += moved[:, number]
    shift = frames * FRAME_MS
    starts, ends = sequence.rep_start_ms, sequence.rep_end_ms
    return msgspec.structs.replace(
        sequence,
        landmarks_m=np.concatenate((talking, sequence.landmarks_m)),
        timestamp_ms=np.concatenate(
            (np.arange(frames, dtype=np.int64) * FRAME_MS, sequence.timestamp_ms - sequence.timestamp_ms[0] + shift)
        ),
        rep_start_ms=None if starts is None else starts - sequence.timestamp_ms[0] + shift,
        rep_end_ms=None if ends is None else ends - sequence.timestamp_ms[0] + shift,
    )


def _smooth(moved: Frames) -> Frames:
    """Along the first axis, to what a body can do."""
    smooth: Frames = gaussian_filter1d(moved, 4.0, axis=0).astype(np.float32)
    return smooth
