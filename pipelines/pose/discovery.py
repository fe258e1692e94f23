"""A profile found from the motion itself, for an exercise no profile is written for. Scores and counts nothing.

The angle that carries the movement is the one whose excursions are large and most alike: repetitions repeat.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.pose.angles import Body
from pipelines.pose.motion import counted_signal, counting_rule, on_grid
from pipelines.pose.profile import MovementProfile, Primary, Tempo
from pipelines.pose.segmentation import repetitions
from pipelines.pose.signals import Timeline, low_pass

# Joints first, then segments against the vertical: in a tie the earlier one is the clearer to a clinician.
CANDIDATES: Final = (
    "knee_flexion",
    "hip_flexion",
    "shoulder_elevation",
    "elbow_flexion",
    "thigh_elevation",
    "forearm_elevation",
    "trunk_flexion",
    "trunk_side_lean",
    "trunk_rotation",
)
MINIMUM_EXCURSION_DEG: Final = 15.0
CUTOFF_HZ: Final = 1.5
UNSEEN_WORTH: Final = 0.05  # landmarks out of sight are guesses, and the last resort
ALIKE_ALONE: Final = 0.5  # a single large excursion has not repeated: it may be the patient turning round


def _candidate(angle: str, sides: str) -> MovementProfile:
    return MovementProfile(
        name=f"found_{angle}",
        title=f"Found from the motion: {angle.replace('_', ' ')}",
        primary=Primary(
            angle=angle,
            sides="bilateral" if sides == "bilateral" else "unilateral",
            direction="either",
            cutoff_hz=CUTOFF_HZ,
            minimum_excursion_deg=MINIMUM_EXCURSION_DEG,
            rom="range",
        ),
        tempo=Tempo(longest_ms=15000),
    )


def find_profile(body: Body, landmarks_m: NDArray[np.floating], line: Timeline) -> MovementProfile:
    """The profile whose angle explains the motion best; knee flexion where nothing moves. N >= 1 frames."""
    best, best_score = _candidate(CANDIDATES[0], "bilateral"), 0.0
    for angle in CANDIDATES:
        sides_on_grid = on_grid(body, landmarks_m, line, angle)
        filtered = {side: low_pass(raw, CUTOFF_HZ) for side, raw in sides_on_grid.raw.items()}
        for sides in ("bilateral", "unilateral"):
            profile = _candidate(angle, sides)
            signal, _, moving = counted_signal(filtered, profile)
            found = repetitions(signal, counting_rule(profile))
            if not found:
                continue
            arcs = np.array([rep.excursion for rep in found])
            alike = 1.0 / (1.0 + float(arcs.std() / arcs.mean())) if len(arcs) > 1 else ALIKE_ALONE
            seen = float(np.mean([sides_on_grid.seen[side].mean() for side in moving]))
            score = float(np.median(arcs)) * alike * (seen + UNSEEN_WORTH)
            if score > best_score:
                best, best_score = profile, score
    return best
