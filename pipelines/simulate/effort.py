"""What an exercise is to the simulator, and one performance of it as the muscles see it. Shapes only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.simulate.body import Angles, Pose


@dataclass(frozen=True, slots=True)
class Effort:
    """One performance as the muscles see it. ``progress``: side -> [N], 0 at rest, 1 at the wanted range."""

    progress: Mapping[str, Angles]
    range_deg: float
    faults: Mapping[str, float]

    @property
    def overall(self) -> Angles:
        return np.maximum(self.progress["left"], self.progress["right"])

    def fault(self, name: str, degrees: float) -> float:
        return self.faults.get(name, 0.0) * degrees


@dataclass(frozen=True, slots=True)
class Exercise:
    """``rest_deg``: the primary angle at rest; ``range_deg``: how far from there, done well."""

    name: str
    move: Callable[[Pose, Effort], None]
    range_deg: float
    side: str  # "both", or the side that usually moves
    sides_together: bool = True  # with side "both": at once, else by turns
    held: bool = False  # a repetition is a hold: out in a second, and back in another
