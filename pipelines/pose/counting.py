"""What of a measured session counts: repetitions (or holds) that were seen, without set-up movements.

Belongs here: the one way from a motion to what is counted, for everybody who asks: a session's summary and a reference
learnt from the same session count the same repetitions. Does not belong here: excursions of one signal
(``segmentation``), breaks (``unseen``), set-up movements (``setup``), holds (``holds``), scores.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.pose import empty
from pipelines.pose.body import Body
from pipelines.pose.holds import Positions, holds
from pipelines.pose.motion import Motion, counting_rule
from pipelines.pose.profile import MovementProfile
from pipelines.pose.segmentation import Found, segment
from pipelines.pose.setup import without_setup
from pipelines.pose.signals import Timeline
from pipelines.pose.unseen import observed


class Counted(NamedTuple):
    """What counts, and why nothing could be counted at all (None where it could)."""

    found: Found
    reason: empty.Reason | None


def count(
    body: Body,
    landmarks_m: NDArray[np.floating],
    line: Timeline,
    motion: Motion,
    *,
    profile: MovementProfile,
    prescribed_side: str | None,
) -> Counted:
    """Repetitions, and partial ones apart, of N >= 1 frames.

    Args:
        profile: the one ``motion`` was measured by, the plan already in it (``MovementProfile.prescribed``).
    """
    usable = motion.usable[line.frame_order]
    reason = empty.before_counting(
        frame_count=len(usable),
        measurable=profile.measurable,
        usable_count=int(usable.sum()),
        trunk_m=float(np.median(np.linalg.norm(body.trunk, axis=0))),
        erratic_share=motion.erratic_share,
    )
    if reason is not None:
        return Counted(Found([], []), reason)
    if profile.hold is not None:
        signals = Positions(body, landmarks_m, line, together=profile.primary.sides == "bilateral")
        return Counted(Found(holds(signals, profile, profile.hold, usable, prescribed_side), []), None)
    found = segment(motion.counted, counting_rule(profile))
    seen = observed(found.repetitions, line, usable)
    return Counted(Found(without_setup(seen, body, line), observed(found.partial, line, usable)), None)
