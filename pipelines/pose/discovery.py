"""A profile found from the motion itself, for an exercise no profile is written for. Scores and counts nothing.

The angle that carries the movement is the one whose excursions are large and most alike: repetitions repeat.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.pose.body import Body
from pipelines.pose.motion import ALIKE_ALONE, NOISE_WORTH, UNSEEN_WORTH, counted_signal, counting_rule
from pipelines.pose.profile import MovementProfile, Primary, Tempo
from pipelines.pose.segmentation import repetitions
from pipelines.pose.sides import on_grid
from pipelines.pose.signals import Timeline, low_pass

# Joints first, then segments against the vertical: in a tie the earlier one is the clearer to a clinician.
CANDIDATES: Final = (
    "knee_flexion",
    "hip_flexion",
    "shoulder_elevation",
    "elbow_flexion",
    "thigh_elevation",
    "forearm_elevation",
    "trunk_lean",
    "trunk_flexion",
    "trunk_side_lean",
    "trunk_rotation",
    "arm_forward",
)
MINIMUM_EXCURSION_DEG: Final = 15.0
CUTOFF_HZ: Final = 1.5
ERRATIC_SHARE: Final = 0.03
LARGE_DEG: Final = 90.0  # an angle that moves more than this is no clearer for it
TURN_SHARE: Final = 0.3  # nobody said what is done, so only what is much like the rest is a repetition


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
            turn_share=TURN_SHARE,
            rom="range",
        ),
        tempo=Tempo(longest_ms=15000),
    )


def find_profile(body: Body, landmarks_m: NDArray[np.floating], line: Timeline) -> MovementProfile:
    """The profile whose angle explains the motion best; knee flexion where nothing moves. N >= 1 frames."""
    best, best_score = _candidate(CANDIDATES[0], "bilateral"), 0.0
    for angle in CANDIDATES:
        sides_on_grid = on_grid(body, landmarks_m, line, angle)
        if sides_on_grid.erratic_share > ERRATIC_SHARE:
            continue  # an angle against the vertical has no meaning lying down: it jumps about
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
            repeated = len(arcs) / (len(arcs) + 1.0)
            typical = float(np.median(arcs))
            raw = np.mean([sides_on_grid.raw[side] for side in moving], axis=0)
            noise = float(np.std(raw - np.mean([filtered[side] for side in moving], axis=0)))
            clear = typical / (typical + NOISE_WORTH * noise)
            score = min(typical, LARGE_DEG) * alike * repeated * clear * (seen + UNSEEN_WORTH)
            if score > best_score:
                best, best_score = profile, score
    return best
