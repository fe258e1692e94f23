"""Repetitions against breaks in the stream: what was not seen is not told as a repetition.

Belongs here: trimming and dropping repetitions at long breaks. Does not belong here: finding them (``segmentation``),
the grid that squeezes breaks (``signals``).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.pose.segmentation import Repetition
from pipelines.pose.signals import LONGEST_STEP_MS, Timeline

# In a longer break a whole repetition may have begun and ended, so its two sides say nothing of each other.
UNSEEN_MS: Final = 3000


def observed(found: list[Repetition], line: Timeline, usable: NDArray[np.bool_]) -> list[Repetition]:
    """``found`` without what lies in a break: no frame, or none in which the landmarks were usable.

    A repetition that begins or ends inside a break is trimmed to the frames beside it; one that spans a break longer
    than ``UNSEEN_MS``, or peaks inside one, is no repetition anybody saw. ``usable`` [K], frames in order.
    """
    times, at = line.frame_ms, line.frame_process_ms
    if not usable.all():
        times, at = times[usable], at[usable]
    steps = np.diff(times)
    breaks = np.flatnonzero(steps > LONGEST_STEP_MS)
    if not len(breaks) or not found:
        return found
    before = np.searchsorted(line.grid_process_ms, at[breaks], side="right") - 1
    after = np.searchsorted(line.grid_process_ms, at[breaks + 1], side="left")
    after = np.minimum(after, line.size - 1)
    long = steps[breaks] > UNSEEN_MS
    kept = []
    for rep in found:
        start, end = rep.start, rep.end
        inside = (before < start) & (start < after)
        if inside.any():
            start = int(after[inside][0])
        inside = (before < end) & (end < after)
        if inside.any():
            end = int(before[inside][0])
        spanned = long & (before >= start) & (after <= end)
        if start < rep.peak < end and not spanned.any():
            onset, offset = min(max(rep.onset, start), rep.peak - 1), max(min(rep.offset, end), rep.peak + 1)
            kept.append(rep._replace(start=start, end=end, onset=onset, offset=offset))
    return kept
