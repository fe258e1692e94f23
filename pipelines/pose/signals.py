"""One angle over time: an even time grid, gaps, the low-pass filter. Knows nothing of repetitions.

Long gaps are squeezed: the grid runs over *process time*, in which no step is longer than ``LONGEST_STEP_MS``, so its
size is bounded by the number of frames whatever the timestamps say, and every grid point keeps its real time.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

GRID_HZ: Final = 30.0
GAP_MS: Final = 500  # nothing usable for longer than this is a gap: about a quarter of a brisk repetition
LONGEST_STEP_MS: Final = 500.0
# Half-power point of a Gaussian: |H(f)|^2 = 1/2 at f = sqrt(ln 2) / (2 pi sigma).
HALF_POWER: Final = float(np.sqrt(np.log(2.0)) / (2.0 * np.pi))

Float64s = NDArray[np.float64]


class Timeline(NamedTuple):
    """Where N frames fall on an even grid of G points."""

    frame_order: NDArray[np.intp]  # [K] frames in time order, one a timestamp
    frame_ms: NDArray[np.int64]  # [K] real milliseconds since the session's start, strictly increasing
    frame_process_ms: Float64s  # [K] strictly increasing
    grid_process_ms: Float64s  # [G] evenly spaced at GRID_HZ
    grid_ms: Float64s  # [G] real milliseconds since the session's start

    @property
    def size(self) -> int:
        return len(self.grid_ms)

    def resample(self, values: NDArray[np.floating], usable: NDArray[np.bool_] | None = None) -> Float64s:
        """``values`` of the N frames on the grid, float64 [G]; frames not ``usable`` are bridged in a straight line."""
        values = values[self.frame_order]
        at = self.frame_process_ms
        if usable is not None:
            keep = usable[self.frame_order]
            if keep.any() and not keep.all():
                values, at = values[keep], at[keep]
        resampled: Float64s = np.interp(self.grid_process_ms, at, values)
        return resampled


def timeline(timestamp_ms: NDArray[np.integer]) -> Timeline:
    """The grid under ``timestamp_ms`` [N]; of frames with one timestamp the first counts. N = 0 gives an empty grid."""
    times = timestamp_ms.astype(np.int64, copy=False)
    order = np.arange(len(times))
    if len(times) and not (np.diff(times) > 0).all():
        _, order = np.unique(times, return_index=True)
        times = times[order]
    if not len(times):
        empty = np.empty(0)
        return Timeline(order, times, empty, empty, empty)
    process = np.zeros(len(times))
    np.cumsum(np.minimum(np.diff(times), LONGEST_STEP_MS), out=process[1:])
    points = int(process[-1] * GRID_HZ / 1000.0 + 1e-9) + 1
    grid = np.arange(points, dtype=np.float64) * (1000.0 / GRID_HZ)
    return Timeline(order, times, process, grid, np.interp(grid, process, times))


def gaps(timestamp_ms: NDArray[np.integer], usable: NDArray[np.bool_]) -> tuple[int, int]:
    """How often, and for how long altogether (ms), nothing usable was seen for longer than ``GAP_MS``.

    ``timestamp_ms`` [N] in time order. With no usable frame at all the whole recording is one gap.
    """
    if not len(timestamp_ms):
        return 0, 0
    ends = np.array([timestamp_ms[0], timestamp_ms[-1]], dtype=np.int64)
    seen = timestamp_ms[usable].astype(np.int64, copy=False)
    steps = np.diff(np.concatenate((ends[:1], seen, ends[1:])))
    long = steps[steps > GAP_MS]
    return len(long), int(long.sum())


def low_pass(values: Float64s, cutoff_hz: float) -> Float64s:
    """Zero-phase Gaussian low-pass, half power at ``cutoff_hz``; ends are extended by their own value.

    A Gaussian neither rings nor overshoots, so it adds no turning point that was not in the signal
    (Lindeberg, "Scale-space theory", 1994), which is what repetition counting needs.
    """
    if len(values) < 2:
        return values.copy()
    sigma = HALF_POWER * GRID_HZ / cutoff_hz
    filtered: Float64s = gaussian_filter1d(values, sigma, mode="nearest", radius=max(1, int(np.ceil(3.0 * sigma))))
    return filtered
