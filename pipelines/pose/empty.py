"""Why a session has no repetition: the reasons, and which of them holds. Measures nothing itself.

Every result without a repetition states one, so that nobody has to guess whether the patient rested or the camera
failed.
"""

from __future__ import annotations

from typing import Final, Literal

Reason = Literal[
    "no_frames",
    "too_short",
    "not_visible",
    "no_body",
    "erratic_tracking",
    "not_measurable",
    "no_movement",
    "no_repetition",
]

SENTENCES: Final[dict[Reason, str]] = {
    "no_frames": "No frame was received.",
    "too_short": "The recording is shorter than the shortest repetition.",
    "not_visible": "The landmarks that the exercise is measured by were out of sight throughout.",
    "no_body": "The landmarks lie in one place and make up no body.",
    "erratic_tracking": "The landmarks jumped about too much to be believed.",
    "not_measurable": "The exercise has no movement that a camera can see.",
    "no_movement": "The body kept still.",
    "no_repetition": "There was movement, and none of it was a whole repetition.",
}

# Of the frames in sight: beyond this share of jumps, what lies between two of them is no better than a guess.
ERRATIC_SHARE: Final = 0.15
SHORTEST_TRUNK_M: Final = 0.05  # a newborn's is three times as long


def before_counting(
    *, frame_count: int, measurable: bool, usable_count: int, trunk_m: float, erratic_share: float
) -> Reason | None:
    """What makes counting pointless; None where it is worth a try. ``trunk_m``: hips to shoulders, usually."""
    if not frame_count:
        return "no_frames"
    if not measurable:
        return "not_measurable"
    if not usable_count:
        return "not_visible"
    if trunk_m < SHORTEST_TRUNK_M:
        return "no_body"
    if erratic_share > ERRATIC_SHARE:
        return "erratic_tracking"
    return None


def after_counting(*, excursion_deg: float, minimum_deg: float, duration_ms: float, shortest_ms: float) -> Reason:
    """Why counting found none: ``excursion_deg`` is the whole arc the counted signal went through."""
    if duration_ms < shortest_ms:
        return "too_short"
    return "no_movement" if excursion_deg < minimum_deg else "no_repetition"
