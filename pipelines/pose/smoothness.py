"""Smoothness of movement: SPARC, the spectral arc length. Nothing else."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

CUTOFF_HZ: Final = 10.0
AMPLITUDE_THRESHOLD: Final = 0.05
PADDING_LEVEL: Final = 4

Float64s = NDArray[np.float64]


def sparc(speeds: list[Float64s], sample_hz: float) -> Float64s:
    """Spectral arc length of each speed profile; dimensionless, below 0, nearer 0 is smoother, nan where all is still.

    The length of the amplitude spectrum of the speed, normalised to 1 at 0 Hz, up to the highest frequency (at most
    10 Hz) that still carries 5 % of it. Source: Balasubramanian, Melendez-Calderon, Roby-Brami and Burdet, "On the
    analysis of movement smoothness", J NeuroEng Rehabil 2015, 12:112, with its parameters.

    Args:
        speeds: one profile a movement, in any unit, sampled at ``sample_hz``. All share one zero-padded transform.
    """
    if not speeds or max(map(len, speeds)) == 0:
        return np.full(len(speeds), np.nan)
    size = 1 << (int(np.ceil(np.log2(max(map(len, speeds))))) + PADDING_LEVEL)
    padded = np.zeros((len(speeds), size), dtype=np.float64)
    for row, speed in zip(padded, speeds, strict=True):
        row[: len(speed)] = speed
    frequency = np.arange(size // 2 + 1) * (sample_hz / size)
    band = frequency <= CUTOFF_HZ
    spectrum = np.abs(np.fft.rfft(padded, axis=1))[:, band]
    peak = spectrum.max(axis=1)
    lengths = np.full(len(speeds), np.nan)
    for i in np.flatnonzero(peak > 0):
        amplitude = spectrum[i] / peak[i]
        strong = np.flatnonzero(amplitude >= AMPLITUDE_THRESHOLD)
        kept = amplitude[strong[0] : strong[-1] + 1]
        if len(kept) < 2:
            continue
        width = 1.0 / (len(kept) - 1)  # the kept band is one unit wide
        lengths[i] = -np.sum(np.hypot(width, np.diff(kept)))
    return lengths
