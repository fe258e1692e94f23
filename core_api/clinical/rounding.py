"""Rounding as the dashboards do it: half away from zero, exactly, never through binary floating point."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal


def percent(part: int, whole: int) -> int | None:
    """``part`` of ``whole`` as a whole percentage, halves up: 6 of 7 is 86. None where ``whole`` is 0.

    Defined for ``part`` >= 0 and ``whole`` >= 0.
    """
    if whole == 0:
        return None
    return (200 * part + whole) // (2 * whole)


def percent_change(first: int, last: int) -> int | None:
    """Change from ``first`` to ``last`` as a whole percentage of ``first``; its magnitude is rounded halves up, so a
    fall and a rise of the same size look the same. None where ``first`` is 0.
    """
    if first == 0:
        return None
    magnitude = percent(abs(last - first), abs(first))
    return magnitude if magnitude is None or last >= first else -magnitude


def half_up(value: Decimal | None, decimals: int = 0) -> Decimal | None:
    """``value`` to ``decimals`` places, halves away from zero."""
    if value is None:
        return None
    return value.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)
