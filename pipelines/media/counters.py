"""The player's cumulative counters, which begin again at 0 when the page is reloaded.

Belongs here: finding where they began again, and totals over it. Does not belong here: what a total means for a view
(``aggregate.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pipelines.media.schema import MediaEvent, PlaybackData

# A counter of seconds or milliseconds is a float: it may come a hair lower without having begun again.
NOISE: Final = {"watched_duration_seconds": 1e-3, "buffering_duration_ms": 1.0}
NAMES: Final = (
    "watched_duration_seconds",
    "buffering_count",
    "buffering_duration_ms",
    "dropped_frames",
    "total_frames",
)
# One player's total is never near these; what a broken one tells still has to fit where it is stored.
MAX_SECONDS: Final = 9_999_999.0
MAX_COUNT: Final = 2_147_483_647


@dataclass(slots=True)
class Counters:
    """Totals since the view began; None for a counter never told. ``restart_count``: times they began again."""

    restart_count: int = 0
    _totals: dict[str, float] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)

    def read(self, event: MediaEvent) -> bool:
        """Enter what an event tells; True where its counters began again since the report before.

        They begin again together: where any of them fell, all did.
        """
        if not isinstance(event.data, PlaybackData):
            return False
        told = _told(event.data)
        restarted = self._fell(told)
        if restarted:
            self.restart_count += 1
            self._last = {}
        for name, value in told.items():
            grown = value - self._last.get(name, 0)
            self._totals[name] = self._totals.get(name, 0) + max(grown, 0)
            self._last[name] = max(value, self._last.get(name, 0))
        return restarted

    def fell(self, event: MediaEvent) -> bool:
        """Whether what an event tells is below what was told before; enters nothing."""
        return isinstance(event.data, PlaybackData) and self._fell(_told(event.data))

    def _fell(self, told: dict[str, float]) -> bool:
        return any(value < self._last.get(name, 0) - NOISE.get(name, 0) for name, value in told.items())

    @property
    def watched_s(self) -> float | None:
        return _capped(self._totals.get("watched_duration_seconds"), MAX_SECONDS)

    @property
    def stall_count(self) -> int | None:
        return _whole(_capped(self._totals.get("buffering_count"), MAX_COUNT))

    @property
    def stall_ms(self) -> float | None:
        return _capped(self._totals.get("buffering_duration_ms"), MAX_SECONDS * 1000)

    @property
    def dropped_frames(self) -> int | None:
        return _whole(self._totals.get("dropped_frames"))

    @property
    def total_frames(self) -> int | None:
        return _whole(self._totals.get("total_frames"))


def counted(events: Sequence[MediaEvent]) -> Counters:
    """The counters of one view's events, in order."""
    counters = Counters()
    for event in events:
        counters.read(event)
    return counters


def _told(data: PlaybackData) -> dict[str, float]:
    return {name: value for name in NAMES if (value := getattr(data, name)) is not None}


def _capped(value: float | None, most: float) -> float | None:
    return None if value is None else min(value, most)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
