"""Somebody walks into the picture, gets into position, and leaves again: what films hold before and after an exercise.

Belongs here: walking frames and joining them to a recording. Does not belong here: any other change (``variants``).
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.evaluate.dataset import Sequence
from pipelines.pose.landmarks import SIDES, VISIBILITY, Landmark
from pipelines.simulate.body import Pose, landmarks

Frames = NDArray[np.float32]

FRAME_MS: Final = 33
WALK_S: Final = (2.0, 5.0)
STRIDE_S: Final = (1.0, 1.3)
TURN_S: Final = 1.0
SETTLE_S: Final = (0.8, 2.0)  # from standing into the recording's first pose
STILL_S: Final = (0.3, 1.5)
JITTER_M: Final = 0.004


def _facing(body: Frames) -> float:
    """How far the person in ``body`` [33, 4] is turned from the camera, degrees, by the hip line."""
    line = body[Landmark.LEFT_HIP, :3] - body[Landmark.RIGHT_HIP, :3]
    return float(np.degrees(np.arctan2(line[2], line[0])))


def standing_by(frames: int, facing_deg: float) -> Frames:
    """Somebody who stands still, turned from the camera by ``facing_deg``: [frames, 33, 4]."""
    body = np.ones((frames, 33, 4), dtype=np.float32)
    body[..., :3] = landmarks(Pose(frames), 1.70, facing_deg)
    body[..., VISIBILITY] = 0.97
    return body


def _walk(random: np.random.Generator, facing_deg: float) -> Frames:
    """Walking across the picture, then turning to ``facing_deg``: [N, 33, 4] about a moving mid-hip."""
    frames = round(random.uniform(*WALK_S) * 1000 / FRAME_MS)
    turn = round(TURN_S * 1000 / FRAME_MS)
    stride = 2.0 * np.pi * np.arange(frames + turn) * FRAME_MS / 1000.0 / random.uniform(*STRIDE_S)
    pose = Pose(frames + turn)
    # Normal gait (Winter, Biomechanics and Motor Control): thigh 20 to -20 degrees, knee 5 to 60, arms opposite.
    fading = np.concatenate((np.ones(frames), np.linspace(1.0, 0.0, turn)))
    for side, phase in zip(SIDES, (0.0, np.pi), strict=True):
        limbs = pose.limbs[side]
        limbs.thigh_flexion = limbs.thigh_flexion + fading * (3.0 + 20.0 * np.sin(stride + phase))
        swing = np.clip(np.sin(stride + phase + 1.0), 0.0, 1.0)
        limbs.knee_flexion = limbs.knee_flexion + fading * (8.0 + 50.0 * swing)
        limbs.foot_planted = False
        ahead = fading * 18.0 * np.sin(stride + phase + np.pi)
        limbs.arm_elevation = limbs.arm_elevation + np.abs(ahead)
        limbs.arm_plane = np.where(ahead > 0, 80.0, -80.0)
        limbs.elbow_flexion = limbs.elbow_flexion + fading * 10.0
    walked = random.choice([-80.0, 80.0])
    yaw = np.concatenate((np.full(frames, walked), np.linspace(walked, facing_deg, turn)))
    body = np.ones((frames + turn, 33, 4), dtype=np.float32)
    straight = landmarks(pose, 1.70, 0.0)
    cos, sin = np.cos(np.radians(yaw))[:, None], np.sin(np.radians(yaw))[:, None]
    body[..., 0] = cos * straight[..., 0] - sin * straight[..., 2]
    body[..., 1] = straight[..., 1]
    body[..., 2] = sin * straight[..., 0] + cos * straight[..., 2]
    body[..., :3] += random.normal(0.0, JITTER_M, body[..., :3].shape).astype(np.float32)
    body[..., VISIBILITY] = 0.97
    return body


def _settling(standing: Frames, first: Frames, random: np.random.Generator) -> Frames:
    """From ``standing`` into ``first`` (both [33, 4]), and a moment of stillness there."""
    way = round(random.uniform(*SETTLE_S) * 1000 / FRAME_MS)
    share = np.linspace(0.0, 1.0, way + 2)[1:-1]
    eased = (share**3 * (10 - 15 * share + 6 * share**2)).astype(np.float32)[:, None, None]
    moved = standing * (1.0 - eased) + first * eased
    still = np.repeat(first[None], round(random.uniform(*STILL_S) * 1000 / FRAME_MS), axis=0)
    still[..., :3] += random.normal(0.0, JITTER_M, still[..., :3].shape).astype(np.float32)
    return np.concatenate((moved, still))


def with_stroll(sequence: Sequence, random: np.random.Generator) -> Sequence:
    """The recording with somebody walking up before it and away after it."""
    body = sequence.landmarks_m
    entering = _walk(random, _facing(body[0]))
    before = np.concatenate((entering, _settling(entering[-1], body[0], random)))
    leaving = _walk(random, _facing(body[-1]))[::-1]
    after = np.concatenate((_settling(leaving[0], body[-1], random)[::-1], leaving))
    shift = len(before) * FRAME_MS - int(sequence.timestamp_ms[0])
    inside = sequence.timestamp_ms + shift
    timestamp_ms = np.concatenate(
        (
            np.arange(len(before), dtype=np.int64) * FRAME_MS,
            inside,
            inside[-1] + FRAME_MS * np.arange(1, len(after) + 1, dtype=np.int64),
        )
    )
    return msgspec.structs.replace(
        sequence,
        landmarks_m=np.concatenate((before, body, after)).astype(np.float32),
        timestamp_ms=timestamp_ms,
        rep_start_ms=None if sequence.rep_start_ms is None else sequence.rep_start_ms + shift,
        rep_end_ms=None if sequence.rep_end_ms is None else sequence.rep_end_ms + shift,
    )
