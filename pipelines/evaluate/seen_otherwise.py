"""Recordings as another camera and another tracker would have seen them: seeded, and with the same repetitions.

Belongs here: place of the camera, noise, depth, visibility, frame rate, mistaken sides and people. Does not belong
here: what the patient does otherwise (``done_otherwise``), the list of variants (``variants``).
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from pipelines.evaluate.dataset import Sequence
from pipelines.evaluate.strolling import standing_by
from pipelines.pose.landmarks import VISIBILITY, Landmark, X, Z

Frames = NDArray[np.float32]
Random = np.random.Generator

SWAPPED: Final = [
    Landmark[each.name.replace("LEFT", "~").replace("RIGHT", "LEFT").replace("~", "RIGHT")] for each in Landmark
]
LEFT: Final = [each for each in Landmark if each.name.startswith("LEFT") or each.name.endswith("LEFT")]
RIGHT: Final = [SWAPPED[each] for each in LEFT]
BELOW_HIPS: Final = [each for each in Landmark if each >= Landmark.LEFT_KNEE]

# How a single camera's tracker errs, set by eye on its films: a centimetre across the picture, several along the line
# of sight, where it guesses; the errors carry over from frame to frame.
PIXEL_JITTER_M, PIXEL_MEMORY = 0.012, 0.6
DEPTH_JITTER_M, DEPTH_MEMORY = 0.035, 0.9
DEPTH_SEEN: Final = (0.5, 0.9)  # estimated depth is flatter than the body
HIDDEN_JITTER_M: Final = 0.04
HIDDEN_VISIBILITY: Final = (0.05, 0.6)


def noise(shape: tuple[int, ...], spread_m: float, memory: float, random: Random) -> Frames:
    """A first-order process along the first axis, of standard deviation ``spread_m``."""
    pushes = random.standard_normal(shape) * spread_m * np.sqrt(1.0 - memory**2)
    pushes[0] /= np.sqrt(1.0 - memory**2)
    wandering: Frames = lfilter([1.0], [1.0, -memory], pushes, axis=0).astype(np.float32)
    return wandering


def with_body(sequence: Sequence, landmarks_m: Frames) -> Sequence:
    return msgspec.structs.replace(sequence, landmarks_m=landmarks_m)


def jittering(sequence: Sequence, random: Random) -> Sequence:
    """Every landmark wanders: a centimetre across the picture, several in depth."""
    body = sequence.landmarks_m.copy()
    count = len(body)
    body[..., :Z] += noise((count, 33, 2), PIXEL_JITTER_M, PIXEL_MEMORY, random)
    body[..., Z] += noise((count, 33), DEPTH_JITTER_M, DEPTH_MEMORY, random)
    return with_body(sequence, body)


def turned(body: Frames, yaw: float, tilt: float = 0.0, roll: float = 0.0) -> Frames:
    """``body`` as seen by a camera turned by ``yaw``, ``tilt`` and ``roll`` radians; a new array."""
    (cy, sy), (ct, st), (cr, sr) = ((np.cos(angle), np.sin(angle)) for angle in (yaw, tilt, roll))
    about_y = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, ct, -st], [0.0, st, ct]])
    about_z = np.array([[cr, -sr, 0.0], [sr, cr, 0.0], [0.0, 0.0, 1.0]])
    seen = body.copy()
    seen[..., :3] = body[..., :3] @ (about_z @ about_x @ about_y).T.astype(np.float32)
    return seen


def _any_camera(body: Frames, random: Random) -> Frames:
    return turned(body, random.uniform(-np.pi / 2, np.pi / 2), random.uniform(-0.3, 0.3), random.uniform(-0.1, 0.1))


def other_camera(sequence: Sequence, random: Random) -> Sequence:
    """The camera stands up to 90 degrees aside, 17 higher or lower, 6 askew."""
    return with_body(sequence, _any_camera(sequence.landmarks_m, random))


def _far_side_hidden(body: Frames, random: Random) -> None:
    """In place: where one side of the body is behind the other, its limbs are guessed, and said to be."""
    depth = (
        body[:, [Landmark.RIGHT_SHOULDER, Landmark.RIGHT_HIP], Z]
        - body[:, [Landmark.LEFT_SHOULDER, Landmark.LEFT_HIP], Z]
    )
    away = float(np.median(depth))
    width = np.linalg.norm(body[:, Landmark.LEFT_SHOULDER, :3] - body[:, Landmark.RIGHT_SHOULDER, :3], axis=1)
    if abs(away) < 0.7 * float(np.median(width)):
        return
    far = [each for each in (RIGHT if away > 0 else LEFT) if each > Landmark.RIGHT_SHOULDER]
    far = [each for each in far if each not in (Landmark.LEFT_HIP, Landmark.RIGHT_HIP)]
    body[:, far, :3] += noise((len(body), len(far), 3), HIDDEN_JITTER_M, DEPTH_MEMORY, random)
    low, high = HIDDEN_VISIBILITY
    wander = 0.5 * (low + high) + noise((len(body), len(far)), 0.5 * (high - low), 0.95, random)
    body[:, far, VISIBILITY] = np.clip(wander, 0.0, 1.0)


def by_one_camera(sequence: Sequence, random: Random) -> Sequence:
    """As one camera sees it from anywhere: flat and wandering depth, the far side guessed."""
    body = _any_camera(sequence.landmarks_m, random)
    _far_side_hidden(body, random)
    body[..., Z] *= np.float32(random.uniform(*DEPTH_SEEN))
    return jittering(with_body(sequence, body), random)


def mirrored(sequence: Sequence, random: Random) -> Sequence:
    """A camera that shows a mirror's picture."""
    del random
    body = sequence.landmarks_m[:, SWAPPED]
    body[..., X] *= -1.0
    return with_body(sequence, body)


