"""The figures an evaluation is judged by. Numbers in, numbers out; None where there is nothing to measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from pipelines.pose.model import RepMetrics

BOUNDARY_MS: Final = 250


def count_error(counted: int, true_reps: int) -> float:
    """Absolute error over the true count (Dwibedi et al., "Counting Out Time", CVPR 2020); over 1 where that is 0."""
    return abs(counted - true_reps) / max(true_reps, 1)


def auc(positive: ArrayLike, negative: ArrayLike) -> float | None:
    """Area under the ROC curve: how often a positive scores above a negative, ties half (Mann and Whitney, 1947)."""
    good, bad = np.asarray(positive, dtype=np.float64), np.asarray(negative, dtype=np.float64)
    if not good.size or not bad.size:
        return None
    ordered = np.sort(bad)
    below = np.searchsorted(ordered, good, side="left")
    not_above = np.searchsorted(ordered, good, side="right")
    return float((below + not_above).sum() / (2.0 * good.size * bad.size))


def cycle_ms(rep: RepMetrics) -> tuple[int, int]:
    """A repetition's cycle, which is what human raters cut; its movement where no cycle is told."""
    start_ms = rep.start_ms if rep.cycle_start_ms is None else rep.cycle_start_ms
    end_ms = rep.end_ms if rep.cycle_end_ms is None else rep.cycle_end_ms
    return start_ms, end_ms


def match(reps: Sequence[RepMetrics], start_ms: ArrayLike, end_ms: ArrayLike) -> list[RepMetrics | None]:
    """For each true repetition the counted one that overlaps it most; none is used twice, None where none is left."""
    free = list(reps)
    matched: list[RepMetrics | None] = []
    for start, end in zip(np.asarray(start_ms).tolist(), np.asarray(end_ms).tolist(), strict=True):

        def overlap_ms(rep: RepMetrics, start: float = start, end: float = end) -> float:
            cycle = cycle_ms(rep)
            return float(min(cycle[1], end) - max(cycle[0], start))

        best = max(free, key=overlap_ms, default=None)
        if best is None or overlap_ms(best) <= 0:
            matched.append(None)
            continue
        free.remove(best)
        matched.append(best)
    return matched


def boundaries_within(matched: Sequence[RepMetrics | None], start_ms: ArrayLike, end_ms: ArrayLike) -> list[bool]:
    """For each true start and end, whether a counted one lies within 250 ms; a missed repetition misses both."""
    hits: list[bool] = []
    for rep, start, end in zip(matched, np.asarray(start_ms).tolist(), np.asarray(end_ms).tolist(), strict=True):
        cycle = None if rep is None else cycle_ms(rep)
        hits.append(cycle is not None and abs(cycle[0] - start) <= BOUNDARY_MS)
        hits.append(cycle is not None and abs(cycle[1] - end) <= BOUNDARY_MS)
    return hits


def spread_about_offset(errors: Sequence[float]) -> tuple[float, float] | None:
    """The constant offset, which two sensors always differ by, and the mean absolute error once it is taken out.

    The offset is the median of the signed errors.
    """
    if not len(errors):
        return None
    values = np.asarray(errors, dtype=np.float64)
    offset = float(np.median(values))
    return offset, float(np.abs(values - offset).mean())


def mean(values: Sequence[float] | Sequence[bool]) -> float | None:
    return float(np.mean(values)) if len(values) else None
