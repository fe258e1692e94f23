"""Smoothness of movement: SPARC, the spectral arc length. Nothing else."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

CUTOFF_HZ: Final = 10.0
AMPLITUDE_THRESHOLD: Final = 0.05
PADDING_LEVEL: Final = 4
LARGEST_BLOCK: Final = 1 << 18  # samples transformed at once: 2 MiB

Float64s = NDArray[np.float64]


def sparc(speeds: list[Float64s], sample_hz: float) -> Float64s:
    """Spectral arc length of each speed profile; dimensionless, below 0, nearer 0 is smoother, nan where all is still.

    The length of the amplitude spectrum of the speed, normalised to its peak, up to the highest frequency (at most
    10 Hz) that still carries 5 % of it. Source: Balasubramanian, Melendez-Calderon, Roby-Brami and Burdet, "On the
    analysis of movement smoothness", J NeuroEng Rehabil 2015, 12:112, with its parameters.

    Args:
        speeds: one profile a movement, in any unit, sampled at ``sample_hz``. Those of like length share a transform;
            no movement's value depends on another's.
    """
    lengths = np.full(len(speeds), np.nan)
    by_size: dict[int, list[int]] = {}
    for i, speed in enumerate(speeds):
        if len(speed):
            by_size.setdefault(1 << ((len(speed) - 1).bit_length() + PADDING_LEVEL), []).append(i)
    for size, members in by_size.items():
        at_once = max(1, LARGEST_BLOCK // size)
        for first in range(0, len(members), at_once):
            block = members[first : first + at_once]
            lengths[block] = _arc_lengths([speeds[i] for i in block], size, sample_hz)
    return lengths


def _arc_lengths(speeds: list[Float64s], size: int, sample_hz: float) -> Float64s:
    padded = np.zeros((len(speeds), size))
    for row, speed in zip(padded, speeds, strict=True):
        row[: len(speed)] = speed
    bins = min(size // 2, int(CUTOFF_HZ * size / sample_hz)) + 1
    amplitude = np.abs(np.fft.rfft(padded, axis=1)[:, :bins])
    peak = amplitude.max(axis=1, keepdims=True)
    amplitude /= np.where(peak > 0.0, peak, 1.0)
    strong = amplitude >= AMPLITUDE_THRESHOLD
    first = strong.argmax(axis=1)[:, None]
    last = bins - 1 - strong[:, ::-1].argmax(axis=1)[:, None]
    step = np.arange(bins - 1)[None, :]
    kept = (step >= first) & (step < last)
    width = 1.0 / np.maximum(last - first, 1)  # the kept band is one unit wide
    length = -np.sum(np.hypot(width, np.diff(amplitude, axis=1)), axis=1, where=kept)
    return np.where((peak[:, 0] > 0.0) & (last[:, 0] > first[:, 0]), length, np.nan)