def _bursts(sequence: Sequence, random: Random, every_s: float, length_s: tuple[float, float]) -> NDArray[np.bool_]:
    """[N] frames within stretches that come about ``every_s`` seconds, each as long as it falls."""
    times = sequence.timestamp_ms
    inside = np.zeros(len(times), dtype=np.bool_)
    duration_s = float(times[-1] - times[0]) / 1000.0
    for _ in range(max(1, round(duration_s / every_s))):
        begin = times[0] + 1000.0 * random.uniform(0.0, duration_s)
        inside |= (times >= begin) & (times < begin + 1000.0 * random.uniform(*length_s))
    return inside


def sides_swapped(sequence: Sequence, random: Random) -> Sequence:
    """Every few seconds the tracker takes left for right, for up to half a second."""
    body = sequence.landmarks_m.copy()
    inside = _bursts(sequence, random, 6.0, (0.1, 0.5))
    body[inside] = body[inside][:, SWAPPED]
    return with_body(sequence, body)


def out_of_sight_now_and_then(sequence: Sequence, random: Random) -> Sequence:
    """Limbs are hidden for up to half a second every few seconds: unseen and misplaced."""
    body = sequence.landmarks_m.copy()
    for side in (LEFT, RIGHT):
        limbs = [each for each in side if each > Landmark.RIGHT_SHOULDER]
        inside = np.flatnonzero(_bursts(sequence, random, 5.0, (0.1, 0.5)))
        chosen = np.ix_(inside, np.array(limbs, dtype=np.intp))
        guess = body[chosen]
        guess[..., :3] += noise(guess[..., :3].shape, 0.08, DEPTH_MEMORY, random)
        guess[..., VISIBILITY] = random.uniform(0.05, 0.4, guess.shape[:2])
        body[chosen] = guess
    return with_body(sequence, body)


def upper_body_only(sequence: Sequence, random: Random) -> Sequence:
    """The picture ends below the hips: the legs are guesses."""
    body = sequence.landmarks_m.copy()
    body[:, BELOW_HIPS, :3] += noise((len(body), len(BELOW_HIPS), 3), 0.1, DEPTH_MEMORY, random)
    body[:, BELOW_HIPS, VISIBILITY] = random.uniform(0.0, 0.2, (len(body), len(BELOW_HIPS)))
    return with_body(sequence, body)


def somebody_else(sequence: Sequence, random: Random) -> Sequence:
    """Every eight seconds or so the tracker takes somebody who stands by for the patient, for up to a second."""
    body = sequence.landmarks_m.copy()
    for begin in np.flatnonzero(np.diff(_bursts(sequence, random, 8.0, (0.3, 1.0)).astype(np.int8)) > 0):
        end = int(np.searchsorted(sequence.timestamp_ms, sequence.timestamp_ms[begin] + random.uniform(300, 1000)))
        count = end - int(begin)
        other = standing_by(count, float(random.uniform(-90.0, 90.0)))
        other[..., :3] += noise((count, 33, 3), PIXEL_JITTER_M, PIXEL_MEMORY, random)
        body[begin:end] = other
    return with_body(sequence, body)


def camera_moved(sequence: Sequence, random: Random) -> Sequence:
    """Half-way the film is cut: the camera stands elsewhere from one frame to the next."""
    body = sequence.landmarks_m.copy()
    half = len(body) // 2
    body[half:] = turned(body[half:], random.choice([-1.0, 1.0]) * random.uniform(0.5, 1.4), random.uniform(-0.2, 0.2))
    return with_body(sequence, body)


def kept(sequence: Sequence, kept: NDArray[np.intp] | NDArray[np.bool_]) -> Sequence:
    return msgspec.structs.replace(
        sequence, landmarks_m=sequence.landmarks_m[kept], timestamp_ms=sequence.timestamp_ms[kept]
    )


def ten_a_second(sequence: Sequence, random: Random) -> Sequence:
    """A slow telephone: about ten frames a second, unevenly."""
    at = np.arange(sequence.timestamp_ms[0], sequence.timestamp_ms[-1], 100.0)
    at = at + random.uniform(-25.0, 25.0, len(at))
    nearest = np.unique(np.clip(np.searchsorted(sequence.timestamp_ms, at), 0, len(sequence.timestamp_ms) - 1))
    return kept(sequence, nearest)
