"""Seeded cuts and joins of recordings whose repetitions are marked: any number of them, with idling in between.

Every marked recording there is has ten repetitions in a row, which a counter could get right by always saying ten. What
is made here has 0 to 25, stands idle before, between and after, and keeps the recording's own frames and noise.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.evaluate.dataset import Sequence

MOST_REPETITIONS: Final = 25
FRAME_MS: Final = 33
IDLE_S: Final = (1.0, 8.0)
IDLE_SHARE: Final = 0.5  # how often the patient idles between two pieces
BLEND_FRAMES: Final = 9  # 0.3 s: the way from one piece's last pose to the next one's first
SWAY_M: Final = 0.006  # standing sway, slow; its standard deviation
SWAY_FRAMES: Final = 20.0
JITTER_M: Final = 0.002  # tracker noise, frame by frame

Frames = NDArray[np.float32]


class _Piece(msgspec.Struct, frozen=True):
    frames: Frames
    repetitions: int
    starts: tuple[int, ...] = ()  # frame offsets of the repetitions in the piece
    ends: tuple[int, ...] = ()


def _idle(pose: Frames, frames: int, random: np.random.Generator) -> _Piece:
    """A patient who stands as in ``pose`` [33, 4]: slow sway as a first-order process, and jitter."""
    keep = np.exp(-1.0 / SWAY_FRAMES)
    push = random.normal(0.0, SWAY_M * np.sqrt(1.0 - keep**2), (frames, 1, 3))
    sway = np.zeros((frames, 1, 3))
    for i in range(1, frames):
        sway[i] = keep * sway[i - 1] + push[i]
    held = np.repeat(pose[None], frames, axis=0)
    # Sway moves the upper body against the hips, where the origin is.
    height = np.clip(-pose[:, 1], 0.0, 1.0)[None, :, None]
    held[..., :3] += (sway * height + random.normal(0.0, JITTER_M, held[..., :3].shape)).astype(np.float32)
    return _Piece(held, 0)


def _run(sequence: Sequence, first: int, count: int) -> _Piece:
    """Repetitions ``first`` .. ``first + count`` of the recording, cut at the human raters' marks."""
    assert sequence.rep_start_ms is not None
    assert sequence.rep_end_ms is not None
    starts = np.searchsorted(sequence.timestamp_ms, sequence.rep_start_ms[first : first + count])
    ends = np.searchsorted(sequence.timestamp_ms, sequence.rep_end_ms[first : first + count], side="right") - 1
    frames = sequence.landmarks_m[starts[0] : ends[-1] + 1]
    offset = int(starts[0])
    return _Piece(frames, count, tuple(int(i) - offset for i in starts), tuple(int(i) - offset for i in ends))


def _blend(last: Frames, first: Frames) -> _Piece:
    share = np.linspace(0.0, 1.0, BLEND_FRAMES + 2, dtype=np.float32)[1:-1, None, None]
    return _Piece(last * (1.0 - share) + first * share, 0)


def _pieces(sequence: Sequence, count: int, random: np.random.Generator) -> list[_Piece]:
    assert sequence.rep_start_ms is not None
    available = len(sequence.rep_start_ms)
    pieces: list[_Piece] = []

    def idle(pose: Frames) -> None:
        pieces.append(_idle(pose, int(random.uniform(*IDLE_S) * 1000 / FRAME_MS), random))

    if count == 0:
        idle(_run(sequence, int(random.integers(available)), 1).frames[0])
        return pieces
    left = count
    while left:
        size = int(random.integers(1, min(left, available) + 1))
        run = _run(sequence, int(random.integers(available - size + 1)), size)
        if not pieces:
            idle(run.frames[0])
        elif random.random() < IDLE_SHARE:
            idle(pieces[-1].frames[-1])
        pieces.append(run)
        left -= size
    idle(pieces[-1].frames[-1])
    return pieces


def cut_and_join(sequence: Sequence, count: int, random: np.random.Generator) -> Sequence:
    """A new recording with exactly ``count`` repetitions of ``sequence``, which must have its own marked.

    Raises:
        ValueError: no repetition is marked, or ``count`` is outside 0..25.
    """
    if sequence.rep_start_ms is None or sequence.rep_end_ms is None or not len(sequence.rep_start_ms):
        raise ValueError(f"{sequence.entry.sequence_id}: no repetition is marked")
    if not 0 <= count <= MOST_REPETITIONS:
        raise ValueError(f"{count} repetitions: 0..{MOST_REPETITIONS}")
    joined: list[_Piece] = []
    for piece in _pieces(sequence, count, random):
        if joined:
            joined.append(_blend(joined[-1].frames[-1], piece.frames[0]))
        joined.append(piece)
    offsets = np.cumsum([0, *(len(piece.frames) for piece in joined)])
    starts = [int(offset) + i for offset, piece in zip(offsets, joined, strict=False) for i in piece.starts]
    ends = [int(offset) + i for offset, piece in zip(offsets, joined, strict=False) for i in piece.ends]
    timestamp_ms = np.arange(int(offsets[-1]), dtype=np.int64) * FRAME_MS
    entry = msgspec.structs.replace(sequence.entry, dataset=f"{sequence.entry.dataset} cut", true_reps=count)
    return Sequence(
        entry=entry,
        landmarks_m=np.concatenate([piece.frames for piece in joined]),
        timestamp_ms=timestamp_ms,
        rep_start_ms=timestamp_ms[starts],
        rep_end_ms=timestamp_ms[ends],
    )
