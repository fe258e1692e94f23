"""Pain: change on the 0..10 numeric rating scale, against the first known level and against the previous one.

A change is marked important from the minimal important difference on: 2 points, or 33 % of the level it is measured
against (Farrar et al. 2001, Pain 94:149-158: about 2 points, about 30 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core_api.clinical.rounding import percent_change

IMPORTANT_POINTS = 2
IMPORTANT_PERCENT = 33


@dataclass(frozen=True, slots=True)
class PainChange:
    """From one level to another; negative is relief. ``percent`` is None from level 0."""

    points: int
    percent: int | None
    important: bool


@dataclass(frozen=True, slots=True)
class PainEvolution:
    """``values`` in session order, None where not given. Changes are None with fewer than two known levels."""

    values: tuple[int | None, ...]
    from_first: PainChange | None
    from_previous: PainChange | None


def pain_change(earlier: int, later: int) -> PainChange:
    """The change between two known levels."""
    points = later - earlier
    # In whole numbers: 33 % of 6 is 1.98, and no rounding may decide.
    important = abs(points) >= IMPORTANT_POINTS or (
        points != 0 and earlier > 0 and 100 * abs(points) >= IMPORTANT_PERCENT * earlier
    )
    return PainChange(points, percent_change(earlier, later), important)


def pain_evolution(values: Sequence[int | None]) -> PainEvolution:
    """How pain went over the sessions, in order."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return PainEvolution(tuple(values), None, None)
    return PainEvolution(tuple(values), pain_change(known[0], known[-1]), pain_change(known[-2], known[-1]))
